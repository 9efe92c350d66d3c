import { sql } from 'kysely';
import { z } from 'zod';
import type { Db, OperatorAnswer, OperatorRequest, Trx } from '@steward/postgres';
import { appendAudit } from '@steward/postgres';
import type { OutboundResolutionTable, SenderTables } from './database.ts';
import { endOutbound } from './end-outbound.ts';

/** What a person can say of an outbound message whose outcome nobody knows. */
type Decision = OutboundResolutionTable['decision'];

const requestSchema = z.object({
  outboundMessageId: z.uuid(),
  decision: z.enum(['happened', 'did_not', 'discard']),
  /** Which ending it is about: nobody knows, or it failed and shall be tried again or forgotten. */
  was: z.enum(['unknown', 'failed']).default('unknown'),
  reason: z.string().trim().min(1).max(500),
  /** How many decisions about this message the operator had seen: one more than that is this one. */
  seen: z.number().int().min(0).max(10_000),
});

const reasonOf: Record<Exclude<Decision, 'did_not'>, string> = {
  happened: 'OPERATOR_HAPPENED',
  discard: 'OPERATOR_DISCARDED',
};

/**
 * Carries out what an operator says about a message that ended `unknown`, or that failed (then `happened` is no answer): it happened, and the rest of its parts follows if
 * there is one; it did not, and the part in hand is sent again as if for the first time; or nobody shall care any more. Once
 * for each ending: asked again it answers with what was decided. Whoever has not ended yet behind it keeps its place.
 */
export async function resolveOutbound(
  o: { db: Db<SenderTables>; now: () => Date },
  request: Pick<OperatorRequest, 'id' | 'body' | 'asked_by'>,
): Promise<OperatorAnswer> {
  const parsed = requestSchema.safeParse(request.body);
  if (!parsed.success)
    return no('a resolution needs outboundMessageId, decision, reason and how many decisions were seen');
  const { outboundMessageId: id, decision, was, reason, seen } = parsed.data;
  return o.db.transaction().execute(async (trx): Promise<OperatorAnswer> => {
    const message = await trx
      .selectFrom('outbound_message')
      .select(['id', 'status', 'parts_accepted', 'attempt_count', 'correlation_id', 'environment'])
      .select(sql<number>`jsonb_array_length(parts)`.as('parts'))
      .where('id', '=', id)
      .forUpdate()
      .executeTakeFirst();
    if (message === undefined) return no('there is no such outbound message');
    const before = await lastResolution(trx, id);
    if (before !== undefined && (before.number > seen || message.status !== was)) {
      const text = `decided already: ${toWords(before.decision)}, by ${before.decided_by}; it is ${message.status} now`;
      return { ok: before.number <= seen + 1 && before.decision === decision, text };
    }
    if (message.status !== was || (was === 'failed' && decision === 'happened'))
      return no(`it is ${message.status}, and nothing about that waits for a person`);
    if (was === 'failed' && decision === 'did_not' && (await isEffectOfCall(trx, id)))
      return no('it is what an approved call was to do, and that call has failed: it takes a new request');
    if (decision === 'did_not' && message.parts === 0) return no('its words were erased, so it cannot be sent again');
    await trx
      .insertInto('outbound_resolution')
      .values({
        outbound_message_id: id,
        number: (before?.number ?? 0) + 1,
        was,
        decision,
        reason,
        decided_by: request.asked_by,
        request_id: request.id,
      })
      .execute();
    await trx
      .updateTable('outbound_message')
      .set({ reopened_at: sql`now()` })
      .where('id', '=', id)
      .execute();
    await appendAudit(trx, 'outbound-sender', [
      {
        kind: 'outbound.resolved',
        outcome: decision,
        correlationId: message.correlation_id,
        environment: message.environment,
        door: 'cli',
        subjectId: id,
        detail: {
          was: message.status,
          account: request.asked_by,
          requestId: request.id,
          attempts: message.attempt_count,
        },
        personal: { reason },
      },
    ]);
    return carryOut(trx, o.now(), { ...message, decision });
  });
}

type Resolved = {
  id: string;
  parts: number;
  parts_accepted: number;
  attempt_count: number;
  correlation_id: string;
  decision: Decision;
};

async function carryOut(trx: Trx<SenderTables>, now: Date, message: Resolved): Promise<OperatorAnswer> {
  const { id, decision, attempt_count, correlation_id } = message;
  if (decision === 'did_not') {
    await queueAgain(trx, id, message.parts_accepted);
    return { ok: true, text: 'it is sent again' };
  }
  const accepted = message.parts_accepted + (decision === 'happened' ? 1 : 0);
  if (decision === 'happened' && accepted < message.parts) {
    await queueAgain(trx, id, accepted);
    return { ok: true, text: `part ${accepted} of ${message.parts} counts as accepted; the rest is sent` };
  }
  const status = decision === 'happened' ? 'accepted' : 'discarded';
  const ended = { id, correlation_id, attempt_count, status, reason: reasonOf[decision] } as const;
  await endOutbound(trx, ended, now, { parts_accepted: accepted });
  return { ok: true, text: `it is ${status} now` };
}

/** As if the part in hand had never been sent: no mark of a repeat, and both chances again. */
async function queueAgain(trx: Trx<SenderTables>, id: string, partsAccepted: number): Promise<void> {
  await trx
    .updateTable('outbound_message')
    .set({
      status: 'queued',
      ended_at: null,
      reason: null,
      unknown_count: 0,
      parts_accepted: partsAccepted,
      next_attempt_at: sql`now()`,
    })
    .where('id', '=', id)
    .execute();
}

async function isEffectOfCall(trx: Trx<SenderTables>, id: string): Promise<boolean> {
  const { rows } = await sql<{ is: boolean }>`select ops.is_effect_of_call(${id}::uuid) as is`.execute(trx);
  return rows[0]?.is === true;
}

async function lastResolution(trx: Trx<SenderTables>, id: string) {
  return trx
    .selectFrom('outbound_resolution')
    .select(['number', 'decision', 'decided_by'])
    .where('outbound_message_id', '=', id)
    .orderBy('number', 'desc')
    .limit(1)
    .executeTakeFirst();
}

const toWords = (decision: Decision): string => decision.replace('_', ' ');

const no = (text: string): OperatorAnswer => ({ ok: false, text });
