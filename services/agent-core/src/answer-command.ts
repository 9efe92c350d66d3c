import { sql } from 'kysely';
import type { Db } from '@steward/postgres';
import { answerCancel, answerDecision, answerPending, answerShow } from './approvals/answer-decision.ts';
import { answerFreeze, answerStop } from './approvals/answer-switches.ts';
import { breakGlass, reviewGlass } from './approvals/break-glass.ts';
import type { AgentTables } from './database.ts';
import type { GatedTurn } from './gate/gate-context.ts';
import { listTools } from './gate/list-tools.ts';
import { answerQuota } from './answer-quota.ts';
import { isKnownCommand } from './parse-command.ts';
import { quoteForMarkdown } from './quote-for-markdown.ts';
import { renderClock } from './render-clock.ts';
import type { TurnContext } from './run-turn.ts';
import { texts } from './texts.ts';
import { toolTexts } from './tool-texts.ts';

/** What commands tell about this installation. */
export type CommandFacts = {
  version: string;
  timeZone: string;
  modelName: string | null;
  /** The quota of the organisation, where it is configured. */
  apiCallsPerMonth: number | null;
  messagesPerMonth: number | null;
  now: () => Date;
};

/** The answer to a command of the control lane. None of them needs a model or waits for a tool. */
export async function answerCommand(
  context: TurnContext,
  gated: GatedTurn,
  name: string,
  argument: string,
): Promise<string> {
  switch (name) {
    case 'approve':
    case 'deny':
      return answerDecision(context, gated, name, argument);
    case 'pending':
      return answerPending(context, gated);
    case 'show':
      return answerShow(context, gated, argument);
    case 'cancel':
      return answerCancel(context, gated, argument);
    case 'stop':
      return answerStop(context, gated);
    case 'freeze':
    case 'unfreeze':
      return answerFreeze(context, gated, name, argument);
    case 'breakglass':
      return breakGlass(context, gated, argument);
    case 'review':
      return reviewGlass(context, gated, argument);
    case 'tools':
      return answerTools(context, gated);
    case 'skills':
      return answerSkills(context, gated);
    case 'whoami':
      return answerWhoami(context, gated);
    default:
      return texts.unknownCommand[context.language](quoteForMarkdown(name));
  }
}

/** Commands that tell everybody the same about this place and this installation, whoever asks; null: it is none of them. */
export async function answerAboutHere(
  context: TurnContext,
  { turn, access }: Omit<GatedTurn, 'principal'>,
  name: string,
): Promise<string | null> {
  const { language, facts } = context;
  const { conversation, environment } = turn.inbound;
  switch (name) {
    case 'help':
      return texts.help[language](facts.modelName !== null);
    case 'ping':
      return texts.ping[language];
    case 'room':
      return texts.room[language]({
        place: access.place,
        id: quoteForMarkdown(conversation.conversationId),
        robot: quoteForMarkdown(conversation.robotCode),
        environment,
      });
    case 'quota':
      return answerQuota(context, conversation.robotCode);
    case 'status':
      return texts.status[language]({
        version: facts.version,
        clock: renderClock(facts.now(), facts.timeZone),
        model: facts.modelName ?? texts.notConfigured[language],
        ...(await countOpenWork(context.db)),
      });
    default:
      return isKnownCommand(name) ? null : texts.unknownCommand[language](quoteForMarkdown(name));
  }
}

function answerWhoami({ language }: TurnContext, { turn, principal }: GatedTurn): string {
  const { nick, staffId } = turn.inbound.requester;
  return texts.whoami[language]({
    nick: quoteForMarkdown(nick),
    staffId: staffId === null ? texts.none[language] : quoteForMarkdown(staffId),
    roles: principal.roles.length === 0 ? texts.none[language] : principal.roles.join(', '),
  });
}

/** `/tools`: what this person may use here, and how each is judged. */
async function answerTools(context: TurnContext, gated: GatedTurn): Promise<string> {
  const t = toolTexts[context.language];
  const listed = await listTools(context, gated);
  if (listed.length === 0) return t.noTools;
  return listed
    .map(({ tool: { definition }, judged }) =>
      t.toolLine({
        name: definition.name,
        description: definition.description,
        judged,
        usage: renderUsage(definition),
      }),
    )
    .join('\n');
}

function renderUsage({ parameters }: { parameters: Readonly<Record<string, unknown>> }): string {
  const { properties, required } = parameters;
  const needed = Array.isArray(required) ? required : [];
  const names = typeof properties === 'object' && properties !== null ? Object.keys(properties) : [];
  return names.map((name) => (needed.includes(name) ? `${name}=…` : `[${name}=…]`)).join(' ');
}

/** `/skills`: those that people may use; whoever holds a role also sees why others are not there. */
function answerSkills(context: TurnContext, { principal }: GatedTurn): string {
  const t = toolTexts[context.language];
  const lines = context.skills
    .filter(({ userInvocable }) => userInvocable)
    .map(({ name, description, parameters }) =>
      t.skillLine({
        name,
        description,
        usage: parameters.map((one) => (one.required ? `${one.name}=…` : `[${one.name}=…]`)).join(' '),
      }),
    );
  const problems = context.skillProblems.map(({ where, text }) => `- ${where}: ${text}`).join('\n');
  const shown = lines.length === 0 ? t.noSkills : lines.join('\n');
  return problems === '' || principal.roles.length === 0 ? shown : `${shown}\n${t.skillProblems(problems)}`;
}

/** Counts go no further than this: `/status` must not read a backlog to say that there is one. */
const countLimit = 1_000;

/** `well`: nobody waits for a turn, and no answer has been waiting to be confirmed for a minute. */
async function countOpenWork(db: Db<AgentTables>): Promise<{ well: boolean; waiting: string; unsettled: string }> {
  const { rows } = await sql<{ waiting: number; unsettled: number; late: boolean }>`
    select
      (select count(*) from (select from agent_core.turn where status = 'queued' limit ${countLimit + 1}) t) as waiting,
      count(*) as unsettled, coalesce(bool_or(created_at < now() - interval '60 s'), false) as late
    from (select created_at from agent_core.outbox where type = 'outbound.requested.v1' limit ${countLimit + 1}) o`.execute(
    db,
  );
  const { waiting = 0, unsettled = 0, late = false } = rows[0] ?? {};
  return { well: waiting === 0 && !late, waiting: renderCount(waiting), unsettled: renderCount(unsettled) };
}

const renderCount = (count: number) => (count > countLimit ? `${countLimit}+` : String(count));
