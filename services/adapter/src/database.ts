import type { NullableTimestamp, OutboxTables, Timestamp } from '@steward/postgres';

export type InboundEventTable = {
  id: string;
  kind: 'robot_message' | 'card_click' | 'platform_event';
  source: string;
  source_id: string | null;
  conversation_id: string | null;
  sequence: number | null;
  correlation_id: string;
  door: 'http' | 'stream';
  transport_id: string | null;
  first_seen_at: Timestamp;
  last_seen_at: Timestamp;
  duplicate_count: number;
  altered_count: number;
  settled_at: NullableTimestamp;
};

export type SecurityFindingTable = {
  kind: 'body_altered' | 'signature_reused';
  source: string;
  source_id: string;
  count: number;
};

export type AdapterTables = OutboxTables & { inbound_event: InboundEventTable; security_finding: SecurityFindingTable };
