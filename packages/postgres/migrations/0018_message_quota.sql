-- How many inbound events of these robots and apps reached us in the platform's month, at most `most`: its second monthly quota
-- counts callbacks and Stream messages. Ids begin with their time, so this reads the month's part of the primary key.
-- The ledger keeps 30 days: of a month of 31 the first day is missing at its end.
create function ops.count_received(sources text[], most integer) returns integer
language sql stable security definer set search_path = adapter, pg_temp set enable_seqscan = off as $$
  select count(*)::integer from (
    select from inbound_event
    where id >= first_id_of(date_trunc('month', now() at time zone 'Asia/Shanghai') at time zone 'Asia/Shanghai')
      and source = any(sources)
    limit least(most, 1000000)) received
$$;
comment on function ops.count_received is 'Inbound events of these robots and apps in the platform''s month, counted up to a limit.';
