import { sql } from 'kysely';
import { appendAudit, type Trx } from '@steward/postgres';
import type { AgentTables } from '../database.ts';
import { endCall } from '../gate/end-call.ts';
import type { GateContext } from '../gate/gate-context.ts';
import type { CallRow } from '../gate/load-calls.ts';
import { transact } from '../gate/transact.ts';
import type { CallStatus } from '../governance-tables.ts';
import { wakeTurn } from '../wake-turn.ts';
import { lockRequest, lockUnused, type RequestRow } from './load-request.ts';
import { outcomeUnknown, tellPlaces, updateCards } from './tell-places.ts';
import { tellUnknownElsewhere } from './tell-unknown.ts';

/** Who ended it: a person, or a clock or rule of Steward's own. */
export type EndedBy = { corpId: string; staffId: string } | null;
/** `why` is a word of ours, which every record may hold; `text` is what a person wrote, which can be erased later. */
type Ending = {
  status: 'denied' | 'expired' | 'cancelled' | 'void';
  why: string;
  text: string | null;
  by: EndedBy;
  saidIn?: string;
};

/**
 * Ends an open request and its call for good: row, call, audit entry, the waiting turn and what the rooms are told, in the
 * caller's transaction. The caller holds the request's lock.
 */
export async function endRequest(
  trx: Trx<AgentTables>,
  context: GateContext,
  request: RequestRow,
  o: Ending,
): Promise<void> {
  await trx
    .updateTable('approval_request')
    .set({
      status: o.status,
      end_reason: o.why,
      decided_at: sql<Date>`coalesce(decided_at, now())`,
      ended_at: sql<Date>`now()`,
      remind_at: null,
    })
    .where('id', '=', request.id)
    .execute();
  await endCall(trx, toEndingCall(request), { status: o.status, code: o.why });
  await appendAudit(trx, 'agent-core', [
    {
      kind: `approval.${o.status}`,
      outcome: o.status,
      correlationId: request.correlationId,
      environment: request.environment,
      robotCode: request.robotCode,
      conversationId: request.conversationId,
      actor: o.by,
      subjectId: request.id,
      digest: request.digest.toString('hex'),
      policyHash: request.policyHash,
      detail: { tool: request.tool, code: request.code, why: o.why, toolCallId: request.toolCallId },
      ...(o.text !== null && { personal: { reason: o.text } }),
    },
  ]);
  await wakeTurn(trx, request.turnId);
  await tellPlaces(trx, context, { ...request, status: o.status }, o);
}

/** A grant that no longer means what was approved, or a request whose tool changed: void, with the reason. */
export async function voidRequest(context: GateContext, call: CallRow, why: string): Promise<void> {
  const { requestId } = call;
  if (requestId === null) return;
  await transact(context, async (trx) => {
    const request = await lockUnused(trx, requestId);
    if (request === null || (request.status !== 'pending' && request.status !== 'approved')) return;
    await endRequest(trx, context, request, { status: 'void', why, text: null, by: null });
  });
}

/**
 * Nobody knows whether the call happened. The approvers are told, or, where nobody approved it, the approvals room; the room
 * where it was asked hears it as the turn's answer, and where the turn is over already, by a line of its own.
 */
export async function tellUnknown(trx: Trx<AgentTables>, context: GateContext, call: CallRow): Promise<void> {
  const { correlationId, id: toolCallId, tool } = call;
  context.log.error('tool.outcome.unknown', { correlationId, toolCallId, tool });
  context.metrics
    .counter('steward_tool_unknown_total', 'Calls of which nobody knows whether they happened', ['tool'])
    .inc({ tool });
  const request = call.requestId === null ? null : await lockRequest(trx, call.requestId);
  const ended = { by: null, why: outcomeUnknown, text: null };
  if (request !== null) await tellPlaces(trx, context, request, ended);
  await tellUnknownElsewhere(trx, context, call, { toApprovers: request === null });
}

/** A call of a request has run: its cards show how it came out. */
export async function tellRun(
  trx: Trx<AgentTables>,
  context: GateContext,
  call: CallRow,
  status: CallStatus,
): Promise<void> {
  if (call.requestId === null || (status !== 'done' && status !== 'failed')) return;
  const request = await lockRequest(trx, call.requestId);
  if (request !== null) await updateCards(trx, context, request, { by: null, why: status, text: null });
}

const toEndingCall = (request: RequestRow) => ({
  ...request,
  id: request.toolCallId,
});
