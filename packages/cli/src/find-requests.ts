import { AppError } from '@steward/service-kit';
import type { Environment } from '@steward/contracts';
import type { Effect, JsonObject } from '@steward/governance';
import type { Query } from '@steward/postgres';

/** An approval request with its call, as the rows have it. Times are UTC text, the digest is hex. */
export type ApprovalRequest = {
  id: string;
  code: string;
  status: string;
  digest: string;
  environment: Environment;
  robotCode: string;
  conversationId: string;
  requesterStaffId: string;
  requesterCorpId: string;
  approverGroups: readonly (readonly string[])[];
  quorum: number;
  denyQuorum: number;
  reasonRequired: boolean;
  selfApproval: boolean;
  policyHash: string;
  policyIds: readonly string[];
  card: { tool: string; description: string; room: string; requesterName: string; arguments: JsonObject };
  preview: JsonObject | null;
  approveBy: string;
  runWithinSeconds: number;
  runBy: string | null;
  endReason: string | null;
  createdAt: string;
  decidedAt: string | null;
  endedAt: string | null;
  correlationId: string;
  tool: string;
  effect: Effect;
  definitionHash: string;
  arguments: JsonObject;
  callStatus: string;
  callCode: string | null;
  votes: readonly ApprovalVote[];
};

export type ApprovalVote = {
  staffId: string;
  decision: 'approve' | 'deny';
  reason: string | null;
  roles: readonly string[];
  door: string;
  votedAt: string;
};

const columns = `r.id::text as "id", r.code as "code", r.status as "status", encode(r.digest, 'hex') as "digest",
  r.environment as "environment", r.robot_code as "robotCode", r.conversation_id as "conversationId",
  r.requester_staff_id as "requesterStaffId", r.requester_corp_id as "requesterCorpId", r.approver_groups as "approverGroups",
  r.quorum as "quorum", r.deny_quorum as "denyQuorum", r.reason_required as "reasonRequired",
  r.self_approval as "selfApproval", r.policy_hash as "policyHash", r.policy_ids as "policyIds", r.card as "card",
  r.preview as "preview", r.approve_by as "approveBy", r.run_within_seconds as "runWithinSeconds", r.run_by as "runBy",
  r.end_reason as "endReason", r.created_at as "createdAt", r.decided_at as "decidedAt", r.ended_at as "endedAt",
  r.correlation_id::text as "correlationId", c.tool as "tool", c.effect as "effect", c.definition_hash as "definitionHash",
  c.arguments as "arguments", c.status as "callStatus", c.code as "callCode",
  (select coalesce(jsonb_agg(jsonb_build_object('staffId', v.staff_id, 'decision', v.decision, 'reason', v.reason,
     'roles', v.roles, 'door', v.door, 'votedAt', v.voted_at) order by v.voted_at), '[]')
   from agent_core.approval_vote v where v.request_id = r.id) as "votes"`;
const from = 'from agent_core.approval_request r join agent_core.tool_call c on c.id = r.tool_call_id';
const listed = 200;

/** The open requests, oldest first; with `days` also those of the last days that have ended. At most 200. */
export function listRequests(query: Query, o: { environment?: string; days?: number }): Promise<ApprovalRequest[]> {
  return query<ApprovalRequest>(
    `select ${columns} ${from}
     where ($1::text is null or r.environment = $1)
       and (r.status in ('pending', 'approved') or r.created_at > now() - $2::integer * interval '1 day')
     order by r.created_at limit ${listed}`,
    [o.environment ?? null, o.days ?? 0],
  );
}

/**
 * The newest request of a code. Rejects with APPROVAL_UNKNOWN, or APPROVAL_AMBIGUOUS when several environments or organisations
 * have one of that code and none was named.
 */
export async function findRequest(
  query: Query,
  o: { code: string; environment?: string; corp?: string },
): Promise<ApprovalRequest> {
  const found = await query<ApprovalRequest>(
    `select distinct on (r.environment, r.requester_corp_id) ${columns} ${from}
     where r.code = $1 and ($2::text is null or r.environment = $2) and ($3::text is null or r.requester_corp_id = $3)
     order by r.environment, r.requester_corp_id, r.created_at desc limit 10`,
    [o.code.trim().toUpperCase(), o.environment ?? null, o.corp ?? null],
  );
  const open = found.filter(({ status }) => status === 'pending' || status === 'approved');
  const [first, second] = open.length > 0 ? open : found;
  if (first === undefined) {
    throw refuse(
      'APPROVAL_UNKNOWN',
      'there is no request of this code here; `steward approvals list` shows the open ones',
    );
  }
  if (second === undefined) return first;
  const text =
    'several environments or organisations have a request of this code; name one with --environment or --corp';
  throw refuse('APPROVAL_AMBIGUOUS', text);
}

const refuse = (code: string, text: string) => new AppError(code, text, { retryable: false });
