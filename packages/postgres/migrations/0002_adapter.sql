-- The adapter's ledger: every inbound event that was acknowledged, once.
create schema adapter;

-- The last number given in each conversation. Its row lock is what makes the numbers gapless (ADR 0003).
create table adapter.conversation_counter (
  robot_code text not null,
  conversation_id text not null,
  last_sequence bigint not null default 0,
  primary key (robot_code, conversation_id)
);

create table adapter.inbound_event (
  id uuid primary key,
  kind text not null check (kind in ('robot_message', 'card_click', 'platform_event')),
  source text not null,
  source_id text,
  conversation_id text,
  sequence bigint check (sequence > 0),
  correlation_id uuid not null,
  door text not null check (door in ('http', 'stream')),
  transport_id text,
  body_hash bytea not null,
  first_seen_at timestamptz not null default now(),
  last_seen_at timestamptz not null default now(),
  duplicate_count integer not null default 0,
  altered_count integer not null default 0,
  settled_at timestamptz,
  -- One event, one row, however often and through whichever door it comes. Clicks have no id of their own
  -- (source_id is null), so each push is a row and their single effect is kept elsewhere.
  -- The telling column comes first: a robot has millions of rows, and no plan may take "all of this robot" for a lookup.
  unique (source_id, source, kind),
  unique (conversation_id, source, sequence),
  check ((conversation_id is null) = (sequence is null)),
  check ((kind = 'card_click') = (source_id is null))
);

comment on column adapter.inbound_event.source is 'The robotCode a message came to, or the app of a platform event or click.';
comment on column adapter.inbound_event.source_id is 'msgId or eventId: stable over redelivery.';
comment on column adapter.inbound_event.transport_id is 'The Stream frame id of the first delivery; redeliveries have another.';
comment on column adapter.inbound_event.body_hash is 'SHA-256 over msgtype, content (as read and as sent), sender, conversation and createAt.';
comment on column adapter.inbound_event.duplicate_count is 'Further deliveries of the same event, all answered and all without effect.';
comment on column adapter.inbound_event.altered_count is 'Further deliveries with the same id and another body: a security finding.';
comment on column adapter.inbound_event.settled_at is 'When agent-core told that it holds this event.';

create table adapter.outbox (
  id uuid primary key,
  type text not null,
  subject_id uuid not null,
  message jsonb not null,
  needs_receipt boolean not null,
  created_at timestamptz not null default now(),
  next_publish_at timestamptz not null default now(),
  publish_count integer not null default 0
);
create index outbox_due on adapter.outbox (next_publish_at);
create index outbox_subject on adapter.outbox (subject_id);

/*
 * Records a batch of inbound events: numbers, ledger rows, outbox rows, audit entries, all or nothing, in one round trip.
 * Returns one row for each event, in no order: duplicate = it was in the ledger already, and nothing else happened;
 * altered = how many of its deliveries in this batch had another body than the ledger has.
 *
 * It is a function because its steps need a fresh snapshot each: the counters are locked first, and only a statement that
 * starts after the lock sees what the previous holder of the lock recorded. A race that the locks do not cover (the same
 * id under two conversations, or an event without one) ends in unique_violation; the caller runs the batch again.
 * A session plans these statements once, often while the tables are still empty, and then whole tables would be read for
 * each batch until the next ANALYZE (measured: four times the CPU at 30,000 rows). So only index lookups are allowed.
 * Keys must be unique within the batch (the caller collapses repeats and gives the body hash of each).
 */
create function adapter.record_inbound(batch jsonb)
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
      (select count(*)::integer from jsonb_array_elements_text(r.repeat_hashes || to_jsonb(r.body_hash_hex)) as h (hex)
       where decode(hex, 'hex') <> coalesce(e.body_hash, decode(r.body_hash_hex, 'hex'))) as altered
    from jsonb_to_recordset(batch) as r (
      id uuid, position integer, kind text, source text, source_id text, conversation_id text, correlation_id uuid,
      door text, transport_id text, body_hash_hex text, repeat_hashes jsonb, message jsonb, audit_id uuid, environment text,
      staff_id text, corp_id text)
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
    select audit_id, 'adapter', 'inbound.recorded', 'accepted', correlation_id, environment, source, conversation_id,
      staff_id, corp_id, id::text,
      jsonb_build_object('kind', kind, 'sourceId', source_id, 'sequence', sequence, 'door', door)
    from fresh
    union all
    select gen_random_uuid(), 'adapter', 'inbound.altered', 'ignored', correlation_id, environment, source,
      conversation_id, staff_id, corp_id, coalesce(known_id, id)::text,
      jsonb_build_object('kind', kind, 'sourceId', source_id, 'count', altered, 'door', door)
    from incoming where altered > 0
  ), repeated as (
    update inbound_event e set
      duplicate_count = e.duplicate_count + 1 + jsonb_array_length(i.repeat_hashes),
      altered_count = e.altered_count + i.altered,
      last_seen_at = now()
    from incoming i where e.id = i.known_id
  )
  select i.id, coalesce(i.known_id, i.id), i.known_id is not null, i.altered from incoming i;
end $$;

grant usage on schema adapter to steward_adapter;
grant select, insert, update on adapter.inbound_event, adapter.conversation_counter to steward_adapter;
grant select, insert, update, delete on adapter.outbox to steward_adapter;
revoke execute on function adapter.record_inbound(jsonb) from public;
grant execute on function adapter.record_inbound(jsonb) to steward_adapter;
