-- The delivery ledger: every message that was asked for, every attempt that was made, how each ended.
create schema outbound_sender;

create table outbound_sender.inbox (
  message_id uuid primary key,
  recorded_at timestamptz not null default now()
);

create table outbound_sender.outbox (
  id uuid primary key,
  type text not null,
  subject_id uuid not null,
  message jsonb not null,
  needs_receipt boolean not null,
  created_at timestamptz not null default now(),
  next_publish_at timestamptz not null default now(),
  publish_count integer not null default 0
);
create index outbox_due on outbound_sender.outbox (next_publish_at);
create index outbox_subject on outbound_sender.outbox (subject_id);

create table outbound_sender.outbound_message (
  id uuid primary key,
  after_id uuid,
  correlation_id uuid not null,
  environment text not null check (environment in ('test', 'production')),
  lane text not null check (lane in ('control', 'approval', 'answer', 'bulk')),
  budget text not null,
  target jsonb not null,
  content jsonb not null,
  parts jsonb not null,
  parts_accepted integer not null default 0,
  status text not null check (status in ('queued', 'sending', 'accepted', 'merged', 'failed', 'discarded', 'unknown')),
  attempt_count integer not null default 0,
  unknown_count integer not null default 0,
  session_gone boolean not null default false,
  lease_until timestamptz,
  next_attempt_at timestamptz not null default now(),
  reason text,
  recorded_at timestamptz not null default now(),
  ended_at timestamptz,
  check ((status = 'sending') = (lease_until is not null)),
  check ((status in ('queued', 'sending')) = (ended_at is null))
);
-- The next one of a budget and lane; a spent budget costs one look, however much waits behind it.
create index outbound_message_queued on outbound_sender.outbound_message (budget, lane, recorded_at) where status = 'queued';
create index outbound_message_leased on outbound_sender.outbound_message (lease_until) where status = 'sending';
comment on column outbound_sender.outbound_message.after_id is 'Waits until that message has ended, so that answers of a conversation keep their order.';
comment on column outbound_sender.outbound_message.budget is 'Whose send budget it spends: a robot''s or a custom robot''s.';
comment on column outbound_sender.outbound_message.parts is 'The text as it will be sent, split by bytes; fixed when recorded.';
comment on column outbound_sender.outbound_message.unknown_count is 'Attempts at the part in hand whose outcome nobody knows: the process died or the answer never came.';
comment on column outbound_sender.outbound_message.reason is 'Why it ended as it did; while it waits to be sent again: what the last attempt came to.';
comment on column outbound_sender.outbound_message.session_gone is 'The reply address was refused; the OpenAPI is used instead.';

-- Written before the network is touched, so that a crash leaves evidence: an attempt without ended_at is unknown.
create table outbound_sender.delivery_attempt (
  id uuid primary key,
  outbound_message_id uuid not null references outbound_sender.outbound_message,
  number integer not null check (number > 0),
  part integer not null,
  path text not null check (path in ('session_webhook', 'group_openapi', 'person_openapi', 'custom_robot')),
  outcome text not null default 'unknown'
    check (outcome in ('unknown', 'accepted', 'retryable', 'permanent', 'invalid', 'session_gone')),
  code text,
  process_query_key text,
  started_at timestamptz not null default now(),
  ended_at timestamptz,
  unique (outbound_message_id, number)
);

-- One row for each budget, shared by all replicas: the generic cell rate algorithm on the database's clock.
create table outbound_sender.send_budget (
  budget text primary key,
  spacing interval not null,
  next_free_at timestamptz not null
);

grant usage on schema outbound_sender to steward_outbound_sender;
grant select, insert, update, delete on outbound_sender.outbox to steward_outbound_sender;
grant select, insert on outbound_sender.inbox to steward_outbound_sender;
grant select, insert, update on outbound_sender.outbound_message, outbound_sender.delivery_attempt, outbound_sender.send_budget
  to steward_outbound_sender;
