import type { Environment } from '@steward/contracts';
import type { Effect, JsonObject, Verdict } from '@steward/governance';
import type { Json, NullableTimestamp, Timestamp } from '@steward/postgres';
import type { Generated } from 'kysely';

export type CallStatus =
  | 'ready'
  | 'waiting'
  | 'running'
  | 'done'
  | 'failed'
  | 'unknown'
  | 'refused'
  | 'denied'
  | 'expired'
  | 'cancelled'
  | 'void';
export type RequestStatus = 'pending' | 'approved' | 'denied' | 'expired' | 'cancelled' | 'void' | 'used';
export type Proposer = 'person' | 'model' | 'skill';

export type ToolCallTable = {
  id: string;
  turn_id: string;
  step: number;
  position: number;
  model_call_id: string | null;
  proposed_by: Proposer;
  tool: string;
  effect: Effect | null;
  definition_hash: string | null;
  arguments: Json<JsonObject>;
  environment: Environment;
  robot_code: string;
  conversation_id: string;
  correlation_id: string;
  requester_staff_id: string | null;
  requester_corp_id: string | null;
  verdict: Verdict['verdict'];
  verdict_reason: string;
  policy_hash: string | null;
  policy_ids: Json<readonly string[]>;
  status: CallStatus;
  code: string | null;
  result: string | null;
  created_at: Timestamp;
  ended_at: NullableTimestamp;
};

export type ApprovalRequestTable = {
  id: string;
  tool_call_id: string;
  code: string;
  digest: Buffer;
  identity: Buffer;
  environment: Environment;
  robot_code: string;
  conversation_id: string;
  correlation_id: string;
  requester_staff_id: string;
  requester_corp_id: string;
  approver_groups: Json<readonly (readonly string[])[]>;
  quorum: number;
  deny_quorum: number;
  reason_required: boolean;
  self_approval: boolean;
  policy_hash: string;
  policy_ids: Json<readonly string[]>;
  card: Json<ApprovalCard>;
  preview: Json<JsonObject> | null;
  too_large: boolean;
  status: Generated<RequestStatus>;
  approve_by: Timestamp;
  run_within_seconds: number;
  run_by: NullableTimestamp;
  remind_at: NullableTimestamp;
  end_reason: string | null;
  created_at: Timestamp;
  decided_at: NullableTimestamp;
  ended_at: NullableTimestamp;
};

/** What approvers are shown, in plain values: rendering escapes them. */
export type ApprovalCard = {
  tool: string;
  description: string;
  effect: Effect;
  environment: Environment;
  room: string;
  requesterName: string;
  requesterStaffId: string;
  arguments: JsonObject;
  preview: JsonObject | null;
};

export type ApprovalVoteTable = {
  request_id: string;
  corp_id: string;
  staff_id: string;
  decision: 'approve' | 'deny';
  reason: string | null;
  roles: Json<readonly string[]>;
  door: 'http' | 'stream' | 'card' | 'cli';
  robot_code: string | null;
  conversation_id: string | null;
  conversation_kind: 'single' | 'group' | null;
  source_id: string | null;
  voted_at: Timestamp;
};

export type ApprovalPlaceTable = {
  request_id: string;
  robot_code: string;
  conversation_id: string;
  kind: 'room' | 'approvals_room' | 'single';
  out_track_id: string | null;
  last_outbound_id: string | null;
};

export type BreakGlassTable = {
  id: string;
  environment: Environment;
  robot_code: string;
  conversation_id: string;
  corp_id: string;
  staff_id: string;
  tool: string;
  reason: string;
  correlation_id: string;
  opened_at: Timestamp;
  until_at: Timestamp;
  reviewed_by_corp_id: string | null;
  reviewed_by_staff_id: string | null;
  review_note: string | null;
  reviewed_at: NullableTimestamp;
};

export type ToolGrantTable = {
  id: string;
  tool_call_id: string;
  approval_request_id: string | null;
  break_glass_id: string | null;
  digest: Buffer;
  run_by: Timestamp;
  max_attempts: number;
  granted_at: Timestamp;
  consumed_at: NullableTimestamp;
};

export type ToolAttemptTable = {
  id: string;
  tool_call_id: string;
  number: number;
  grant_id: string | null;
  turn_attempt: number;
  idempotency_key: string;
  outbound_message_id: string | null;
  opened_at: Timestamp;
  closed_at: NullableTimestamp;
  outcome: Generated<'unknown' | 'done' | 'failed'>;
  code: string | null;
  duration_ms: number | null;
};

export type ToolCallResolutionTable = {
  tool_call_id: string;
  decision: 'happened' | 'did_not';
  reason: string;
  decided_by: string;
  door: 'cli' | 'outbound';
  source_id: string;
  decided_at: Timestamp;
};

export type DirectoryPersonTable = {
  corp_id: string;
  staff_id: string;
  robot_code: string;
  state: 'unknown' | 'active' | 'absent' | 'left';
  role_ids: Json<readonly string[]>;
  department_ids: Json<readonly string[]>;
  looked_up_at: NullableTimestamp;
  asked_at: NullableTimestamp;
  lookup_id: string | null;
};

export type OperatorRequestTable = {
  id: string;
  verb: string;
  body: Json<JsonObject>;
  asked_by: string;
  asked_at: Timestamp;
  answered_at: NullableTimestamp;
  answer: Json<JsonObject> | null;
};

export type GovernanceTables = {
  active_policy: { only_one: Generated<boolean>; policy_hash: string; tools_hash: string; activated_at: Timestamp };
  freeze: {
    environment: Environment;
    frozen: boolean;
    changed_by: string | null;
    reason: string | null;
    changed_at: Timestamp;
  };
  tool_call: ToolCallTable;
  approval_request: ApprovalRequestTable;
  approval_vote: ApprovalVoteTable;
  approval_place: ApprovalPlaceTable;
  approval_shown: { request_id: string; corp_id: string; staff_id: string; shown_at: Timestamp };
  break_glass: BreakGlassTable;
  tool_grant: ToolGrantTable;
  tool_attempt: ToolAttemptTable;
  tool_call_resolution: ToolCallResolutionTable;
  tool_budget: { budget: string; next_free_at: Timestamp };
  directory_person: DirectoryPersonTable;
  operator_request: OperatorRequestTable;
  checkpoint_told: { day: string; block_number: number; told_at: Timestamp };
};
