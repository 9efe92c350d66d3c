-- The audit log: what was decided and done, by whom. Services add to it and can do nothing else with it.
create schema audit;

create table audit.entry (
  id uuid primary key,
  occurred_at timestamptz not null default clock_timestamp(),
  service text not null,
  kind text not null,
  outcome text not null,
  correlation_id uuid,
  environment text check (environment in ('test', 'production')),
  robot_code text,
  conversation_id text,
  actor_staff_id text,
  actor_corp_id text,
  subject_id text,
  detail jsonb not null default '{}'
);
create index entry_correlation on audit.entry (correlation_id);
create index entry_occurred_at on audit.entry using brin (occurred_at);

comment on table audit.entry is 'One decision or fact. Rows are only ever added: triggers refuse everything else.';
comment on column audit.entry.id is 'Made by the service that writes, because a role that may only INSERT cannot read an id back.';
comment on column audit.entry.kind is 'What happened, noun.past-participle: inbound.recorded, turn.ended, send.attempted …';
comment on column audit.entry.outcome is 'How it came out, in one word: accepted, refused, failed …';
comment on column audit.entry.correlation_id is 'The same for everything that one inbound event caused.';
comment on column audit.entry.subject_id is 'What it was about: an inbound event, a turn, an outbound message, a robot.';
comment on column audit.entry.detail is 'Further facts, redacted before they get here.';

create function audit.refuse_change() returns trigger language plpgsql as $$
begin
  raise exception 'audit.entry is append-only: % refused', tg_op using errcode = 'insufficient_privilege';
end $$;

create trigger entry_refuses_row_changes before update or delete on audit.entry
  for each row execute function audit.refuse_change();
create trigger entry_refuses_truncate before truncate on audit.entry
  for each statement execute function audit.refuse_change();
-- ALWAYS: also when a session pretends to be a replica (session_replication_role).
alter table audit.entry enable always trigger entry_refuses_row_changes;
alter table audit.entry enable always trigger entry_refuses_truncate;

/*
 * An entry says when it was written and by which service: the clock is the database's, and a service may sign only with its
 * own name. Everybody else who may write here (the owner, a superuser, embedded mode) could change this trigger anyway.
 */
create function audit.sign_entry() returns trigger language plpgsql as $$
begin
  new.occurred_at := clock_timestamp();
  if new.service is distinct from (case current_user
    when 'steward_adapter' then 'adapter'
    when 'steward_agent_core' then 'agent-core'
    when 'steward_outbound_sender' then 'outbound-sender'
    else new.service end) then
    raise exception 'audit.entry: % cannot sign as %', current_user, new.service using errcode = 'insufficient_privilege';
  end if;
  return new;
end $$;

create trigger entry_is_signed before insert on audit.entry for each row execute function audit.sign_entry();
alter table audit.entry enable always trigger entry_is_signed;

grant usage on schema audit to steward_adapter, steward_agent_core, steward_outbound_sender;
grant insert on audit.entry to steward_adapter, steward_agent_core, steward_outbound_sender;

-- Services read which migrations ran, to refuse to start on a database that is behind them.
grant usage on schema migration to steward_adapter, steward_agent_core, steward_outbound_sender;
grant select on migration.kysely_migration to steward_adapter, steward_agent_core, steward_outbound_sender;
