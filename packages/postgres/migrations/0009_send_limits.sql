-- Limits in depth for sending (ADR 0017): one row of send_budget for each scope, not for robots alone.
alter table outbound_sender.send_budget
  add column held_until timestamptz,
  add column held_reason text,
  add column retry_tokens double precision not null default 10 check (retry_tokens between 0 and 10),
  add column retry_tokens_at timestamptz not null default now(),
  add check ((held_until is null) = (held_reason is null));
comment on table outbound_sender.send_budget is
  'Limits shared by all replicas: a budget (robot or custom robot), an API of an app, a room, our egress address, an organisation.';
comment on column outbound_sender.send_budget.budget is 'The scope: its kind and its name.';
comment on column outbound_sender.send_budget.next_free_at is 'Generic cell rate algorithm: when the sends admitted so far are paid for.';
comment on column outbound_sender.send_budget.held_until is 'The platform refused this scope: nothing is sent before, by nobody.';
comment on column outbound_sender.send_budget.retry_tokens is 'Retries this budget may still make: a first attempt earns 0.2, ten seconds earn 1, at most 10.';

/*
 * Admits one send under all of its limits, or under none: null, or the earliest time at which it may be asked again. `wanted` is a list of
 * {scope, spacing_ms, burst}: sends are spread evenly with `burst` at once, so that no sliding window holds more than
 * window / spacing + burst; spacing 0 has no rate and can only be held. Who is not urgent leaves half a spacing of each
 * burst, so that control and approvals find room in a budget that answers use up. The clock is the database's, read
 * after the locks: a wait for them must not admit by an old time. Scopes are locked in their order, so nobody waits in a circle.
 */
create function outbound_sender.admit(wanted jsonb, urgent boolean, retry_budget text)
returns timestamptz language plpgsql set search_path = outbound_sender, pg_temp as $$
declare
  at timestamptz;
  free_at timestamptz;
  tokens double precision;
begin
  insert into send_budget (budget, spacing, next_free_at)
  select w.scope, w.spacing_ms * interval '1 ms', '-infinity'
  from jsonb_to_recordset(wanted) as w (scope text, spacing_ms double precision)
  order by w.scope
  on conflict (budget) do nothing;

  perform 1 from send_budget
  where budget in (select w.scope from jsonb_to_recordset(wanted) as w (scope text))
  order by budget for update;
  at := clock_timestamp();

  select max(greatest(
    coalesce(b.held_until, '-infinity'),
    b.next_free_at - w.spacing_ms * (w.burst - case when urgent then 1 else 1.5 end) * interval '1 ms'))
  into free_at
  from jsonb_to_recordset(wanted) as w (scope text, spacing_ms double precision, burst double precision)
  join send_budget b on b.budget = w.scope;
  if free_at > at then
    return free_at;
  end if;

  if retry_budget is not null then
    select least(10, retry_tokens + greatest(0, extract(epoch from at - retry_tokens_at)) / 10) into tokens
    from send_budget where budget = retry_budget;
    if tokens < 1 then
      return at + (1 - tokens) * interval '10 s';
    end if;
  end if;

  update send_budget b set
    spacing = w.spacing_ms * interval '1 ms',
    next_free_at = case when w.spacing_ms > 0 then greatest(b.next_free_at, at) + w.spacing_ms * interval '1 ms' else b.next_free_at end,
    held_until = null,
    held_reason = null,
    retry_tokens = least(10, b.retry_tokens + greatest(0, extract(epoch from at - b.retry_tokens_at)) / 10
      + case when retry_budget is null then 0.2 else 0 end)
      - case when b.budget = retry_budget then 1 else 0 end,
    retry_tokens_at = at
  from jsonb_to_recordset(wanted) as w (scope text, spacing_ms double precision)
  where b.budget = w.scope;
  return null;
end $$;
revoke execute on function outbound_sender.admit(jsonb, boolean, text) from public;
grant execute on function outbound_sender.admit(jsonb, boolean, text) to steward_outbound_sender;
