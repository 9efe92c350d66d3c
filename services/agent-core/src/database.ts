import type { InboundReceived, Lane } from '@steward/contracts';
import type { InboxTables, Json, NullableTimestamp, OutboxTables, Timestamp } from '@steward/postgres';
import type { Generated } from 'kysely';
import type { ModelStep } from './ask-model.ts';
import type { GovernanceTables } from './governance-tables.ts';

export type TurnStatus = 'queued' | 'running' | 'waiting' | 'done' | 'failed';

export type ConversationTable = {
  robot_code: string;
  conversation_id: string;
  kind: 'single' | 'group';
  recorded_through: Generated<number>;
  gap_since: NullableTimestamp;
  gap_asked_at: NullableTimestamp;
  last_claimed_at: Timestamp;
  refused_sequence: number | null;
  full_told_at: NullableTimestamp;
  failures: Generated<number>;
  cool_until: NullableTimestamp;
  error_code: string | null;
  error_told_at: NullableTimestamp;
  errors_untold: Generated<number>;
};

export type TurnTable = {
  id: string;
  inbound_event_id: string;
  robot_code: string;
  conversation_id: string;
  sequence: number;
  lane: Lane;
  status: TurnStatus;
  attempt: Generated<number>;
  resumed_at_attempt: Generated<number>;
  lease_until: NullableTimestamp;
  next_attempt_at: Timestamp;
  correlation_id: string;
  inbound: Json<InboundReceived['body']>;
  outcome: string | null;
  created_at: Timestamp;
  ended_at: NullableTimestamp;
};

export type StepTable = { turn_id: string; number: number; reply: Json<ModelStep>; recorded_at: Timestamp };

export type TranscriptTable = {
  turn_id: string;
  speaker: 'person' | 'robot';
  robot_code: string;
  conversation_id: string;
  sequence: number;
  name: string;
  text: string;
  recorded_at: Timestamp;
};

export type AgentTables = OutboxTables &
  InboxTables &
  GovernanceTables & {
    conversation: ConversationTable;
    turn: TurnTable;
    step: StepTable;
    transcript: TranscriptTable;
    outbound_tail: { robot_code: string; conversation_id: string; lane: Lane; outbound_message_id: string };
    card_click: {
      inbound_event_id: string;
      out_track_id: string;
      staff_id: string;
      corp_id: string | null;
      correlation_id: string;
      click: Json<unknown>;
      recorded_at: Timestamp;
    };
  };
