import type { Db } from '@steward/postgres';
import type { ClaimedTurn } from './claim-turn.ts';
import type { AgentTables } from './database.ts';
import type { Access } from './judge-access.ts';
import { texts, type Language } from './texts.ts';

/** What commands tell about this installation. */
export type CommandFacts = { version: string; timeZone: string; modelName: string | null; now: () => Date };

type CommandContext = { db: Db<AgentTables>; language: Language; facts: CommandFacts };

/** The answer to a command. Commands look at Steward's own state only, and need no model. */
export async function answerCommand(
  context: CommandContext,
  turn: ClaimedTurn,
  access: Access & { verdict: 'allow' },
  name: string,
): Promise<string> {
  const { language, facts } = context;
  const { conversation, requester, environment } = turn.inbound;
  switch (name) {
    case 'help':
      return texts.help[language](facts.modelName !== null);
    case 'ping':
      return texts.ping[language];
    case 'whoami':
      return texts.whoami[language]({
        nick: requester.nick,
        staffId: requester.staffId ?? texts.none[language],
        roles: access.person?.roles.join(', ') ?? texts.none[language],
      });
    case 'room':
      return texts.room[language]({
        place: access.place,
        id: conversation.conversationId,
        robot: conversation.robotCode,
        environment,
      });
    case 'status':
      return texts.status[language]({
        version: facts.version,
        clock: renderClock(facts.now(), facts.timeZone),
        model: facts.modelName ?? texts.notConfigured[language],
        ...(await countOpenWork(context.db)),
      });
    default:
      return texts.unknownCommand[language](name.slice(0, 40));
  }
}

async function countOpenWork(db: Db<AgentTables>): Promise<{ waiting: number; unsettled: number }> {
  const [turns, outbox] = await Promise.all([
    db
      .selectFrom('turn')
      .select((eb) => eb.fn.countAll<number>().as('n'))
      .where('status', '=', 'queued')
      .executeTakeFirstOrThrow(),
    db
      .selectFrom('outbox')
      .select((eb) => eb.fn.countAll<number>().as('n'))
      .where('type', '=', 'outbound.requested.v1')
      .executeTakeFirstOrThrow(),
  ]);
  return { waiting: turns.n, unsettled: outbox.n };
}

/** Every clock shows its time zone: people of one incident sit in several. */
export function renderClock(at: Date, timeZone: string): string {
  const text = new Intl.DateTimeFormat('sv-SE', { timeZone, dateStyle: 'short', timeStyle: 'medium' }).format(at);
  return `${text} ${timeZone}`;
}
