import type { Environment, Lane, OutboundContent, OutboundTarget } from '@steward/contracts';
import type { InboxTables, Json, NullableTimestamp, OutboxTables, Timestamp } from '@steward/postgres';
import type { Generated } from 'kysely';

export type OutboundStatus = 'queued' | 'sending' | 'accepted' | 'merged' | 'failed' | 'discarded' | 'unknown';
export type DeliveryPath = 'session_webhook' | 'group_openapi' | 'person_openapi' | 'custom_robot';
export type AttemptOutcome = 'unknown' | 'accepted' | 'retryable' | 'permanent' | 'invalid' | 'session_gone';

export type OutboundMessageTable = {
  id: string;
  after_id: string | null;
  correlation_id: string;
  environment: Environment;
  lane: Lane;
  budget: string;
  target: Json<OutboundTarget>;
  content: Json<OutboundContent>;
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

export type SenderTables = OutboxTables &
  InboxTables & {
    outbound_message: OutboundMessageTable;
    delivery_attempt: DeliveryAttemptTable;
  };
