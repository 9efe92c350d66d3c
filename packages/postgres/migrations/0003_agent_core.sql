-- Conversations, their turns and their transcript.
create schema agent_core;

create table agent_core.inbox (
  message_id uuid primary key,
  recorded_at timestamptz not null default now()
);

create table agent_core.outbox (
  id uuid primary key,
  type text not null,
  subject_id uuid not null,
  message jsonb not null,
  needs_receipt boolean not null,
  created_at timestamptz not null default now(),
  next_publish_at timestamptz not null default now(),
  publish_count integer not null default 0
);
create index outbox_due on agent_core.outbox (next_publish_at);
create index outbox_subject on agent_core.outbox (subject_id);

create table agent_core.conversation (
  robot_code text not null,
  conversation_id text not null,
  kind text not null check (kind in ('single', 'group')),
  recorded_through bigint not null default 0,
  gap_since timestamptz,
  gap_asked_at timestamptz,
  last_claimed_at timestamptz not null default '-infinity',
  refused_sequence bigint,
  primary key (robot_code, conversation_id)
);
create index conversation_with_gap on agent_core.conversation (gap_since) where gap_since is not null;
comment on column agent_core.conversation.recorded_through is 'Every number up to here is recorded; nothing later is claimed.';
comment on column agent_core.conversation.gap_since is 'Since when a later number waits for an earlier one that has not come.';
comment on column agent_core.conversation.refused_sequence is 'The turn that carried the one polite refusal of an unknown room.';

create table agent_core.turn (
  id uuid primary key,
  inbound_event_id uuid not null unique,
  robot_code text not null,
  conversation_id text not null,
  sequence bigint not null,
  lane text not null check (lane in ('control', 'approval', 'answer', 'bulk')),
  status text not null check (status in ('queued', 'running', 'waiting', 'done', 'failed')),
  attempt integer not null default 0,
  lease_until timestamptz,
  next_attempt_at timestamptz not null default now(),
  correlation_id uuid not null,
  inbound jsonb not null,
  outcome text,
  created_at timestamptz not null default now(),
  ended_at timestamptz,
  unique (robot_code, conversation_id, sequence),
  foreign key (robot_code, conversation_id) references agent_core.conversation,
  check ((status = 'running') = (lease_until is not null))
);
-- Promise P4 in one line: a lane of a conversation works on one turn at a time, whatever the number of replicas.
create unique index turn_one_running on agent_core.turn (robot_code, conversation_id, lane) where status = 'running';
-- A claim looks at the first turn of each lane here, by one probe for each lane with open work.
create index turn_open on agent_core.turn (robot_code, conversation_id, lane, sequence) where status in ('queued', 'running');

-- What the model said, committed before anything is done about it: a resumed turn does not ask again.
create table agent_core.step (
  turn_id uuid not null references agent_core.turn,
  number integer not null check (number > 0),
  reply jsonb not null,
  recorded_at timestamptz not null default now(),
  primary key (turn_id, number)
);

create table agent_core.transcript (
  turn_id uuid not null references agent_core.turn,
  speaker text not null check (speaker in ('person', 'robot')),
  robot_code text not null,
  conversation_id text not null,
  sequence bigint not null,
  name text not null,
  text text not null,
  recorded_at timestamptz not null default now(),
  primary key (turn_id, speaker)
);
create index transcript_conversation on agent_core.transcript (robot_code, conversation_id, sequence desc);

-- The last outbound message of a conversation's lane: the next one names it, so that answers leave in order.
create table agent_core.outbound_tail (
  robot_code text not null,
  conversation_id text not null,
  lane text not null,
  outbound_message_id uuid not null,
  primary key (robot_code, conversation_id, lane)
);

create table agent_core.card_click (
  inbound_event_id uuid primary key,
  out_track_id text not null,
  staff_id text not null,
  corp_id text,
  correlation_id uuid not null,
  click jsonb not null,
  recorded_at timestamptz not null default now()
);

grant usage on schema agent_core to steward_agent_core;
grant select, insert, update, delete on agent_core.outbox to steward_agent_core;
grant select, insert on agent_core.inbox, agent_core.step, agent_core.transcript, agent_core.card_click to steward_agent_core;
grant select, insert, update on agent_core.conversation, agent_core.turn, agent_core.outbound_tail to steward_agent_core;
