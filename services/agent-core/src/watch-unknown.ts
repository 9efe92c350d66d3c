import { sql } from 'kysely';
import { createLoop, newId, type Loop } from '@steward/service-kit';
import type { Environment } from '@steward/contracts';
import type { Db, Trx } from '@steward/postgres';
import { findOperationsRoom } from './approvals/approvals-room.ts';
import type { AgentTables } from './database.ts';
import type { GateContext } from './gate/gate-context.ts';
import { quoteForMarkdown } from './quote-for-markdown.ts';
import type { Language } from './texts.ts';
import { tellOutbound } from './tell-outbound.ts';
import { toMarkdown } from './to-markdown.ts';

/** Together with the pause below, well under the minute within which an unknown outcome must be visible. */
export const lookEveryMs = 5_000;
/** As long as the last notice is younger, what is new waits for the next one: a storm of unknowns is one notice a minute. */
export const quietSeconds = 40;
/** As many are named in a notice; the rest is counted. */
const named = 5;

/** Tells the operations rooms what nobody knows the outcome of, and counts it. */
export function createUnknownWatch(context: GateContext): Loop {
  return createLoop({
    name: 'unknown outcomes',
    idleMs: lookEveryMs,
    log: context.log,
    run: async () => {
      await measureUnknownCalls(context);
      for (const environment of ['test', 'production'] as const) {
        const told = await context.db.transaction().execute((trx) => tellUnknowns(trx, context, environment));
        if (told) context.onTold();
      }
      return 'idle';
    },
  });
}

type Unknown = {
  kind: 'outbound_message' | 'tool_call';
  id: string;
  what: string;
  code: string | null;
  room: string | null;
  /** How many there are of which these are the oldest. */
  total: number;
};

/**
 * Puts what is newly unknown in an environment on record as noticed, logs it, and tells it in the operations room by one
 * message. False: there is nothing new, another replica is at it, or the last notice is too young. A notice whose own outcome
 * is unknown is counted and listed like anything else, and never told by a notice.
 */
export async function tellUnknowns(
  trx: Trx<AgentTables>,
  context: GateContext,
  environment: Environment,
): Promise<boolean> {
  const noticeId = newId();
  const { rows: entered } = await sql<{ free: boolean }>`
    select pg_try_advisory_xact_lock(hashtext('agent_core.unknown_notice')) as free`.execute(trx);
  if (entered[0]?.free !== true) return false;
  const { rows } = await sql<Unknown>`
    with fresh as materialized (
      select u.* from ops.unknown u
      where u.environment = ${environment}
        and not exists (select from agent_core.unknown_told t where t.subject_id = u.subject_id and t.since = u.since)
        and not exists (select from agent_core.unknown_notice n where n.id = u.subject_id)
        and not exists (select from agent_core.unknown_notice n where n.environment = ${environment}
          and n.told_at > now() - ${quietSeconds} * interval '1 s')
    ), noticed as (
      insert into agent_core.unknown_notice (id, environment, subjects)
      select ${noticeId}::uuid, ${environment}, count(*) from fresh having count(*) > 0
    ), told as (
      insert into agent_core.unknown_told (subject_id, since, notice_id) select subject_id, since, ${noticeId}::uuid from fresh
    )
    select kind, subject_id as id, what, code, conversation_id as room, count(*) over ()::int as total
    from fresh order by since, subject_id limit ${named}`.execute(trx);
  const [first] = rows;
  if (first === undefined) return false;
  const subjectIds = rows.map(({ id }) => id);
  context.log.error('unknown.waiting', { environment, count: first.total, subjectIds });
  const room = findOperationsRoom(context, environment);
  if (room === null) return false;
  await tellOutbound(trx, {
    outboundMessageId: noticeId,
    after: null,
    environment,
    // It waits for people, as an approval does, and is as rare.
    lane: 'approval',
    target: { kind: 'group', ...room },
    content: toMarkdown(render(context.language, rows, first.total)),
    correlationId: noticeId,
    causationId: noticeId,
    now: context.now(),
  });
  return true;
}

const texts: Record<Language, { head: (count: number) => string; more: (count: number) => string; then: string }> = {
  en: {
    head: (count) =>
      `${count} ${count === 1 ? 'outcome is' : 'outcomes are'} unknown and ${count === 1 ? 'waits' : 'wait'} for a person`,
    more: (count) => `and ${count} more`,
    then: 'Look first, then settle it at the command line: steward outbound resolve <id>, steward calls resolve <id>',
  },
  zh: {
    head: (count) => `有 ${count} 项结果不明，需要人工确认`,
    more: (count) => `另有 ${count} 项`,
    then: '请先核实，再在命令行确认：steward outbound resolve <id>、steward calls resolve <id>',
  },
};

function render(language: Language, unknowns: readonly Unknown[], total: number): string {
  const { head, more, then } = texts[language];
  const lines = unknowns.map(({ kind, id, what, code, room }) => {
    const command = kind === 'tool_call' ? 'calls' : 'outbound';
    return `- ${command} ${id}: ${[what, code, room].flatMap((part) => (part === null ? [] : [quoteForMarkdown(part)])).join(', ')}`;
  });
  const rest = total - lines.length;
  return [head(total), ...lines, ...(rest > 0 ? [`- ${more(rest)}`] : []), '', quoteForMarkdown(then)].join('\n');
}

/** How many calls wait for a person's word, and for how long the oldest has. Every replica says the same. */
export async function measureUnknownCalls({
  db,
  metrics,
}: {
  db: Db<AgentTables>;
  metrics: GateContext['metrics'];
}): Promise<void> {
  const { rows } = await sql<{ count: number; age: number }>`
    select count(*)::int as count, coalesce(extract(epoch from now() - min(since)), 0)::float8 as age
    from ops.unknown where kind = 'tool_call'`.execute(db);
  metrics
    .gauge('steward_tool_call_unknown', 'Calls whose outcome nobody knows and nobody has settled')
    .set(rows[0]?.count ?? 0);
  metrics
    .gauge('steward_tool_call_unknown_oldest_seconds', 'How long the oldest of them has waited')
    .set(rows[0]?.age ?? 0);
}
