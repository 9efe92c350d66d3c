import { sql } from 'kysely';
import type { Logger } from '@steward/service-kit';
import { auditSteps, tellStep, type Db, type Trx } from '@steward/postgres';
import type { AttemptOutcome, SenderTables } from './database.ts';
import { decideNext, type Next } from './decide-next.ts';
import { endOutbound, toEndedEntry, toOutboundSettled } from './end-outbound.ts';
import { holdScope, type Hold, type Wish } from './hold-scope.ts';
import type { OpenAttempt } from './open-attempt.ts';
import { spendStatement } from './quota.ts';

/** What a send came to, in the ledger's words. */
export type AttemptResult = {
  outcome: AttemptOutcome;
  code: string | null;
  processQueryKey: string | null;
  retryAfterMs: number | null;
  /** Refused because of how the app is set up: people must mend that, and then the message can leave. */
  misconfigured?: boolean;
  /** What the platform wants paused for everybody. */
  wish?: Wish | null;
};

/** What closing needs to know of an attempt. */
type Attempted = Pick<
  OpenAttempt,
  | 'attemptId'
  | 'outboundMessageId'
  | 'correlationId'
  | 'number'
  | 'path'
  | 'part'
  | 'partCount'
  | 'unknownCount'
  | 'ageMs'
>;

const processDied = 'PROCESS_DIED';

type Context = { db: Db<SenderTables>; now: () => Date; random: () => number };

/**
 * Writes down what an attempt came to, what becomes of the message, and what must pause, in one transaction; safe to repeat.
 * Returns null, with no effect, when the attempt was closed already: its lease ran out and another replica took the message over. Only
 * an acceptance still counts then, as long as the repeat was not begun: it spares the person a message that comes twice.
 */
export async function closeAttempt(
  o: Context,
  attempt: OpenAttempt,
  result: AttemptResult,
  hold: Hold | null = null,
): Promise<Next | null> {
  if (await closeDelivered(o, attempt, result)) return { kind: 'end', ending: 'accepted', reason: null };
  return o.db.transaction().execute(async (trx) => {
    const message = await trx
      .selectFrom('outbound_message')
      .select(['attempt_count', 'status', 'reason'])
      .where('id', '=', attempt.outboundMessageId)
      .forUpdate()
      .executeTakeFirstOrThrow();
    const isOpen = message.status === 'sending';
    const isSpared = result.outcome === 'accepted' && message.status === 'queued' && message.reason === processDied;
    if (message.attempt_count !== attempt.number || !(isOpen || isSpared)) return null;
    await trx
      .updateTable('delivery_attempt')
      .set({
        outcome: result.outcome,
        code: result.code,
        process_query_key: result.processQueryKey,
        ended_at: sql`now()`,
      })
      .where('id', '=', attempt.attemptId)
      .execute();
    // An attempt that was given up for dead was counted then.
    const spent = isOpen ? spendStatement({ ...attempt, ...result }) : null;
    if (spent !== null) await spent.execute(trx);
    if (hold !== null) {
      const { correlationId } = attempt;
      await holdScope(trx, { ...hold, reason: result.code ?? result.outcome, correlationId });
    }
    return applyNext(trx, o, attempt, result);
  });
}

/**
 * What nearly every attempt comes to: the last part was accepted, of a message that never ended before. One statement; false, with
 * no effect, for anything else.
 */
async function closeDelivered(o: Context, attempt: OpenAttempt, result: AttemptResult): Promise<boolean> {
  if (result.outcome !== 'accepted' || attempt.part + 1 < attempt.partCount) return false;
  const { outboundMessageId: id, correlationId: correlation_id, number: attempt_count } = attempt;
  const ended = { id, correlation_id, attempt_count, status: 'accepted' as const, reason: null };
  const message = toOutboundSettled({ ...ended, now: o.now() });
  const isOurs = sql`exists (select from ended)`;
  const spent = spendStatement({ ...attempt, ...result }, isOurs);
  const { rows } = await sql`
    with ended as (
      update outbound_sender.outbound_message
      set status = 'accepted', reason = null, lease_until = null, ended_at = now(), parts_accepted = ${attempt.part + 1}
      where id = ${id} and attempt_count = ${attempt_count} and status = 'sending' and reopened_at is null
      returning id
    ), closed as (
      update outbound_sender.delivery_attempt
      set outcome = 'accepted', code = ${result.code}, process_query_key = ${result.processQueryKey}, ended_at = now()
      where id = ${attempt.attemptId} and ${isOurs}
    ), ${spent === null ? sql`` : sql`spent as (${spent}), `}unneeded as (
      delete from outbound_sender.outbox where subject_id = ${id} and type = 'outbound.recorded.v1' and ${isOurs}
    ), ${tellStep('outbound_sender', { subjectId: id, message }, isOurs)},
    ${auditSteps('outbound-sender', [toEndedEntry(ended)], isOurs)}
    select id from ended`.execute(o.db);
  return rows.length === 1;
}

/**
 * Closes attempts whose process died: nobody knows whether the platform got them. Each in its own transaction, so that one
 * that cannot be closed blocks no other. Returns how many were closed.
 */
export async function closeAbandoned(o: Context & { log: Logger }): Promise<number> {
  const abandoned = await o.db
    .selectFrom('outbound_message')
    .select('id')
    .where('status', '=', 'sending')
    .where('lease_until', '<', sql<Date>`now()`)
    .orderBy(sql`random()`)
    .limit(50)
    .execute();
  let count = 0;
  for (const { id } of abandoned) {
    try {
      if (await closeAbandonedOne(o, id)) count += 1;
    } catch (error) {
      o.log.error('delivery.abandoned.not.closed', { outboundMessageId: id, error });
    }
  }
  return count;
}

async function closeAbandonedOne(o: Context, id: string): Promise<boolean> {
  return o.db.transaction().execute(async (trx) => {
    const { rows } = await sql<Attempted>`
      select a.id as "attemptId", m.id as "outboundMessageId", m.correlation_id as "correlationId", a.number, a.path,
        a.part, jsonb_array_length(m.parts) as "partCount", m.unknown_count as "unknownCount",
        (extract(epoch from now() - coalesce(m.reopened_at, m.recorded_at)) * 1000)::float8 as "ageMs"
      from outbound_sender.outbound_message m
      join outbound_sender.delivery_attempt a on a.outbound_message_id = m.id and a.number = m.attempt_count
      where m.id = ${id} and m.status = 'sending' and m.lease_until < now()
      for update of m skip locked`.execute(trx);
    const [attempt] = rows;
    if (attempt === undefined) return false;
    await trx
      .updateTable('delivery_attempt')
      .set({ code: processDied, ended_at: sql`now()` })
      .where('id', '=', attempt.attemptId)
      .execute();
    await spendStatement({ ...attempt, outcome: 'unknown' })?.execute(trx);
    const died: AttemptResult = { outcome: 'unknown', code: processDied, processQueryKey: null, retryAfterMs: null };
    await applyNext(trx, o, attempt, died);
    return true;
  });
}

async function applyNext(trx: Trx<SenderTables>, o: Context, attempt: Attempted, result: AttemptResult): Promise<Next> {
  const { outboundMessageId: id, correlationId: correlation_id, number: attempt_count, path, ageMs } = attempt;
  const unknown_count = attempt.unknownCount + (result.outcome === 'unknown' ? 1 : 0);
  const parts_accepted = attempt.part + (result.outcome === 'accepted' ? 1 : 0);
  const next = decideNext({
    ...result,
    path,
    unknownCount: unknown_count,
    attemptCount: attempt_count,
    ageMs,
    lastPart: parts_accepted >= attempt.partCount,
    random: o.random(),
  });
  if (next.kind === 'end') {
    const ended = { id, correlation_id, attempt_count, status: next.ending, reason: next.reason };
    await endOutbound(trx, ended, o.now(), { unknown_count, parts_accepted });
    return next;
  }
  await trx
    .updateTable('outbound_message')
    .set({
      status: 'queued',
      lease_until: null,
      parts_accepted,
      // The next part was never sent: it is no repeat, and has a second chance of its own.
      ...(next.kind === 'next_part' && { unknown_count: 0, reason: null, next_attempt_at: sql`now()` }),
      ...(next.kind === 'again' && {
        unknown_count,
        reason: result.code,
        next_attempt_at: sql`now() + ${next.delayMs} * interval '1 ms'`,
        ...(next.sessionGone && { session_gone: true }),
      }),
    })
    .where('id', '=', id)
    .execute();
  return next;
}
