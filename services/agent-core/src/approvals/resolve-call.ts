import { sql } from 'kysely';
import { newId } from '@steward/service-kit';
import { appendAudit, type OperatorAnswer, type Trx } from '@steward/postgres';
import type { AgentTables } from '../database.ts';
import { aboutCall } from '../gate/end-call.ts';
import type { GateContext } from '../gate/gate-context.ts';
import { loadCalls, type CallRow } from '../gate/load-calls.ts';
import { quoteForMarkdown } from '../quote-for-markdown.ts';
import { tellOutbound } from '../tell-outbound.ts';
import { toMarkdown } from '../to-markdown.ts';
import { approvalTexts } from './approval-texts.ts';

/** What somebody, or the message that was its effect, says about a call whose outcome nobody knew. */
export type Resolution = {
  decision: 'happened' | 'did_not';
  reason: string;
  decidedBy: string;
  door: 'cli' | 'outbound';
  sourceId: string;
};

/**
 * Carries out an operator's word about a call that ended `unknown`: on record once, audited, and told in the room by one line.
 * Nothing is called again: that takes a new request (note A2). Asked again it answers with what was decided.
 */
export async function resolveCallFor(
  context: GateContext,
  toolCallId: string,
  resolution: Resolution,
): Promise<OperatorAnswer> {
  return context.db.transaction().execute(async (trx): Promise<OperatorAnswer> => {
    const found = await trx
      .selectFrom('tool_call')
      .select(['turn_id', 'status'])
      .where('id', '=', toolCallId)
      .forUpdate()
      .executeTakeFirst();
    if (found === undefined) return { ok: false, text: 'there is no such call' };
    const call = await loadCall(trx, found.turn_id, toolCallId);
    const before = await trx
      .selectFrom('tool_call_resolution')
      .select(['decision', 'decided_by'])
      .where('tool_call_id', '=', toolCallId)
      .executeTakeFirst();
    if (before !== undefined) {
      const text = `decided already: ${before.decision.replace('_', ' ')}, by ${before.decided_by}`;
      return { ok: before.decision === resolution.decision, text };
    }
    if (found.status !== 'unknown')
      return { ok: false, text: `it is ${found.status}, and nothing about that waits for a person` };
    if (!(await isOpen(trx, toolCallId))) {
      const outbound = call.attempt?.outboundMessageId ?? '';
      return {
        ok: false,
        text: `its effect is an outbound message: settle that one, steward outbound resolve ${outbound}`,
      };
    }
    await resolveCall(trx, context, call, resolution);
    return { ok: true, text: `${call.tool}: ${resolution.decision.replace('_', ' ')}; nothing is called again` };
  });
}

/** Puts it on record that a call of unknown outcome happened or did not, and tells the room. False: that was decided before. */
export async function resolveCall(
  trx: Trx<AgentTables>,
  context: GateContext,
  call: CallRow,
  o: Resolution,
): Promise<boolean> {
  const { numInsertedOrUpdatedRows } = await trx
    .insertInto('tool_call_resolution')
    .values({
      tool_call_id: call.id,
      decision: o.decision,
      reason: o.reason,
      decided_by: o.decidedBy,
      door: o.door,
      source_id: o.sourceId,
    })
    .onConflict((oc) => oc.column('tool_call_id').doNothing())
    .executeTakeFirst();
  if (numInsertedOrUpdatedRows !== 1n) return false;
  await appendAudit(trx, 'agent-core', [
    {
      kind: 'call.resolved',
      outcome: o.decision,
      ...aboutCall(call),
      // Who asked for the call is not who settled it.
      actor: null,
      door: o.door,
      detail: { tool: call.tool, account: o.decidedBy, sourceId: o.sourceId },
      personal: { reason: o.reason },
    },
  ]);
  await tellRoom(trx, context, call, o);
  return true;
}

/** One line in the conversation where the call was asked for. */
async function tellRoom(trx: Trx<AgentTables>, context: GateContext, call: CallRow, o: Resolution): Promise<void> {
  const { inbound } = await trx
    .selectFrom('turn')
    .select('inbound')
    .where('id', '=', call.turnId)
    .executeTakeFirstOrThrow();
  const { conversation, requester, replyAddress } = inbound;
  const text = approvalTexts[context.language].resolved({
    code: call.requestCode ?? '–',
    tool: quoteForMarkdown(call.tool),
    happened: o.decision === 'happened',
    who: quoteForMarkdown(o.decidedBy),
    reason: quoteForMarkdown(o.reason),
    reference: call.correlationId.slice(-8),
  });
  await tellOutbound(trx, {
    outboundMessageId: newId(),
    after: null,
    environment: call.environment,
    lane: 'approval',
    target: { kind: 'reply', conversation, staffId: requester.staffId, replyAddress },
    content: toMarkdown(text),
    correlationId: call.correlationId,
    causationId: call.id,
    now: context.now(),
  });
}

async function loadCall(trx: Trx<AgentTables>, turnId: string, id: string): Promise<CallRow> {
  const call = (await loadCalls(trx, { turnId })).find((one) => one.id === id);
  if (call === undefined) throw new Error(`tool call ${id} is gone`);
  return call;
}

/** Whether the call waits for a person itself, and not for the message that is its effect. */
async function isOpen(trx: Trx<AgentTables>, toolCallId: string): Promise<boolean> {
  const { rows } = await sql`
    select from ops.unknown where kind = 'tool_call' and subject_id = ${toolCallId}::uuid`.execute(trx);
  return rows.length === 1;
}
