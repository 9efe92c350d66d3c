import type { BusMessage } from '@steward/contracts';
import type { ColumnType, Generated } from 'kysely';

/** A JSON column: written as text (so that arrays are not mistaken for Postgres arrays), read as a parsed value. */
export type Json<T> = ColumnType<T, string, string>;
export type Timestamp = ColumnType<Date, Date | string | undefined, Date | string>;
type NullableTimestamp = ColumnType<Date | null, Date | string | null | undefined, Date | string | null>;
export type { NullableTimestamp };

export type OutboxTable = {
  id: string;
  type: string;
  subject_id: string;
  message: Json<BusMessage>;
  needs_receipt: boolean;
  created_at: Timestamp;
  next_publish_at: Timestamp;
  publish_count: Generated<number>;
};

export type InboxTable = { message_id: string; recorded_at: Timestamp };

export type AuditEntryTable = {
  id: string;
  /** The database gives these three; no service may. */
  occurred_at: ColumnType<Date, never, never>;
  transaction_id: ColumnType<number, never, never>;
  epoch: ColumnType<number, never, never>;
  service: string;
  kind: string;
  outcome: string;
  correlation_id: string | null;
  environment: string | null;
  robot_code: string | null;
  conversation_id: string | null;
  actor_staff_id: string | null;
  actor_corp_id: string | null;
  actor_role: string | null;
  door: string | null;
  subject_id: string | null;
  digest: Buffer | null;
  policy_hash: string | null;
  model: string | null;
  prompt_hash: string | null;
  detail: Json<Record<string, unknown>>;
  detail_hash: Buffer | null;
};

export type DeadLetterTable = {
  id: string;
  queue: string;
  body_hash: Buffer;
  body: Buffer;
  bytes: number;
  type: string | null;
  message_id: string | null;
  correlation_id: string | null;
  code: string;
  state: Generated<'open' | 'redriven' | 'discarded'>;
  died_count: Generated<number>;
  first_died_at: Timestamp;
  last_died_at: Timestamp;
  decisions: Generated<number>;
  decided_by: string | null;
  decided_reason: string | null;
  decided_at: NullableTimestamp;
};

/** Of every service that consumes from the bus: what died in its queues. */
export type DeadLetterTables = { dead_letter: DeadLetterTable };

/** What every service's database has: its own outbox (found in the schema it works in) and the shared audit log. */
export type OutboxTables = { outbox: OutboxTable; 'audit.entry': AuditEntryTable };
export type InboxTables = { inbox: InboxTable };
