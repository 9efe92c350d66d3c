import { sql } from 'kysely';
import type { Db, Trx } from '@steward/postgres';
import type { AttemptOutcome, SenderTables } from './database.ts';
import { decideNext, type Next } from './decide-next.ts';
import { endOutbound } from './end-outbound.ts';
import type { OpenAttempt } from './open-attempt.ts';

/** What a send came to, in the ledger's words. */
export type AttemptResult = {
  outcome: AttemptOutcome;
  code: string | null;
  processQueryKey: string | null;
  retryAfterMs: number | null;
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

type Context = { db: Db<SenderTables>; now: () => Date; random: () => number };

/**
 * Writes down what an attempt came to and what becomes of the message, in one transaction. Returns null, with no effect,
 * when the attempt was closed already: its lease ran out and another replica took the message over.
 */
export async function closeAttempt(o: Context, attempt: OpenAttempt, result: AttemptResult): Promise<Next | null> {
  return o.db.transaction().execute(async (trx) => {
    const message = await trx
      .selectFrom('outbound_message')
      .select(['attempt_count', 'status'])
      .where('id', '=', attempt.outboundMessageId)
      .forUpdate()
      .executeTakeFirstOrThrow();
    if (message.status !== 'sending' || message.attempt_count !== attempt.number) return null;
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
    return applyNext(trx, o, attempt, result);
  });
}

/**
 * Closes attempts whose process died: nobody knows whether the platform got them. Returns how many there were.
 */
export async function closeAbandoned(o: Context): Promise<number> {
  return o.db.transaction().execute(async (trx) => {
    const { rows } = await sql<Attempted>`
      select a.id as "attemptId", m.id as "outboundMessageId", m.correlation_id as "correlationId", a.number, a.path,
        a.part, jsonb_array_length(m.parts) as "partCount", m.unknown_count as "unknownCount",
        (extract(epoch from now() - m.recorded_at) * 1000)::float8 as "ageMs"
      from outbound_sender.outbound_message m
      join outbound_sender.delivery_attempt a on a.outbound_message_id = m.id and a.number = m.attempt_count
      where m.status = 'sending' and m.lease_until < now()
      limit 50
      for update of m skip locked`.execute(trx);
    for (const attempt of rows) {
      await trx
        .updateTable('delivery_attempt')
        .set({ code: 'PROCESS_DIED', ended_at: sql`now()` })
        .where('id', '=', attempt.attemptId)
        .execute();
      await applyNext(trx, o, attempt, {
        outcome: 'unknown',
        code: 'PROCESS_DIED',
        processQueryKey: null,
        retryAfterMs: null,
      });
    }
    return rows.length;
  });
}

async function applyNext(trx: Trx<SenderTables>, o: Context, attempt: Attempted, result: AttemptResult): Promise<Next> {
  const unknownCount = attempt.unknownCount + (result.outcome === 'unknown' ? 1 : 0);
  const next = decideNext({
    ...result,
    unknownCount,
    attemptCount: attempt.number,
    ageMs: attempt.ageMs,
    lastPart: attempt.part + 1 >= attempt.partCount,
    repeatable: attempt.path === 'custom_robot',
    random: o.random(),
  });
  if (next.kind === 'end') {
    const { outboundMessageId: id, correlationId: correlation_id, number: attempt_count } = attempt;
    await endOutbound(trx, { id, correlation_id, attempt_count, status: next.ending, reason: next.reason }, o.now());
  }
  await trx
    .updateTable('outbound_message')
    .set({
      unknown_count: unknownCount,
      parts_accepted: attempt.part + (result.outcome === 'accepted' ? 1 : 0),
      // The next part was never sent: it is no repeat, and has a second chance of its own.
      ...(next.kind === 'next_part' && {
        unknown_count: 0,
        status: 'queued',
        lease_until: null,
        next_attempt_at: sql`now()`,
      }),
      ...(next.kind === 'again' && {
        status: 'queued',
        lease_until: null,
        next_attempt_at: sql`now() + ${next.delayMs} * interval '1 ms'`,
        ...(next.sessionGone && { session_gone: true }),
      }),
    })
    .where('id', '=', attempt.outboundMessageId)
    .execute();
  return next;
}
