/*
 * The audit log becomes a chain. Entries are kept in monthly partitions; a sealer closes them into signed blocks; what is
 * personal rests beside them, so that it can be erased without breaking the chain. The version before keeps writing as it did.
 */

/* --- entries: more columns, monthly partitions, no column for a service to lie in --- */

drop trigger entry_refuses_row_changes on audit.entry;
drop trigger entry_refuses_truncate on audit.entry;
drop trigger entry_is_signed on audit.entry;

alter table audit.entry rename to entry_history;
-- Constant defaults rewrite nothing: rows from before this migration keep their bytes and get transaction 0, which sorts
-- before every real one, so the first block holds them.
alter table audit.entry_history
  drop constraint entry_pkey,
  add column transaction_id bigint not null default 0,
  add column epoch integer not null default 1,
  add column actor_role text,
  add column door text,
  add column digest bytea check (length(digest) = 32),
  add column policy_hash text,
  add column model text,
  add column prompt_hash text,
  add column detail_hash bytea check (length(detail_hash) = 32);
alter table audit.entry_history
  alter column transaction_id set default (pg_current_xact_id()::text::bigint),
  add primary key (occurred_at, id);
drop index audit.entry_correlation;
drop index audit.entry_occurred_at;

create table audit.entry (
  like audit.entry_history including defaults including constraints including comments,
  primary key (occurred_at, id)
) partition by range (occurred_at);
create index entry_correlation on audit.entry (correlation_id);
create index entry_sealing on audit.entry (transaction_id, id);
create index entry_occurred_at on audit.entry using brin (occurred_at);

comment on table audit.entry is 'One decision or fact. Rows are only ever added: triggers refuse everything else.';
comment on column audit.entry.occurred_at is 'When it was written, by the database''s clock: services cannot give it.';
comment on column audit.entry.service is 'Which service wrote it; a service signs with its own name only.';
comment on column audit.entry.environment is 'test or production, where there is one.';
comment on column audit.entry.robot_code is 'The robot through which it came or goes.';
comment on column audit.entry.conversation_id is 'The room or single chat.';
comment on column audit.entry.actor_staff_id is 'Who did it, as DingTalk knows them.';
comment on column audit.entry.actor_corp_id is 'The organisation of that person.';
comment on column audit.entry.transaction_id is 'The transaction that wrote it: the order of sealing. 0: from before there was a chain.';
comment on column audit.entry.epoch is 'Transaction numbers mean something only within one epoch; a restore begins a new one.';
comment on column audit.entry.actor_role is 'The role in which that person acted.';
comment on column audit.entry.door is 'How it came in: http, stream, card, cli.';
comment on column audit.entry.digest is 'The digest of the approval request or grant it is about.';
comment on column audit.entry.policy_hash is 'The content hash of the policy set that judged.';
comment on column audit.entry.model is 'The model that proposed it, where one did.';
comment on column audit.entry.prompt_hash is 'The content hash of the prompt that this model was given.';
comment on column audit.entry.detail_hash is 'SHA-256 of salt and body of audit.detail: what was personal about it.';

-- Which month lies where. The default partition is not in here: nothing should be in it.
create table audit.partition (
  name text primary key,
  from_at timestamptz not null,
  to_at timestamptz not null unique,
  created_at timestamptz not null default now(),
  check (from_at < to_at)
);
comment on table audit.partition is 'The partitions of audit.entry, retired ones included. Added to, never changed.';

create or replace function audit.refuse_change() returns trigger language plpgsql as $$
begin
  raise exception 'audit.% is append-only: % refused', tg_table_name, tg_op using errcode = 'insufficient_privilege';
end $$;

/*
 * A service may sign only with its own name. Everybody else who may write here (the owner, a superuser, embedded mode)
 * could change this trigger anyway. It must not touch occurred_at: a row cannot move to another partition any more. That
 * and the other columns which the database fills are kept from services by grants.
 */
create or replace function audit.sign_entry() returns trigger language plpgsql as $$
begin
  if new.service is distinct from (case current_user
    when 'steward_adapter' then 'adapter'
    when 'steward_agent_core' then 'agent-core'
    when 'steward_outbound_sender' then 'outbound-sender'
    when 'steward_sealer' then 'audit-sealer'
    else new.service end) then
    raise exception 'audit.entry: % cannot sign as %', current_user, new.service using errcode = 'insufficient_privilege';
  end if;
  return new;
end $$;

create trigger entry_refuses_row_changes before update or delete on audit.entry
  for each row execute function audit.refuse_change();
create trigger entry_refuses_truncate before truncate on audit.entry
  for each statement execute function audit.refuse_change();
create trigger entry_is_signed before insert on audit.entry for each row execute function audit.sign_entry();
alter table audit.entry enable always trigger entry_refuses_row_changes;
alter table audit.entry enable always trigger entry_refuses_truncate;
alter table audit.entry enable always trigger entry_is_signed;

-- Row triggers come with the attaching, though not in every version with their ALWAYS; TRUNCATE of a partition asks only that
-- partition's own trigger.
create function audit.guard_partition(name text) returns void language plpgsql set search_path = audit, pg_temp as $$
begin
  execute format('create trigger entry_refuses_truncate before truncate on audit.%I for each statement '
    'execute function audit.refuse_change()', name);
  execute format('alter table audit.%I enable always trigger entry_refuses_truncate', name);
  execute format('alter table audit.%I enable always trigger entry_refuses_row_changes', name);
  execute format('alter table audit.%I enable always trigger entry_is_signed', name);
end $$;

do $$
declare
  next_month constant timestamptz := (date_trunc('month', now() at time zone 'UTC') + interval '1 month') at time zone 'UTC';
begin
  execute format('alter table audit.entry attach partition audit.entry_history for values from (minvalue) to (%L)', next_month);
  insert into audit.partition (name, from_at, to_at) values ('entry_history', '-infinity', next_month);
  create table audit.entry_default partition of audit.entry default;
  perform audit.guard_partition('entry_history');
  perform audit.guard_partition('entry_default');
end $$;

/*
 * Makes the partitions of the month of `at` and of the three after it; returns those it could not make because the default
 * partition holds rows of that month already. A partition is filled beside the log and then attached, because only that
 * leaves writers undisturbed.
 */
create function audit.ensure_partitions(at timestamptz default now()) returns setof text
language plpgsql security definer set search_path = audit, pg_temp set timezone = 'UTC' set lock_timeout = '5s' as $$
declare
  month_start timestamptz;
  month_end timestamptz;
  partition_name text;
begin
  -- Two at once would make the same one. Only the owner can take this lock, so nobody else can stand in the way.
  lock table audit.partition in share row exclusive mode;
  for ahead in 0..3 loop
    month_start := date_trunc('month', at) + ahead * interval '1 month';
    month_end := month_start + interval '1 month';
    partition_name := 'entry_' || to_char(month_start, 'YYYY_MM');
    continue when exists (select from audit.partition p where p.from_at < month_end and p.to_at > month_start);
    if exists (select from audit.entry_default d where d.occurred_at >= month_start and d.occurred_at < month_end) then
      return next partition_name;
      continue;
    end if;
    execute format('create table audit.%I (like audit.entry including defaults including constraints)', partition_name);
    execute format('alter table audit.entry attach partition audit.%I for values from (%L) to (%L)',
      partition_name, month_start, month_end);
    perform audit.guard_partition(partition_name);
    insert into audit.partition (name, from_at, to_at) values (partition_name, month_start, month_end);
  end loop;
end $$;

select audit.ensure_partitions();

/* --- details: personal text beside the chain --- */

create table audit.detail (
  entry_id uuid primary key,
  transaction_id bigint not null default (pg_current_xact_id()::text::bigint),
  salt bytea not null check (length(salt) between 16 and 64),
  body jsonb,
  erased_at timestamptz,
  erased_by text,
  erase_reason text,
  check ((body is null) = (erased_at is not null)),
  check ((erased_at is null) = (erased_by is null) and (erased_at is null) = (erase_reason is null))
);
comment on table audit.detail is 'Personal text of an entry: arguments, reasons, card text, names. It can be erased; the entry keeps only its hash.';
comment on column audit.detail.transaction_id is 'The transaction of the entry, which is written together with it.';
comment on column audit.detail.salt is 'Random, so that nobody finds an erased text by trying hashes.';

-- Only erasing, once; and removal together with a retired partition.
create function audit.check_detail() returns trigger language plpgsql as $$
begin
  if tg_op = 'DELETE' then
    if exists (select from audit.entry e where e.transaction_id = old.transaction_id and e.id = old.entry_id) then
      raise exception 'audit.detail is append-only: DELETE refused' using errcode = 'insufficient_privilege';
    end if;
    return old;
  end if;
  if old.erased_at is not null or new.erased_at is null or new.body is not null
    or (new.entry_id, new.transaction_id, new.salt) <> (old.entry_id, old.transaction_id, old.salt) then
    raise exception 'audit.detail is append-only: UPDATE refused' using errcode = 'insufficient_privilege';
  end if;
  return new;
end $$;
create trigger detail_is_kept before update or delete on audit.detail for each row execute function audit.check_detail();
create trigger detail_refuses_truncate before truncate on audit.detail
  for each statement execute function audit.refuse_change();
alter table audit.detail enable always trigger detail_is_kept;
alter table audit.detail enable always trigger detail_refuses_truncate;

-- Erases the personal text of one entry for good. The erasing is an entry itself, and verifying says who did it.
create function audit.erase_detail(entry_id uuid, by text, reason text) returns void
language plpgsql security definer set search_path = audit, pg_temp as $$
declare
  origin audit.entry;
  written_in bigint;
begin
  if coalesce(btrim(by), '') = '' or coalesce(btrim(reason), '') = '' then
    raise exception 'erasing needs who and why' using errcode = 'check_violation';
  end if;
  update audit.detail d set body = null, erased_at = clock_timestamp(), erased_by = by, erase_reason = reason
  where d.entry_id = erase_detail.entry_id and d.erased_at is null
  returning d.transaction_id into written_in;
  if written_in is null then
    raise exception 'entry % has no detail that could be erased', entry_id using errcode = 'no_data_found';
  end if;
  select * into origin from audit.entry e where e.transaction_id = written_in and e.id = erase_detail.entry_id;
  insert into audit.entry (id, service, kind, outcome, correlation_id, environment, robot_code, conversation_id, subject_id, detail)
  values (gen_random_uuid(), 'operator', 'detail.erased', 'erased', origin.correlation_id, origin.environment, origin.robot_code,
    origin.conversation_id, entry_id::text, jsonb_build_object('by', by, 'reason', reason));
end $$;

/* --- policies: what was in force, word for word --- */

create table audit.policy_text (
  policy_hash text primary key,
  source text not null check (octet_length(source) <= 1048576),
  recorded_at timestamptz not null default clock_timestamp(),
  check (policy_hash = encode(sha256(convert_to(source, 'UTF8')), 'hex'))
);
comment on table audit.policy_text is 'Every policy set that was ever in force, once. Entries name it by its hash.';
comment on column audit.policy_text.source is 'Canonical JSON of its files, of the schema and of what was judged of each tool: its SHA-256 is the hash.';

-- Keeps a policy set's text. A second time changes nothing; a text that does not hash to its name, or is over 1 MiB, is refused.
create function audit.record_policy(policy_hash text, source text) returns void
language sql security definer set search_path = audit, pg_temp as $$
  insert into audit.policy_text (policy_hash, source) values ($1, $2) on conflict do nothing
$$;

/* --- blocks: the chain --- */

create table audit.epoch (
  number integer primary key check (number > 0),
  system_identifier text not null,
  reason text not null,
  began_at timestamptz not null default clock_timestamp()
);
comment on table audit.epoch is 'One cluster, one epoch: a database restored elsewhere counts its transactions anew.';
comment on column audit.epoch.system_identifier is 'Of the cluster, as pg_control_system() says it. The sealer refuses to work on another one.';
insert into audit.epoch (number, system_identifier, reason)
select 1, system_identifier::text, 'the chain begins' from pg_control_system();

create table audit.block (
  number bigint primary key check (number > 0),
  epoch integer not null references audit.epoch,
  kind text not null check (kind in ('block', 'restore')),
  previous_hash bytea not null unique check (length(previous_hash) = 32),
  from_transaction bigint not null check (from_transaction >= 0),
  to_transaction bigint not null,
  entry_count bigint not null check (entry_count >= 0),
  root bytea not null check (length(root) = 32),
  sealed_at timestamptz not null,
  key_id text not null,
  hash bytea not null unique check (length(hash) = 32),
  signature bytea not null check (length(signature) = 64),
  check (from_transaction <= to_transaction)
);
comment on table audit.block is 'A sealed run of entries: all of an epoch whose transactions are in the range, in the order of (transaction, id, time).';
comment on column audit.block.kind is 'block: the usual; restore: closes whatever an epoch had left when the next one began.';
comment on column audit.block.previous_hash is 'The hash of the block before; 32 zero bytes for the first.';
comment on column audit.block.to_transaction is 'The first transaction that is not in it.';
comment on column audit.block.root is 'The Merkle root (RFC 6962) over the entries.';
comment on column audit.block.hash is 'SHA-256 of the canonical JSON of everything above.';
comment on column audit.block.signature is 'Ed25519 over number, epoch, hash, time and key.';

-- Its one row is locked by the process that seals just now. A row, because its lock is not for every role to take.
create table audit.sealer (only_one boolean primary key default true check (only_one));
insert into audit.sealer default values;
comment on table audit.sealer is 'Whoever holds the lock of this row seals. Only steward_sealer may lock it.';

-- What the root is made of: 64 bytes for each entry. It names the entry when something does not fit, and makes inclusion proofs.
create table audit.block_leaves (
  block_number bigint not null references audit.block,
  chunk integer not null check (chunk >= 0),
  leaves bytea not null check (length(leaves) % 64 = 0 and length(leaves) between 64 and 1048576),
  primary key (block_number, chunk)
);
-- Hashes do not compress; trying costs what writers could use.
alter table audit.block_leaves alter column leaves set storage external;
comment on column audit.block_leaves.leaves is 'For each entry: id (16), transaction (8), time in microseconds since 1970 (8), SHA-256 of its canonical form (32).';

-- A block follows the newest one without a gap. Of two sealers at once, one fails here or at the unique keys.
create function audit.check_block() returns trigger language plpgsql as $$
declare
  newest audit.block;
begin
  select * into newest from audit.block order by number desc limit 1;
  if new.number <> coalesce(newest.number, 0) + 1
    or new.previous_hash <> coalesce(newest.hash, decode(repeat('00', 32), 'hex'))
    or new.sealed_at < coalesce(newest.sealed_at, '-infinity')
    or new.epoch <> coalesce(newest.epoch + (newest.kind = 'restore')::integer, 1)
    or new.from_transaction <> (case when newest.kind = 'block' then newest.to_transaction else 0 end)
    or (new.kind = 'restore') <> (new.to_transaction = 9223372036854775807)
    or (new.kind = 'restore' and not exists (select from audit.epoch e where e.number > new.epoch)) then
    raise exception 'block % does not follow the newest block', new.number
      using errcode = 'integrity_constraint_violation', constraint = 'block_follows';
  end if;
  return new;
end $$;
create trigger block_follows before insert on audit.block for each row execute function audit.check_block();
alter table audit.block enable always trigger block_follows;

create table audit.retirement (
  name text primary key references audit.partition,
  from_at timestamptz not null,
  to_at timestamptz not null,
  export_sha256 text not null check (export_sha256 ~ '^[0-9a-f]{64}$'),
  exported_rows bigint not null,
  retired_by text not null,
  retired_at timestamptz not null default clock_timestamp(),
  entry_id uuid not null
);
comment on table audit.retirement is 'Partitions that were exported and dropped. Their leaves stay, so the chain still verifies.';

-- The entry that says so may lie in a partition that is retired later. Without it nobody could tell a real retirement by then.
create table audit.retirement_entry (like audit.entry, primary key (occurred_at, id));
comment on table audit.retirement_entry is 'Entries partition.retired whose own partition was retired. Each is proved by its leaf.';

do $$
declare
  kept text;
begin
  foreach kept in array array['partition', 'epoch', 'block', 'block_leaves', 'sealer', 'retirement', 'retirement_entry',
      'policy_text'] loop
    execute format('create trigger %I before update or delete on audit.%I for each row execute function audit.refuse_change()',
      kept || '_refuses_row_changes', kept);
    execute format('create trigger %I before truncate on audit.%I for each statement execute function audit.refuse_change()',
      kept || '_refuses_truncate', kept);
    execute format('alter table audit.%I enable always trigger %I, enable always trigger %I',
      kept, kept || '_refuses_row_changes', kept || '_refuses_truncate');
  end loop;
end $$;

-- Times of the chain: microseconds, UTC, as text.
create function audit.utc_text(at timestamptz) returns text language sql stable as $$
  select to_char(at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
$$;

/*
 * For how long something has been waiting to be sealed: the age of the newest block, or of the oldest entry after it, whichever
 * is greater. Empty blocks alone prove nothing: a transaction that stays open holds every entry back. "Sealed and working" means
 * at most 60 s; null: never sealed. Bounded: the first 1,000 entries in the order of sealing. In an epoch that was begun and
 * not sealed yet, time counts from its beginning.
 */
create function audit.seconds_since_seal() returns double precision
language sql stable security definer set search_path = audit, pg_temp as $$
  select extract(epoch from clock_timestamp() - least(b.sealed_at,
      (select min(w.occurred_at) from (
        select e.occurred_at from audit.entry e
        where e.epoch = b.epoch and e.transaction_id >= b.to_transaction
          -- Numbers of an epoch before, on another cluster, may be higher.
          and e.transaction_id < pg_snapshot_xmax(pg_current_snapshot())::text::bigint
        order by e.transaction_id, e.id limit 1000) w),
      (select min(x.began_at) from audit.epoch x where x.number > b.epoch)))::double precision
  from (select n.* from audit.block n order by n.number desc limit 1) b
$$;

-- The newest block as a checkpoint: `line` is the text to keep where the database's owner cannot change it.
create function audit.newest_checkpoint()
returns table (number bigint, epoch integer, hash text, sealed_at timestamptz, key_id text, signature text, line text)
language sql stable security definer set search_path = audit, pg_temp as $$
  select b.number, b.epoch, encode(b.hash, 'hex'), b.sealed_at, b.key_id, encode(b.signature, 'hex'),
    format('steward-checkpoint v1 number=%s epoch=%s hash=%s sealed_at=%s key=%s signature=%s', b.number, b.epoch,
      encode(b.hash, 'hex'), audit.utc_text(b.sealed_at), b.key_id, encode(b.signature, 'hex'))
  from audit.block b order by b.number desc limit 1
$$;

/*
 * After a restore into another cluster, run by the owner: the entries of the old epoch are closed (the sealer's next block is
 * a restore block) and new ones count from here. Returns the new epoch.
 */
create function audit.begin_epoch(reason text) returns integer
language plpgsql set search_path = audit, pg_temp as $$
declare
  next_number integer;
begin
  if coalesce(btrim(reason), '') = '' then
    raise exception 'a new epoch needs a reason' using errcode = 'check_violation';
  end if;
  -- No entry may slip between the epochs.
  lock table audit.entry in access exclusive mode;
  insert into audit.epoch (number, system_identifier, reason)
  select max(e.number) + 1, (select s.system_identifier::text from pg_control_system() s), begin_epoch.reason from audit.epoch e
  returning number into next_number;
  execute format('alter table audit.entry alter column epoch set default %s', next_number);
  execute format('insert into audit.entry (id, service, kind, outcome, subject_id, detail) '
    'values (gen_random_uuid(), ''operator'', ''epoch.begun'', ''begun'', %L, %L)',
    next_number, jsonb_build_object('reason', reason));
  return next_number;
end $$;

/*
 * Drops a partition whose time is over, whose every row is sealed, and whose export has as many rows. What was exported is
 * recorded; the leaves stay. Refusals say what is missing.
 */
create function audit.retire_partition(name text, export_sha256 text, exported_rows bigint, by text) returns void
language plpgsql security definer set search_path = audit, pg_temp set lock_timeout = '5s' as $$
declare
  kept audit.partition;
  present bigint;
  unsealed bigint;
  record_id constant uuid := gen_random_uuid();
begin
  if coalesce(btrim(by), '') = '' then raise exception 'retiring needs who' using errcode = 'check_violation'; end if;
  select * into kept from audit.partition p where p.name = retire_partition.name
    and not exists (select from audit.retirement r where r.name = p.name);
  if kept.name is null then raise exception 'there is no partition %', name using errcode = 'no_data_found'; end if;
  if kept.to_at > now() then
    raise exception 'partition % is not over before %', name, kept.to_at using errcode = 'object_not_in_prerequisite_state';
  end if;
  -- The rows that are counted are the rows that are dropped.
  execute format('lock table audit.%I in share mode', name);
  execute format('select count(*), count(*) filter (where e.transaction_id >= coalesce(s.sealed_to, 0)) from audit.%I e left join '
    '(select b.epoch, max(b.to_transaction) as sealed_to from audit.block b group by b.epoch) s on s.epoch = e.epoch', name)
    into present, unsealed;
  if unsealed > 0 then
    raise exception 'partition % has % rows that are not sealed', name, unsealed using errcode = 'object_not_in_prerequisite_state';
  end if;
  if present is distinct from exported_rows then
    raise exception 'partition % has % rows, the export has %', name, present, exported_rows
      using errcode = 'object_not_in_prerequisite_state';
  end if;
  insert into audit.retirement (name, from_at, to_at, export_sha256, exported_rows, retired_by, entry_id)
  values (name, kept.from_at, kept.to_at, export_sha256, exported_rows, by, record_id);
  insert into audit.entry (id, service, kind, outcome, subject_id, detail)
  values (record_id, 'operator', 'partition.retired', 'dropped', name, jsonb_build_object(
    'by', by, 'exportSha256', export_sha256, 'rows', exported_rows,
    'from', audit.utc_text(kept.from_at), 'to', audit.utc_text(kept.to_at)));
  execute format('insert into audit.retirement_entry select e.* from audit.%I e '
    'where e.kind = ''partition.retired'' and e.service = ''operator''', name);
  execute format('alter table audit.entry detach partition audit.%I', name);
  execute format('delete from audit.detail d using audit.%I e where d.entry_id = e.id and d.transaction_id = e.transaction_id', name);
  execute format('drop table audit.%I', name);
end $$;

/* --- who may do what --- */

-- occurred_at, transaction_id and epoch are the database's: no service may give them.
revoke all on audit.entry_history from steward_adapter, steward_agent_core, steward_outbound_sender;
grant usage on schema audit to steward_sealer, steward_operator;
grant insert (id, service, kind, outcome, correlation_id, environment, robot_code, conversation_id, actor_staff_id, actor_corp_id,
  subject_id, detail, actor_role, door, digest, policy_hash, model, prompt_hash, detail_hash)
  on audit.entry to steward_adapter, steward_agent_core, steward_outbound_sender, steward_sealer;
grant insert (entry_id, salt, body) on audit.detail
  to steward_adapter, steward_agent_core, steward_outbound_sender, steward_sealer;

grant select on audit.entry, audit.epoch, audit.block, audit.block_leaves to steward_sealer;
grant select on audit.entry_default to steward_sealer;
grant insert on audit.block, audit.block_leaves to steward_sealer;
-- UPDATE is the right to lock it; the trigger refuses an actual one.
grant select, update (only_one) on audit.sealer to steward_sealer;

grant select on audit.entry, audit.detail, audit.epoch, audit.block, audit.block_leaves, audit.partition, audit.retirement,
  audit.retirement_entry, audit.policy_text to steward_operator;

revoke execute on all functions in schema audit from public;
grant execute on function audit.utc_text(timestamptz) to steward_sealer, steward_operator;
grant execute on function audit.ensure_partitions(timestamptz) to steward_sealer;
grant execute on function audit.newest_checkpoint() to steward_sealer, steward_agent_core, steward_operator;
grant execute on function audit.seconds_since_seal() to steward_sealer, steward_agent_core, steward_operator;
grant execute on function audit.record_policy(text, text) to steward_agent_core;
grant execute on function audit.erase_detail(uuid, text, text), audit.retire_partition(text, text, bigint, text) to steward_operator;

grant usage on schema migration to steward_sealer, steward_operator;
grant select on migration.kysely_migration to steward_sealer, steward_operator;
