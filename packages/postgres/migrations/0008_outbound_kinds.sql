-- More that can be asked of outbound-sender: cards, their updates, recalls, and who somebody is. The version before runs on this.

alter table outbound_sender.delivery_attempt
  drop constraint delivery_attempt_path_check,
  add constraint delivery_attempt_path_check check (path in
    ('session_webhook', 'group_openapi', 'person_openapi', 'custom_robot', 'card', 'card_update', 'recall'));
comment on column outbound_sender.delivery_attempt.process_query_key is
  'The platform''s handle of what was sent, for 24 hours: what a recall names. A reply address gives none.';

/*
 * An attempt goes by a path that can carry its content. The version before knows only words: beside a newer replica it would
 * send a card as an empty text, and now it cannot open that attempt; the newer replica can.
 */
create function outbound_sender.check_attempt_path() returns trigger
language plpgsql set search_path = outbound_sender, pg_temp as $$
declare
  kind text;
begin
  select m.content ->> 'kind' into kind from outbound_message m where m.id = new.outbound_message_id;
  if (case when kind in ('card', 'card_update', 'recall') then new.path <> kind
     else new.path in ('card', 'card_update', 'recall') end) then
    raise exception 'outbound message % of kind % cannot go by the path %', new.outbound_message_id, kind, new.path
      using errcode = 'check_violation';
  end if;
  return new;
end $$;
create trigger attempt_path_fits before insert on outbound_sender.delivery_attempt
  for each row execute function outbound_sender.check_attempt_path();

-- Who somebody is, as agent-core asked: recorded at once, answered by a loop of its own, kept for a day to be told again.
create table outbound_sender.person_lookup (
  id uuid primary key,
  robot_code text not null,
  staff_id text not null,
  correlation_id uuid not null,
  requested_by uuid not null,
  recorded_at timestamptz not null default now(),
  lease_until timestamptz,
  result text check (result in ('found', 'absent', 'failed')),
  role_ids jsonb not null default '[]',
  department_ids jsonb not null default '[]',
  code text,
  answered_at timestamptz,
  check ((result is null) = (answered_at is null)),
  -- Nothing follows from an answer that failed.
  check (result is not distinct from 'found' or (role_ids = '[]' and department_ids = '[]'))
);
create index person_lookup_open on outbound_sender.person_lookup (recorded_at) where answered_at is null;
create index person_lookup_answered on outbound_sender.person_lookup (answered_at) where answered_at is not null;
comment on column outbound_sender.person_lookup.id is 'The lookupId of the request.';
comment on column outbound_sender.person_lookup.requested_by is 'The bus message that asked: the cause of the answer.';
comment on column outbound_sender.person_lookup.lease_until is 'A process is asking the platform; after this another one may.';
comment on column outbound_sender.person_lookup.code is 'Why it failed, in the platform''s or our code.';
grant select, insert, update, delete on outbound_sender.person_lookup to steward_outbound_sender;
