-- What lasts in the ledger and the inboxes, and for how long; what was refused because it may be an attack.

/*
 * What a person who looks after this should look at. A body that came under a known id and says something else is kept here,
 * unread by anything; a signature that proved several messages is noted. Nobody waits for it, and nothing follows from it.
 */
create table adapter.security_finding (
  id uuid primary key default gen_random_uuid(),
  kind text not null check (kind in ('body_altered', 'signature_reused')),
  event_kind text,
  source text not null,
  source_id text not null,
  body_hash bytea,
  expected_hash bytea,
  inbound_event_id uuid,
  conversation_id text,
  staff_id text,
  corp_id text,
  correlation_id uuid,
  door text,
  refused jsonb,
  count integer not null default 1 check (count > 0),
  first_seen_at timestamptz not null default now(),
  last_seen_at timestamptz not null default now(),
  -- However often the same body comes again, it is one finding.
  unique (kind, source, source_id, event_kind, body_hash),
  check ((kind = 'body_altered') = (body_hash is not null and expected_hash is not null))
);
create index security_finding_seen on adapter.security_finding (last_seen_at);
comment on column adapter.security_finding.source_id is 'The msgId or eventId that was used again, or the one that came under a used signature.';
comment on column adapter.security_finding.refused is 'The body as it would have been told, its reply address under seal; null where only its hash is known.';
comment on column adapter.security_finding.staff_id is 'Who the refused body said it was.';
grant select, insert, update on adapter.security_finding to steward_adapter;

/*
 * As in 0002_adapter.sql, and a body that differs from the one in the ledger is quarantined: at most 20 for one id, the rest is
 * counted with the event. An event that is ignored for a reason is audited as such.
 */
create or replace function adapter.record_inbound(batch jsonb)
returns table (given_id uuid, inbound_event_id uuid, duplicate boolean, altered integer)
language plpgsql set search_path = adapter, pg_temp
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
#variable_conflict use_column
begin
  insert into conversation_counter (robot_code, conversation_id)
  select distinct r.source, r.conversation_id
  from jsonb_to_recordset(batch) as r (source text, conversation_id text)
  where r.conversation_id is not null
  order by 1, 2
  on conflict do nothing;

  perform 1
  from conversation_counter c
  where (c.robot_code, c.conversation_id) in (
    select r.source, r.conversation_id from jsonb_to_recordset(batch) as r (source text, conversation_id text))
  order by c.robot_code, c.conversation_id
  for update;

  -- Platform events have no counter to wait at. Two batches that hold the same ones in another order would wait for
  -- each other, so they come one after the other.
  if batch @> '[{"kind": "platform_event"}]' then
    perform pg_advisory_xact_lock(hashtext('adapter.record_inbound'));
  end if;

  return query
  with incoming as (
    select r.*, e.id as known_id, decode(r.body_hash_hex, 'hex') as body_hash,
      coalesce(e.body_hash, decode(r.body_hash_hex, 'hex')) as expected_hash,
      (select count(*)::integer from jsonb_array_elements_text(r.repeat_hashes || to_jsonb(r.body_hash_hex)) as h (hex)
       where decode(hex, 'hex') <> coalesce(e.body_hash, decode(r.body_hash_hex, 'hex'))) as altered
    from jsonb_to_recordset(batch) as r (
      id uuid, position integer, kind text, source text, source_id text, conversation_id text, correlation_id uuid,
      door text, transport_id text, body_hash_hex text, repeat_hashes jsonb, message jsonb, audit_id uuid, environment text,
      staff_id text, corp_id text, ignored text)
    left join inbound_event e on e.kind = r.kind and e.source = r.source and e.source_id = r.source_id
  ), fresh as (
    select i.*, case when i.conversation_id is not null then
      c.last_sequence + row_number() over (partition by i.source, i.conversation_id order by i.position) end as sequence
    from incoming i
    left join conversation_counter c on c.robot_code = i.source and c.conversation_id = i.conversation_id
    where i.known_id is null
  ), ledger as (
    insert into inbound_event
      (id, kind, source, source_id, conversation_id, sequence, correlation_id, door, transport_id, body_hash,
       duplicate_count, altered_count, settled_at)
    select id, kind, source, source_id, conversation_id, sequence, correlation_id, door, transport_id, body_hash,
       jsonb_array_length(repeat_hashes), altered,
       case when message is null then now() end
    from fresh
  ), numbered as (
    update conversation_counter c set last_sequence = n.highest
    from (select source, conversation_id, max(sequence) as highest from fresh
          where conversation_id is not null group by 1, 2) n
    where c.robot_code = n.source and c.conversation_id = n.conversation_id
  ), told as (
    insert into outbox (id, type, subject_id, message, needs_receipt)
    select (message ->> 'id')::uuid, message ->> 'type', id,
      case when sequence is null then message else jsonb_set(message, '{body,sequence}', to_jsonb(sequence)) end, true
    from fresh where message is not null
  ), audited as (
    insert into audit.entry
      (id, service, kind, outcome, correlation_id, environment, robot_code, conversation_id, actor_staff_id,
       actor_corp_id, subject_id, detail)
    select audit_id, 'adapter', case when ignored is null then 'inbound.recorded' else 'inbound.ignored' end,
      coalesce(ignored, 'accepted'), correlation_id, environment, source, conversation_id,
      staff_id, corp_id, id::text,
      jsonb_build_object('kind', kind, 'sourceId', source_id, 'sequence', sequence, 'door', door)
    from fresh
    union all
    select gen_random_uuid(), 'adapter', 'inbound.altered', 'ignored', correlation_id, environment, source,
      conversation_id, staff_id, corp_id, coalesce(known_id, id)::text,
      jsonb_build_object('kind', kind, 'sourceId', source_id, 'count', altered, 'door', door)
    from incoming where altered > 0
  ), quarantined as (
    insert into security_finding
      (kind, event_kind, source, source_id, body_hash, expected_hash, inbound_event_id, conversation_id, staff_id, corp_id,
       correlation_id, door, refused, count)
    select 'body_altered', i.kind, i.source, i.source_id, decode(h.hex, 'hex'), i.expected_hash, coalesce(i.known_id, i.id),
      i.conversation_id, i.staff_id, i.corp_id, i.correlation_id, i.door,
      case when h.hex = i.body_hash_hex then i.message -> 'body' end, h.times
    from incoming i
    cross join lateral (
      select hex, count(*)::integer as times
      from jsonb_array_elements_text(i.repeat_hashes || to_jsonb(i.body_hash_hex)) as x (hex)
      where decode(hex, 'hex') <> i.expected_hash
      group by hex order by hex limit 20) h
    where i.altered > 0 and 20 > (
      select count(*) from security_finding f
      where f.kind = 'body_altered' and f.source = i.source and f.source_id = i.source_id)
    on conflict (kind, source, source_id, event_kind, body_hash) do update set
      count = security_finding.count + excluded.count, last_seen_at = now()
  ), repeated as (
    update inbound_event e set
      duplicate_count = e.duplicate_count + 1 + jsonb_array_length(i.repeat_hashes),
      altered_count = e.altered_count + i.altered,
      last_seen_at = now()
    from incoming i where e.id = i.known_id
  )
  select i.id, coalesce(i.known_id, i.id), i.known_id is not null, i.altered from incoming i;
end $$;

/* --- retention: by functions that know the age themselves, so that no service can delete what is younger --- */

-- Ids are UUIDs of version 7: they begin with the millisecond of their birth, so the oldest rows are the first of the primary key.
create function adapter.first_id_of(at timestamptz) returns uuid language sql immutable as $$
  select (lpad(to_hex(floor(extract(epoch from at) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
$$;

/*
 * Takes settled events out of the ledger that were last seen more than 30 days ago, a batch at a time, the oldest first, and
 * returns how many. Rows that somebody holds are left for later: nobody waits.
 */
create function adapter.retire_events(batch integer) returns integer
language plpgsql security definer set search_path = adapter, pg_temp set enable_seqscan = off as $$
declare
  retired integer;
begin
  delete from inbound_event where id = any (array(
    select id from inbound_event
    where id < first_id_of(now() - interval '30 days') and last_seen_at < now() - interval '30 days' and settled_at is not null
    order by id limit least(batch, 5000)
    for update skip locked));
  get diagnostics retired = row_count;
  return retired;
end $$;
comment on function adapter.retire_events(integer) is 'The ledger keeps 30 days.';

-- Findings are few; half a year is time to look at them.
create function adapter.retire_findings(batch integer) returns integer
language plpgsql security definer set search_path = adapter, pg_temp as $$
declare
  retired integer;
begin
  delete from security_finding where id = any (array(
    select id from security_finding where last_seen_at < now() - interval '180 days'
    order by last_seen_at limit least(batch, 5000)
    for update skip locked));
  get diagnostics retired = row_count;
  return retired;
end $$;

-- An inbox outlasts the ledger whose events it refuses to record twice.
create function agent_core.retire_inbox(batch integer) returns integer
language plpgsql security definer set search_path = agent_core, pg_temp set enable_seqscan = off as $$
declare
  retired integer;
begin
  delete from inbox where message_id = any (array(
    select message_id from inbox
    where message_id < (lpad(to_hex(floor(extract(epoch from now() - interval '40 days') * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
      and recorded_at < now() - interval '40 days'
    order by message_id limit least(batch, 5000)
    for update skip locked));
  get diagnostics retired = row_count;
  return retired;
end $$;
comment on function agent_core.retire_inbox(integer) is 'The inbox keeps 40 days.';

create function outbound_sender.retire_inbox(batch integer) returns integer
language plpgsql security definer set search_path = outbound_sender, pg_temp set enable_seqscan = off as $$
declare
  retired integer;
begin
  delete from inbox where message_id = any (array(
    select message_id from inbox
    where message_id < (lpad(to_hex(floor(extract(epoch from now() - interval '40 days') * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
      and recorded_at < now() - interval '40 days'
    order by message_id limit least(batch, 5000)
    for update skip locked));
  get diagnostics retired = row_count;
  return retired;
end $$;
comment on function outbound_sender.retire_inbox(integer) is 'The inbox keeps 40 days.';

revoke execute on function adapter.first_id_of(timestamptz), adapter.retire_events(integer), adapter.retire_findings(integer),
  agent_core.retire_inbox(integer), outbound_sender.retire_inbox(integer) from public;
grant execute on function adapter.retire_events(integer), adapter.retire_findings(integer) to steward_adapter;
grant execute on function agent_core.retire_inbox(integer) to steward_agent_core;
grant execute on function outbound_sender.retire_inbox(integer) to steward_outbound_sender;
