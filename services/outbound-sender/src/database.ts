import type { Environment, Lane, OutboundContentV2, OutboundTarget } from '@steward/contracts';
import type { InboxTables, Json, NullableTimestamp, OutboxTables, Timestamp } from '@steward/postgres';
import type { ColumnType, Generated } from 'kysely';

export type OutboundStatus = 'queued' | 'sending' | 'accepted' | 'merged' | 'failed' | 'discarded' | 'unknown';
/** Words by four ways; the other three are named after the only content they carry. */
export type DeliveryPath =
  'session_webhook' | 'group_openapi' | 'person_openapi' | 'custom_robot' | 'card' | 'card_update' | 'recall';
export type AttemptOutcome = 'unknown' | 'accepted' | 'retryable' | 'permanent' | 'invalid' | 'session_gone';

export type OutboundMessageTable = {
  id: string;
  after_id: string | null;
  correlation_id: string;
  environment: Environment;
  lane: Lane;
  budget: string;
  target: Json<OutboundTarget>;
  content: Json<OutboundContentV2>;
  parts: Json<string[]>;
  parts_accepted: Generated<number>;
  status: OutboundStatus;
  attempt_count: Generated<number>;
  unknown_count: Generated<number>;
  session_gone: Generated<boolean>;
  lease_until: NullableTimestamp;
  next_attempt_at: Timestamp;
  reason: string | null;
  recorded_at: Timestamp;
  ended_at: NullableTimestamp;
  reopened_at: NullableTimestamp;
};

export type OutboundResolutionTable = {
  outbound_message_id: string;
  number: number;
  was: OutboundStatus;
  decision: 'happened' | 'did_not' | 'discard';
  reason: string;
  decided_by: string;
  request_id: string;
  decided_at: Timestamp;
};

export type DeliveryAttemptTable = {
  id: string;
  outbound_message_id: string;
  number: number;
  part: number;
  path: DeliveryPath;
  outcome: Generated<AttemptOutcome>;
  code: string | null;
  process_query_key: string | null;
  started_at: Timestamp;
  ended_at: NullableTimestamp;
};

export type PersonLookupTable = {
  id: string;
  robot_code: string;
  staff_id: string;
  correlation_id: string;
  requested_by: string;
  recorded_at: Timestamp;
  lease_until: NullableTimestamp;
  result: 'found' | 'absent' | 'failed' | null;
  role_ids: ColumnType<string[], string | undefined, string>;
  department_ids: ColumnType<string[], string | undefined, string>;
  code: string | null;
  answered_at: NullableTimestamp;
};

export type SenderTables = OutboxTables &
  InboxTables & {
    outbound_message: OutboundMessageTable;
    outbound_resolution: OutboundResolutionTable;
    delivery_attempt: DeliveryAttemptTable;
    person_lookup: PersonLookupTable;
  };
