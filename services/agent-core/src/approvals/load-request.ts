import { sql } from 'kysely';
import type { Environment } from '@steward/contracts';
import type { JsonObject, Obligations } from '@steward/governance';
import type { DbOrTrx, Trx } from '@steward/postgres';
import type { AgentTables } from '../database.ts';
import type { ApprovalCard, RequestStatus } from '../governance-tables.ts';

/** An approval request as the rows have it, with the turn that waits for it. */
export type RequestRow = {
  id: string;
  toolCallId: string;
  turnId: string;
  code: string;
  digest: Buffer;
  environment: Environment;
  robotCode: string;
  conversationId: string;
  correlationId: string;
  requesterStaffId: string;
  requesterCorpId: string;
  tool: string;
  effect: 'read' | 'write' | 'destructive';
  approverGroups: readonly (readonly string[])[];
  quorum: number;
  denyQuorum: number;
  reasonRequired: boolean;
  selfApproval: boolean;
  policyHash: string;
  card: ApprovalCard;
  preview: JsonObject | null;
  tooLarge: boolean;
  status: RequestStatus;
  approveBy: Date;
  runWithinSeconds: number;
  decidedAt: Date | null;
  endReason: string | null;
};

const columns = sql`r.id, r.tool_call_id as "toolCallId", c.turn_id as "turnId", r.code, r.digest, r.environment,
  r.robot_code as "robotCode", r.conversation_id as "conversationId", r.correlation_id as "correlationId",
  r.requester_staff_id as "requesterStaffId", r.requester_corp_id as "requesterCorpId", c.tool, c.effect,
  r.approver_groups as "approverGroups", r.quorum, r.deny_quorum as "denyQuorum", r.reason_required as "reasonRequired",
  r.self_approval as "selfApproval", r.policy_hash as "policyHash", r.card, r.preview, r.too_large as "tooLarge", r.status,
  r.approve_by as "approveBy", r.run_within_seconds as "runWithinSeconds", r.decided_at as "decidedAt",
  r.end_reason as "endReason"`;
const from = sql`from agent_core.approval_request r join agent_core.tool_call c on c.id = r.tool_call_id`;

/** The newest request of that code in this environment and organisation, open or not; codes rest for 30 days before they return. */
export async function findRequest(
  db: DbOrTrx<AgentTables>,
  o: { code: string; environment: Environment; corpId: string },
): Promise<RequestRow | null> {
  const { rows } = await sql<RequestRow>`
    select ${columns} ${from}
    where r.code = ${o.code} and r.environment = ${o.environment} and r.requester_corp_id = ${o.corpId}
    order by r.created_at desc limit 1`.execute(db);
  return toRow(rows[0]);
}

/** The request under its lock: whoever decides comes one after the other. */
export async function lockRequest(trx: Trx<AgentTables>, id: string): Promise<RequestRow | null> {
  const { rows } = await sql<RequestRow>`select ${columns} ${from} where r.id = ${id} for update of r`.execute(trx);
  return toRow(rows[0]);
}

/**
 * Locks what an ending of a request needs, in the order in which an attempt does: the grant first. Null when the grant
 * was consumed: the call has begun, and nothing ends it any more.
 */
export async function lockUnused(trx: Trx<AgentTables>, id: string): Promise<RequestRow | null> {
  const grant = await trx
    .selectFrom('tool_grant')
    .select('consumed_at')
    .where('approval_request_id', '=', id)
    .forUpdate()
    .executeTakeFirst();
  return grant?.consumed_at ? null : lockRequest(trx, id);
}

/** The open requests of a place, oldest first; of an approvals room, all of its environment. */
export async function listOpen(
  db: DbOrTrx<AgentTables>,
  o: { robotCode: string; conversationId: string },
): Promise<RequestRow[]> {
  const { rows } = await sql<RequestRow>`
    select ${columns} ${from}
    join agent_core.approval_place p on p.request_id = r.id
    where r.status in ('pending', 'approved') and p.robot_code = ${o.robotCode} and p.conversation_id = ${o.conversationId}
    order by r.created_at limit 50`.execute(db);
  return rows.flatMap((row) => toRow(row) ?? []);
}

export type Vote = {
  corpId: string;
  staffId: string;
  decision: 'approve' | 'deny';
  roles: readonly string[];
  reason: string | null;
  sourceId: string | null;
  votedAt: Date;
};

/** The votes on a request with what they must fulfil, in the order in which they came. */
export async function loadVotes(
  db: DbOrTrx<AgentTables>,
  requestId: string,
): Promise<{
  votes: Vote[];
  obligations: Obligations;
  requester: { corpId: string; staffId: string };
  decidedAfterSeconds: number;
  sinceDecisionSeconds: number;
}> {
  const request = await db
    .selectFrom('approval_request')
    .selectAll()
    .select(sql<number>`coalesce(extract(epoch from decided_at - created_at), 0)::float8`.as('decided_after'))
    .select(sql<number>`coalesce(extract(epoch from now() - decided_at), 0)::float8`.as('since_decision'))
    .where('id', '=', requestId)
    .executeTakeFirstOrThrow();
  const rows = await db
    .selectFrom('approval_vote as v')
    .leftJoin('directory_person as d', (join) =>
      join.onRef('d.corp_id', '=', 'v.corp_id').onRef('d.staff_id', '=', 'v.staff_id').on('d.state', '=', 'left'),
    )
    .selectAll('v')
    .where('v.request_id', '=', requestId)
    // Whoever left the organisation has not approved anything that is still open.
    .where((eb) => eb.or([eb('v.decision', '=', 'deny'), eb('d.state', 'is', null)]))
    .orderBy('v.voted_at')
    .execute();
  return {
    requester: { corpId: request.requester_corp_id, staffId: request.requester_staff_id },
    decidedAfterSeconds: request.decided_after,
    sinceDecisionSeconds: request.since_decision,
    obligations: {
      approverGroups: request.approver_groups,
      quorum: request.quorum,
      denyQuorum: request.deny_quorum,
      approveWithinSeconds: Math.round((request.approve_by.getTime() - request.created_at.getTime()) / 1_000),
      runWithinSeconds: request.run_within_seconds,
      reasonRequired: request.reason_required,
      selfApproval: request.self_approval,
    },
    votes: rows.map((row) => ({
      corpId: row.corp_id,
      staffId: row.staff_id,
      decision: row.decision,
      roles: row.roles,
      reason: row.reason,
      sourceId: row.source_id,
      votedAt: row.voted_at,
    })),
  };
}

/** Embedded mode hands bytes over as a plain array of bytes. */
const toRow = (row: RequestRow | undefined): RequestRow | null =>
  row === undefined ? null : { ...row, digest: Buffer.from(row.digest) };
