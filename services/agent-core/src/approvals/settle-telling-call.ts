import type { OutboundSettled } from '@steward/contracts';
import type { Trx } from '@steward/postgres';
import type { AgentTables } from '../database.ts';
import { closeAttempt, endCall } from '../gate/end-call.ts';
import type { GateContext } from '../gate/gate-context.ts';
import { loadCalls } from '../gate/load-calls.ts';
import { wakeTurn } from '../wake-turn.ts';
import { tellUnknown } from './end-request.ts';
import { resolveCall } from './resolve-call.ts';

/** How an outbound message's ending reads as the outcome of the call that asked for it: unknown there is unknown here (A10). */
const outcomeOf = {
  accepted: 'done',
  merged: 'done',
  failed: 'failed',
  discarded: 'failed',
  unknown: 'unknown',
} as const;

/** Closes the attempt whose effect was this outbound message, if there is one, and lets its turn go on. An ending that takes the place of an unknown one settles the call. */
export async function settleTellingCall(
  trx: Trx<AgentTables>,
  context: GateContext,
  { outboundMessageId, ending, reason }: OutboundSettled['body'],
): Promise<void> {
  const attempt = await trx
    .selectFrom('tool_attempt as a')
    .innerJoin('tool_call as c', 'c.id', 'a.tool_call_id')
    .select(['a.id', 'c.turn_id', 'c.id as call_id'])
    .where('a.outbound_message_id', '=', outboundMessageId)
    .executeTakeFirst();
  if (attempt === undefined) return;
  const outcome = outcomeOf[ending];
  const code = outcome === 'done' ? null : (reason ?? ending);
  const call = (await loadCalls(trx, { turnId: attempt.turn_id })).find(({ id }) => id === attempt.call_id);
  if (call === undefined) throw new Error(`tool call ${attempt.call_id} is gone`);
  const closed = await closeAttempt(trx, call, attempt.id, { outcome, code, durationMs: null });
  if (!closed) {
    // The call was given up as unknown, and now its message has an ending that is known: that settles the call too.
    if (outcome !== 'unknown' && call.status === 'unknown')
      await resolveCall(trx, context, call, {
        decision: outcome === 'done' ? 'happened' : 'did_not',
        reason: reason ?? ending,
        decidedBy: 'outbound-sender',
        door: 'outbound',
        sourceId: outboundMessageId,
      });
    return;
  }
  const result = outcome === 'done' ? `outbound message ${outboundMessageId}` : null;
  const ended = await endCall(trx, call, { status: outcome, code, result });
  if (ended && outcome === 'unknown') await tellUnknown(trx, context, call);
  await wakeTurn(trx, attempt.turn_id);
}
