import { z } from 'zod';
import type { StewardConfig } from '@steward/service-kit';
import { builtinDefinitions, builtinLimits, type JsonObject, type Principal } from '@steward/governance';
import { quoteBlock } from './quote-block.ts';
import { quoteForMarkdown } from './quote-for-markdown.ts';
import type { Language } from './texts.ts';
import type { Tool, ToolCallContext, ToolResult } from './tool.ts';

type Deps = { config: Pick<StewardConfig, 'rooms' | 'robots' | 'people' | 'language'> };
type Failed = ToolResult & { kind: 'failed' };

const texts: Record<Language, { title: string; from: (name: string) => string }> = {
  zh: { title: 'Steward 转达', from: (name) => `**${name}** 请 Steward 转达：` },
  en: { title: 'A word from Steward', from: (name) => `**${name}** asked Steward to say:` },
};

const sendArguments = z.strictObject({
  room: z.string(),
  text: z
    .string()
    .max(builtinLimits.textLength)
    .refine((text) => text.trim() !== ''),
});

/** Says a text in another configured room of the same environment, quoted and with the name of who asked for it. */
export function createSendToGroup({ config }: Deps): Tool {
  return {
    definition: builtinDefinitions.send_to_group,
    budgetOf: (args) => JSON.stringify(args['room'] ?? ''),
    run: { kind: 'tell', toRequest: (args, context) => toGroupRequest(config, args, context) },
  };
}

function toGroupRequest(config: Deps['config'], args: JsonObject, context: ToolCallContext) {
  const parsed = sendArguments.safeParse(args);
  if (!parsed.success) return failed('INVALID_ARGUMENTS', 'a room and a text of 1 to 4000 characters are needed');
  const { room, text } = parsed.data;
  const found = config.rooms.find(({ name, environment }) => name === room && environment === context.environment);
  const robot = config.robots.find(({ name }) => name === found?.robot);
  if (found === undefined || robot === undefined || robot.environment !== context.environment)
    return failed('UNKNOWN_ROOM', 'no room of this environment has that name; list_rooms says which there are');
  const { title, from } = texts[config.language];
  return {
    target: { kind: 'group' as const, robotCode: robot.code, conversationId: found.id },
    content: {
      kind: 'markdown' as const,
      title,
      text: `${from(quoteForMarkdown(nameOf(config, context.requester)))}\n\n${quoteBlock(text)}`,
    },
  };
}

/** Identity is (corpId, staffId); who is not configured is known by the number alone. */
function nameOf({ people }: Deps['config'], { corpId, staffId }: Principal): string {
  return people.find((person) => person.corpId === corpId && person.staffId === staffId)?.name ?? staffId ?? '?';
}

/** Names of the rooms that are configured for the environment the call comes from; no ids. */
export function createListRooms({ config }: Deps): Tool {
  return {
    definition: builtinDefinitions.list_rooms,
    run: {
      kind: 'call',
      call: (_, context) => Promise.resolve({ kind: 'done', output: renderRooms(config, context) }),
    },
  };
}

const shownRooms = 200;

function renderRooms({ rooms, robots }: Deps['config'], context: ToolCallContext): string {
  const own = rooms.filter(({ environment }) => environment === context.environment);
  const lines = own.slice(0, shownRooms).map((room) => {
    const robot = robots.find(({ name }) => name === room.robot);
    const isHere = room.id === context.conversationId && robot?.code === context.robotCode;
    return `${room.name} (robot ${room.robot}${isHere ? ', here' : ''})`;
  });
  const more = own.length > shownRooms ? [`… ${own.length - shownRooms} more`] : [];
  return lines.length === 0 ? 'no rooms are configured' : [...lines, ...more].join('\n');
}

const recallArguments = z.strictObject({ message: z.uuid() });

/** Takes back what Steward said in this conversation. The sender holds it to that: it takes back nothing said elsewhere. */
export function createRecallMessage(): Tool {
  return {
    definition: builtinDefinitions.recall_message,
    run: { kind: 'tell', toRequest: toRecallRequest },
  };
}

function toRecallRequest(args: JsonObject, context: ToolCallContext) {
  const parsed = recallArguments.safeParse(args);
  if (!parsed.success) return failed('INVALID_ARGUMENTS', 'the id of an outbound message is needed');
  const { robotCode, conversationId, conversationKind, requester } = context;
  const content = { kind: 'recall' as const, outboundMessageId: parsed.data.message };
  if (conversationKind === 'group') return { target: { kind: 'group' as const, robotCode, conversationId }, content };
  if (requester.staffId === null) return failed('UNKNOWN_PERSON', 'the platform does not vouch for who asks');
  return { target: { kind: 'person' as const, robotCode, staffId: requester.staffId }, content };
}

const failed = (code: string, text: string): Failed => ({ kind: 'failed', code, text });
