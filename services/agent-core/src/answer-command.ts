import { sql } from 'kysely';
import type { Db } from '@steward/postgres';
import type { ClaimedTurn } from './claim-turn.ts';
import type { AgentTables } from './database.ts';
import type { Access } from './judge-access.ts';
import { quoteForMarkdown } from './quote-for-markdown.ts';
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
        nick: quoteForMarkdown(requester.nick),
        staffId: requester.staffId === null ? texts.none[language] : quoteForMarkdown(requester.staffId),
        roles: access.person?.roles.join(', ') ?? texts.none[language],
      });
    case 'room':
      return texts.room[language]({
        place: access.place,
        id: quoteForMarkdown(conversation.conversationId),
        robot: quoteForMarkdown(conversation.robotCode),
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
      return texts.unknownCommand[language](quoteForMarkdown(name));
  }
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

/** Every clock shows its time zone: people of one incident sit in several. */
export function renderClock(at: Date, timeZone: string): string {
  const text = new Intl.DateTimeFormat('sv-SE', { timeZone, dateStyle: 'short', timeStyle: 'medium' }).format(at);
  return `${text} ${timeZone}`;
}
