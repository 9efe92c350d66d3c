import { sql } from 'kysely';
import type { Environment } from '@steward/contracts';
import type { Effect, JsonObject } from '@steward/governance';
import type { DbOrTrx } from '@steward/postgres';
import type { AgentTables } from '../database.ts';
import type { CallStatus, Proposer, RequestStatus } from '../governance-tables.ts';

/** A call as the rows have it: its verdict, its approval, its grant and its newest attempt. */
export type CallRow = {
  id: string;
  turnId: string;
  step: number;
  position: number;
  modelCallId: string | null;
  proposedBy: Proposer;
  tool: string;
  effect: Effect | null;
  definitionHash: string | null;
  arguments: JsonObject;
  environment: Environment;
  robotCode: string;
  conversationId: string;
  correlationId: string;
  requesterStaffId: string | null;
  requesterCorpId: string | null;
  verdict: 'allow' | 'ask' | 'deny';
  verdictReason: string;
  policyHash: string | null;
  status: CallStatus;
  code: string | null;
  result: string | null;
  requestId: string | null;
  requestCode: string | null;
  requestStatus: RequestStatus | null;
  preview: JsonObject | null;
  runByMs: number | null;
  grantId: string | null;
  breakGlassId: string | null;
  digest: Buffer | null;
  attemptCount: number;
  /** Some earlier attempt ended unknown: the change may have happened. */
  hasUnknown: boolean;
  attempt: { id: string; turnAttempt: number; isOpen: boolean; outboundMessageId: string | null } | null;
};

/** The calls of a turn, of one step or of all, in their order. */
export async function loadCalls(db: DbOrTrx<AgentTables>, o: { turnId: string; step?: number }): Promise<CallRow[]> {
  const { rows } = await sql<CallRow>`
    select c.id, c.turn_id as "turnId", c.step, c.position, c.model_call_id as "modelCallId", c.proposed_by as "proposedBy",
      c.tool, c.effect, c.definition_hash as "definitionHash", c.arguments, c.environment, c.robot_code as "robotCode",
      c.conversation_id as "conversationId", c.correlation_id as "correlationId",
      c.requester_staff_id as "requesterStaffId", c.requester_corp_id as "requesterCorpId", c.verdict,
      c.verdict_reason as "verdictReason", c.policy_hash as "policyHash", c.status, c.code, c.result,
      r.id as "requestId", r.code as "requestCode", r.status as "requestStatus", r.preview,
      (extract(epoch from r.run_by) * 1000)::float8 as "runByMs",
      g.id as "grantId", g.break_glass_id as "breakGlassId", coalesce(g.digest, r.digest) as digest,
      coalesce(a.number, 0) as "attemptCount",
      exists (select from agent_core.tool_attempt u
        where u.tool_call_id = c.id and u.outcome = 'unknown' and u.closed_at is not null) as "hasUnknown",
      case when a.id is not null then jsonb_build_object('id', a.id, 'turnAttempt', a.turn_attempt,
        'isOpen', a.closed_at is null, 'outboundMessageId', a.outbound_message_id) end as attempt
    from agent_core.tool_call c
    left join agent_core.approval_request r on r.tool_call_id = c.id
    left join agent_core.tool_grant g on g.tool_call_id = c.id
    left join lateral (
      select * from agent_core.tool_attempt t where t.tool_call_id = c.id order by t.number desc limit 1) a on true
    where c.turn_id = ${o.turnId} and (${o.step ?? null}::int is null or c.step = ${o.step ?? null}::int)
    order by c.step, c.position`.execute(db);
  // Embedded mode hands bytes over as a plain array of bytes.
  return rows.map((row) => ({ ...row, digest: row.digest && Buffer.from(row.digest) }));
}
