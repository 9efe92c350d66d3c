import { sql } from 'kysely';
import { newId } from '@steward/service-kit';
import { appendAudit, type Trx } from '@steward/postgres';
import { decideRequest, mayVote } from '@steward/governance';
import type { AgentTables } from '../database.ts';
import { actorOf, type GateContext } from '../gate/gate-context.ts';
import { maxAttempts } from '../gate/open-tool-attempt.ts';
import { transact } from '../gate/transact.ts';
import { wakeTurn } from '../wake-turn.ts';
import type { RefusalReason } from './approval-texts.ts';
import { endRequest } from './end-request.ts';
import { loadVotes, lockRequest, type RequestRow, type Vote } from './load-request.ts';
import { tellPlaces } from './tell-places.ts';

/** A decision as it came in. `place` is where it was made; null for a signed one of the command line. */
export type Decision = {
  decision: 'approve' | 'deny';
  reason: string | null;
  /** `staffId` null: nobody vouches for who this is. */
  decider: { corpId: string; staffId: string | null; roles: readonly string[] };
  door: 'http' | 'stream' | 'card' | 'cli';
  place: { robotCode: string; conversationId: string; kind: 'single' | 'group' } | null;
  /** The inbound event or operator request: the same one twice is the same decision. */
  sourceId: string;
  correlationId: string;
  /** What the button or the signature was made for; must be the request's own. */
  digestHex?: string;
};

export type DecisionOutcome =
  | { kind: 'refused'; reason: RefusalReason; request: RequestRow }
  | { kind: 'closed'; request: RequestRow; by: Vote | null }
  | { kind: 'voted'; request: RequestRow; have: number }
  | { kind: 'approved' | 'denied'; request: RequestRow }
  | { kind: 'not_found' };

/**
 * Records one person's decision on a request, and settles the request when it is enough: vote, state, grant, audit entry and
 * what the rooms are told in one transaction under the request's lock. Whatever does not count is refused, audited, and
 * changes nothing. The same source again gets the same outcome.
 */
export async function recordDecision(
  context: GateContext,
  requestId: string,
  decision: Decision,
): Promise<DecisionOutcome> {
  const outcome = await transact(context, (trx) => decide(trx, context, requestId, decision));
  context.metrics
    .counter('steward_approval_decision_total', 'Decisions by what came of them', ['decision', 'outcome'])
    .inc({ decision: decision.decision, outcome: outcome.kind === 'refused' ? outcome.reason : outcome.kind });
  context.onTold();
  return outcome;
}

async function decide(
  trx: Trx<AgentTables>,
  context: GateContext,
  requestId: string,
  decision: Decision,
): Promise<DecisionOutcome> {
  const request = await lockRequest(trx, requestId);
  if (request === null) return { kind: 'not_found' };
  const { votes } = await loadVotes(trx, requestId);
  const earlier = votes.find(({ sourceId }) => sourceId === decision.sourceId);
  if (earlier !== undefined) return repeatOutcome(request, votes);
  const refusal = await findRefusal(trx, request, votes, decision);
  if (refusal !== null) await auditRefusal(trx, request, decision, refusal);
  if (refusal === 'vote_on_closed_request') return { kind: 'closed', request, by: lastVote(votes) };
  if (refusal === 'vote_after_expiry')
    await endRequest(trx, context, request, { status: 'expired', why: 'approve_by', text: null, by: null });
  if (refusal !== null) return { kind: 'refused', reason: refusal, request };
  return recordVote(trx, context, request, decision);
}

function repeatOutcome(request: RequestRow, votes: readonly Vote[]): DecisionOutcome {
  if (request.status === 'pending') return { kind: 'voted', request, have: countApprovals(votes) };
  if (request.status === 'approved' || request.status === 'used') return { kind: 'approved', request };
  return request.status === 'denied' ? { kind: 'denied', request } : { kind: 'closed', request, by: lastVote(votes) };
}

const lastVote = (votes: readonly Vote[]): Vote | null => votes.at(-1) ?? null;
const countApprovals = (votes: readonly Vote[]) => votes.filter((vote) => vote.decision === 'approve').length;

/** Why this decision does not count; the database refuses the same (triggers of 0006). */
async function findRefusal(
  trx: Trx<AgentTables>,
  request: RequestRow,
  votes: readonly Vote[],
  o: Decision,
): Promise<RefusalReason | null> {
  const { decider, place } = o;
  const { obligations, requester } = await loadVotes(trx, request.id);
  if (o.digestHex !== undefined && o.digestHex !== request.digest.toString('hex')) return 'digest';
  if (place !== null && decider.staffId !== null && !(await isValidPlace(trx, request, place))) return 'wrong_place';
  const isInTime = request.approveBy.getTime() > (await databaseNowMs(trx));
  return mayVote({
    ...{ obligations, requester, voter: decider, decision: o.decision, reason: o.reason, door: o.door },
    request: { isPending: request.status === 'pending', isInTime, tooLarge: request.tooLarge },
    hasVoted: votes.some(({ corpId, staffId }) => corpId === decider.corpId && staffId === decider.staffId),
    wasShown: decider.staffId !== null && (await wasShown(trx, request, { ...decider, staffId: decider.staffId })),
  });
}

/** Where it was shown, or the decider's own single chat with the same robot (note A5). */
async function isValidPlace(
  trx: Trx<AgentTables>,
  request: RequestRow,
  place: NonNullable<Decision['place']>,
): Promise<boolean> {
  if (place.kind === 'single' && place.robotCode === request.robotCode) return true;
  const row = await trx
    .selectFrom('approval_place')
    .select('kind')
    .where('request_id', '=', request.id)
    .where('robot_code', '=', place.robotCode)
    .where('conversation_id', '=', place.conversationId)
    .executeTakeFirst();
  return row !== undefined;
}

async function wasShown(
  trx: Trx<AgentTables>,
  request: RequestRow,
  person: { corpId: string; staffId: string },
): Promise<boolean> {
  const row = await trx
    .selectFrom('approval_shown')
    .select('shown_at')
    .where('request_id', '=', request.id)
    .where('corp_id', '=', person.corpId)
    .where('staff_id', '=', person.staffId)
    .executeTakeFirst();
  return row !== undefined;
}

async function databaseNowMs(trx: Trx<AgentTables>): Promise<number> {
  const { rows } = await sql<{
    ms: number;
  }>`select (extract(epoch from clock_timestamp()) * 1000)::float8 as ms`.execute(trx);
  return rows[0]?.ms ?? Infinity;
}

async function recordVote(
  trx: Trx<AgentTables>,
  context: GateContext,
  request: RequestRow,
  o: Decision,
): Promise<DecisionOutcome> {
  const { corpId, staffId, roles } = o.decider;
  if (staffId === null) return { kind: 'refused', reason: 'vote_of_unknown_person', request };
  await trx
    .insertInto('approval_vote')
    .values({
      request_id: request.id,
      corp_id: corpId,
      staff_id: staffId,
      decision: o.decision,
      reason: o.reason,
      roles: JSON.stringify(roles),
      door: o.door,
      robot_code: o.place?.robotCode ?? null,
      conversation_id: o.place?.conversationId ?? null,
      conversation_kind: o.place?.kind ?? null,
      source_id: o.sourceId,
    })
    .execute();
  await auditVote(trx, request, o, staffId);
  const by = { corpId, staffId };
  const { votes, obligations, requester } = await loadVotes(trx, request.id);
  switch (decideRequest({ obligations, votes, requester })) {
    case 'approved':
      await approve(trx, context, request, o);
      return { kind: 'approved', request: { ...request, status: 'approved' } };
    case 'denied':
      await endRequest(trx, context, request, {
        status: 'denied',
        why: 'denied',
        text: o.reason,
        by,
        saidIn: o.place?.conversationId,
      });
      return { kind: 'denied', request: { ...request, status: 'denied' } };
    case 'pending':
      await tellPlaces(trx, context, request, { by, why: 'voted', text: null });
      return { kind: 'voted', request, have: countApprovals(votes) };
  }
}

/** Enough people said yes: the request is approved, the grant exists, and the waiting turn goes on. */
async function approve(trx: Trx<AgentTables>, context: GateContext, request: RequestRow, o: Decision): Promise<void> {
  const attempts = context.tools.get(request.tool)?.definition.repeatable ? maxAttempts : 1;
  await trx
    .updateTable('approval_request')
    .set({
      status: 'approved',
      decided_at: sql<Date>`now()`,
      run_by: sql<Date>`now() + run_within_seconds * interval '1 s'`,
      remind_at: null,
    })
    .where('id', '=', request.id)
    .execute();
  await sql`
    insert into agent_core.tool_grant (id, tool_call_id, approval_request_id, digest, run_by, max_attempts)
    select ${newId()}::uuid, r.tool_call_id, r.id, r.digest, r.run_by, ${attempts}::int
    from agent_core.approval_request r where r.id = ${request.id}`.execute(trx);
  const by = o.decider.staffId === null ? null : { corpId: o.decider.corpId, staffId: o.decider.staffId };
  await appendAudit(trx, 'agent-core', [
    {
      kind: 'approval.approved',
      outcome: 'approved',
      correlationId: request.correlationId,
      environment: request.environment,
      robotCode: request.robotCode,
      conversationId: request.conversationId,
      actor: actorOf(o.decider),
      door: o.door,
      subjectId: request.id,
      digest: request.digest.toString('hex'),
      policyHash: request.policyHash,
      detail: { tool: request.tool, code: request.code, toolCallId: request.toolCallId, maxAttempts: attempts },
    },
  ]);
  await wakeTurn(trx, request.turnId);
  const approved: RequestRow = { ...request, status: 'approved' };
  await tellPlaces(trx, context, approved, {
    by,
    why: 'approved',
    text: o.reason,
    saidIn: o.place?.conversationId,
  });
}

const toDecisionEntry = (request: RequestRow, o: Decision) => ({
  // The decision has a correlation id of its own; both stories must show it.
  correlationId: request.correlationId,
  environment: request.environment,
  robotCode: o.place?.robotCode ?? request.robotCode,
  conversationId: o.place?.conversationId ?? request.conversationId,
  actor: actorOf(o.decider),
  door: o.door,
  subjectId: request.id,
  digest: request.digest.toString('hex'),
  policyHash: request.policyHash,
});

async function auditVote(trx: Trx<AgentTables>, request: RequestRow, o: Decision, staffId: string): Promise<void> {
  await appendAudit(trx, 'agent-core', [
    {
      ...toDecisionEntry(request, o),
      kind: 'approval.voted',
      outcome: o.decision,
      detail: {
        code: request.code,
        tool: request.tool,
        sourceId: o.sourceId,
        decisionCorrelationId: o.correlationId,
        // An exception that the policy names is an exception on record.
        selfApproval: staffId === request.requesterStaffId,
      },
      personal: { reason: o.reason },
    },
  ]);
}

async function auditRefusal(trx: Trx<AgentTables>, request: RequestRow, o: Decision, why: string): Promise<void> {
  await appendAudit(trx, 'agent-core', [
    {
      ...toDecisionEntry(request, o),
      kind: 'approval.refused',
      outcome: why,
      detail: {
        code: request.code,
        tool: request.tool,
        decision: o.decision,
        status: request.status,
        sourceId: o.sourceId,
        decisionCorrelationId: o.correlationId,
      },
    },
  ]);
}
