-- What the operations team may look at: documented views over everything, and nothing but these.
create schema ops;
comment on schema ops is 'Views for people. Read with role ops_reader; the tables behind them are nobody''s to read.';

create view ops.recent as
select e.occurred_at, e.service, e.kind, e.outcome, e.environment, e.robot_code, e.conversation_id, e.actor_staff_id,
  e.actor_role, e.door, e.subject_id, e.correlation_id, encode(e.digest, 'hex') as digest, e.policy_hash, e.model,
  e.prompt_hash, e.detail, e.id as entry_id
from audit.entry e
where e.occurred_at > now() - interval '7 days';
comment on view ops.recent is 'The audit log of the last seven days, without personal text.';
comment on column ops.recent.occurred_at is 'When it was written, by the database''s clock.';
comment on column ops.recent.service is 'Which service wrote it; operator: a person at the command line.';
comment on column ops.recent.kind is 'What happened, noun.past-participle.';
comment on column ops.recent.outcome is 'How it came out, in one word.';
comment on column ops.recent.environment is 'test or production, where there is one.';
comment on column ops.recent.robot_code is 'The robot it came to or went through.';
comment on column ops.recent.conversation_id is 'The room or single chat.';
comment on column ops.recent.actor_staff_id is 'Who did it.';
comment on column ops.recent.actor_role is 'The role in which they acted.';
comment on column ops.recent.door is 'How it came in: http, stream, card, cli.';
comment on column ops.recent.subject_id is 'What it was about: an inbound event, a turn, a tool call, an approval request, an outbound message.';
comment on column ops.recent.correlation_id is 'The same for everything that one inbound event caused; ops.trace takes it.';
comment on column ops.recent.digest is 'The digest of the approval request or grant, in hex.';
comment on column ops.recent.policy_hash is 'The policy set that judged.';
comment on column ops.recent.model is 'The model that proposed it, where one did.';
comment on column ops.recent.prompt_hash is 'The prompt that this model was given.';
comment on column ops.recent.detail is 'Further facts, redacted.';
comment on column ops.recent.entry_id is 'The entry itself, as verifying names it.';

create view ops.approvals as
select r.created_at as asked_at, r.code, r.status, c.tool, c.effect, r.environment, r.robot_code, r.conversation_id,
  r.requester_staff_id, r.quorum, v.approvals, v.denials, v.voters, v.approvers, r.approve_by, r.run_by, r.decided_at, r.ended_at,
  r.end_reason, extract(epoch from r.decided_at - r.created_at)::double precision as wait_seconds,
  encode(r.digest, 'hex') as digest, r.policy_hash, r.correlation_id, r.id as request_id, r.tool_call_id
from agent_core.approval_request r
join agent_core.tool_call c on c.id = r.tool_call_id
cross join lateral (
  select count(*) filter (where w.decision = 'approve')::integer as approvals,
    count(*) filter (where w.decision = 'deny')::integer as denials,
    coalesce(array_agg(w.staff_id order by w.voted_at), '{}') as voters,
    coalesce(array_agg(w.staff_id order by w.voted_at) filter (where w.decision = 'approve'), '{}') as approvers
  from agent_core.approval_vote w where w.request_id = r.id) v;
comment on view ops.approvals is 'Every approval request, with what came of it.';
comment on column ops.approvals.asked_at is 'When it was asked.';
comment on column ops.approvals.code is 'The short code that people type.';
comment on column ops.approvals.status is 'pending, approved, denied, expired, cancelled, void or used.';
comment on column ops.approvals.tool is 'The tool that would be called.';
comment on column ops.approvals.effect is 'read, write or destructive.';
comment on column ops.approvals.environment is 'test or production.';
comment on column ops.approvals.robot_code is 'The robot it was asked through.';
comment on column ops.approvals.conversation_id is 'The room it was asked in.';
comment on column ops.approvals.requester_staff_id is 'Who wants the call.';
comment on column ops.approvals.quorum is 'How many people must approve.';
comment on column ops.approvals.approvals is 'How many did.';
comment on column ops.approvals.denials is 'How many denied.';
comment on column ops.approvals.voters is 'Who voted, in order.';
comment on column ops.approvals.approvers is 'Those of them who approved, in order.';
comment on column ops.approvals.approve_by is 'Votes count until then.';
comment on column ops.approvals.run_by is 'The call must begin before then; set when approved.';
comment on column ops.approvals.decided_at is 'When it left pending.';
comment on column ops.approvals.ended_at is 'When nothing could come of it any more.';
comment on column ops.approvals.end_reason is 'Why it ended as it did.';
comment on column ops.approvals.wait_seconds is 'From the question to the decision.';
comment on column ops.approvals.digest is 'What exactly was approved, as SHA-256 in hex.';
comment on column ops.approvals.policy_hash is 'The policy set that asked for it.';
comment on column ops.approvals.correlation_id is 'For ops.trace.';
comment on column ops.approvals.request_id is 'The request itself.';
comment on column ops.approvals.tool_call_id is 'The call it is about.';

create view ops.tool_calls as
select c.created_at as proposed_at, c.tool, c.effect, c.verdict, c.verdict_reason, c.status, c.code, c.environment,
  c.robot_code, c.conversation_id, c.requester_staff_id, c.proposed_by, c.arguments, a.attempts, a.last_outcome,
  a.duration_ms, c.ended_at, c.policy_hash, c.policy_ids, c.definition_hash, c.correlation_id, c.turn_id, c.id as tool_call_id
from agent_core.tool_call c
cross join lateral (
  select count(*)::integer as attempts, (array_agg(t.outcome order by t.number desc))[1] as last_outcome,
    sum(t.duration_ms)::integer as duration_ms
  from agent_core.tool_attempt t where t.tool_call_id = c.id) a;
comment on view ops.tool_calls is 'Every call that somebody or the model proposed, with the verdict and what came of it.';
comment on column ops.tool_calls.proposed_at is 'When it was proposed and judged.';
comment on column ops.tool_calls.tool is 'The tool''s name.';
comment on column ops.tool_calls.effect is 'read, write or destructive; null for a tool that does not exist there.';
comment on column ops.tool_calls.verdict is 'allow, ask or deny.';
comment on column ops.tool_calls.verdict_reason is 'Why.';
comment on column ops.tool_calls.status is 'ready, waiting, running, done, failed, unknown, refused, denied, expired, cancelled or void.';
comment on column ops.tool_calls.code is 'Why it ended as it did, in one word.';
comment on column ops.tool_calls.environment is 'test or production.';
comment on column ops.tool_calls.robot_code is 'The robot it came through.';
comment on column ops.tool_calls.conversation_id is 'The room it came from.';
comment on column ops.tool_calls.requester_staff_id is 'For whom it would be made.';
comment on column ops.tool_calls.proposed_by is 'person, model or skill.';
comment on column ops.tool_calls.arguments is 'What it would be called with. Secrets are names here, never values.';
comment on column ops.tool_calls.attempts is 'How often it was begun.';
comment on column ops.tool_calls.last_outcome is 'How the last attempt ended: done, failed or unknown.';
comment on column ops.tool_calls.duration_ms is 'How long its attempts took together.';
comment on column ops.tool_calls.ended_at is 'When it ended.';
comment on column ops.tool_calls.policy_hash is 'The policy set that judged.';
comment on column ops.tool_calls.policy_ids is 'The policies that decided.';
comment on column ops.tool_calls.definition_hash is 'The tool''s definition as it was judged.';
comment on column ops.tool_calls.correlation_id is 'For ops.trace.';
comment on column ops.tool_calls.turn_id is 'The turn it belongs to.';
comment on column ops.tool_calls.tool_call_id is 'The call itself.';

create view ops.deliveries as
select m.recorded_at, m.status, m.reason, m.environment, m.lane, m.budget, m.target ->> 'kind' as target_kind,
  m.target ->> 'robotCode' as robot_code, m.target ->> 'conversationId' as conversation_id, m.target ->> 'staffId' as staff_id,
  m.content ->> 'kind' as content_kind, jsonb_array_length(m.parts) as parts, m.parts_accepted, a.attempts, a.last_path,
  a.last_outcome, a.last_code, m.ended_at, extract(epoch from m.ended_at - m.recorded_at)::double precision as took_seconds,
  m.correlation_id, m.id as outbound_message_id
from outbound_sender.outbound_message m
cross join lateral (
  select count(*)::integer as attempts, (array_agg(d.path order by d.number desc))[1] as last_path,
    (array_agg(d.outcome order by d.number desc))[1] as last_outcome, (array_agg(d.code order by d.number desc))[1] as last_code
  from outbound_sender.delivery_attempt d where d.outbound_message_id = m.id) a;
comment on view ops.deliveries is 'Everything that was to be sent, and how it ended. Not what it said.';
comment on column ops.deliveries.recorded_at is 'When it was asked for.';
comment on column ops.deliveries.status is 'queued, sending, accepted, merged, failed, discarded or unknown.';
comment on column ops.deliveries.reason is 'Why it ended as it did, or what the last attempt came to.';
comment on column ops.deliveries.environment is 'test or production.';
comment on column ops.deliveries.lane is 'control, approval, answer or bulk.';
comment on column ops.deliveries.budget is 'Whose send budget it spends.';
comment on column ops.deliveries.target_kind is 'What kind of place it goes to.';
comment on column ops.deliveries.robot_code is 'The robot that says it.';
comment on column ops.deliveries.conversation_id is 'The room it goes to, if it is one.';
comment on column ops.deliveries.staff_id is 'The person it goes to, if it is one.';
comment on column ops.deliveries.content_kind is 'text, markdown, card …';
comment on column ops.deliveries.parts is 'How many pieces it has.';
comment on column ops.deliveries.parts_accepted is 'How many the platform has accepted.';
comment on column ops.deliveries.attempts is 'How often sending was begun.';
comment on column ops.deliveries.last_path is 'Which way the last attempt took.';
comment on column ops.deliveries.last_outcome is 'How the last attempt ended.';
comment on column ops.deliveries.last_code is 'What the platform said to it.';
comment on column ops.deliveries.ended_at is 'When it ended.';
comment on column ops.deliveries.took_seconds is 'From asking to ending.';
comment on column ops.deliveries.correlation_id is 'For ops.trace.';
comment on column ops.deliveries.outbound_message_id is 'The message itself.';

create view ops.duplicates as
select i.first_seen_at, i.last_seen_at, i.duplicate_count, i.altered_count, i.kind, i.source, i.source_id, i.conversation_id,
  i.door, i.settled_at, i.correlation_id, i.id as inbound_event_id
from adapter.inbound_event i
where i.duplicate_count > 0 or i.altered_count > 0;
comment on view ops.duplicates is 'Inbound events that were delivered more than once. All were answered; none had a second effect.';
comment on column ops.duplicates.first_seen_at is 'The first delivery: the one that counted.';
comment on column ops.duplicates.last_seen_at is 'The last one.';
comment on column ops.duplicates.duplicate_count is 'How many came after the first.';
comment on column ops.duplicates.altered_count is 'How many of them had another body: look into those.';
comment on column ops.duplicates.kind is 'robot_message, card_click or platform_event.';
comment on column ops.duplicates.source is 'The robot or app it came to.';
comment on column ops.duplicates.source_id is 'DingTalk''s id of it: msgId or eventId.';
comment on column ops.duplicates.conversation_id is 'The room it was said in.';
comment on column ops.duplicates.door is 'http or stream: the first delivery.';
comment on column ops.duplicates.settled_at is 'When agent-core had it; null: it has not.';
comment on column ops.duplicates.correlation_id is 'For ops.trace.';
comment on column ops.duplicates.inbound_event_id is 'The event itself.';

create view ops.sealing as
select b.sealed_at, b.number, b.kind, b.epoch, b.entry_count, b.key_id, encode(b.hash, 'hex') as hash
from audit.block b;
comment on view ops.sealing is 'The blocks of the audit log''s chain.';
comment on column ops.sealing.sealed_at is 'When it was sealed.';
comment on column ops.sealing.number is 'Its number, without gaps.';
comment on column ops.sealing.kind is 'block, or restore: the end of an epoch.';
comment on column ops.sealing.epoch is 'Which epoch''s entries it holds.';
comment on column ops.sealing.entry_count is 'How many entries it holds.';
comment on column ops.sealing.key_id is 'Which key signed it.';
comment on column ops.sealing.hash is 'Its hash, in hex: compare it with a checkpoint.';

create function ops.seconds_since_seal() returns double precision
language sql stable security definer set search_path = pg_catalog, pg_temp as $$ select audit.seconds_since_seal() $$;
comment on function ops.seconds_since_seal() is
  'The age of the newest block, or of the oldest entry that waits for one, whichever is greater; null: never sealed.';

/*
 * Everything that one inbound event caused, in order, from every service. Bounded: the first 2,000 steps.
 * `who` is a staffId, a service or a role; `what` one word or name; `detail` depends on the source. The audit log is the
 * index: it knows by correlation which events and messages there are, and the hot tables need no index of their own.
 */
create function ops.trace(correlation_id uuid)
returns table (at timestamptz, source text, what text, outcome text, who text, subject_id text, detail jsonb)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  with entries as materialized (
    select e.*, case when e.subject_id ~ '^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$' then e.subject_id::uuid end as subject
    from audit.entry e where e.correlation_id = $1
  ), turns as materialized (
    select t.* from agent_core.turn t where t.inbound_event_id in (select e.subject from entries e where e.kind = 'inbound.recorded')
  ), calls as materialized (
    select c.* from agent_core.tool_call c where c.turn_id in (select t.id from turns t)
  ), requests as materialized (
    select r.* from agent_core.approval_request r where r.tool_call_id in (select c.id from calls c)
  ), outbound as materialized (
    select m.* from outbound_sender.outbound_message m where m.id in (select e.subject from entries e where e.kind = 'outbound.recorded')
  )
  select s.at, s.source, s.what, s.outcome, s.who, s.subject_id, s.detail from (
    select i.first_seen_at as at, 1 as rank, 'inbound event' as source, i.kind as what, 'received' as outcome, i.source as who,
      i.id::text as subject_id, jsonb_build_object('door', i.door, 'sourceId', i.source_id, 'sequence', i.sequence,
        'duplicates', i.duplicate_count, 'altered', i.altered_count, 'settledAt', i.settled_at) as detail
    from adapter.inbound_event i where i.id in (select e.subject from entries e where e.kind = 'inbound.recorded')
    union all
    select t.created_at, 3, 'turn', t.lane, 'recorded', null, t.id::text,
      jsonb_build_object('status', t.status, 'attempt', t.attempt, 'outcome', t.outcome, 'endedAt', t.ended_at)
    from turns t
    union all
    select c.created_at, 4, 'tool call', c.tool, c.verdict, c.requester_staff_id, c.id::text,
      jsonb_build_object('effect', c.effect, 'proposedBy', c.proposed_by, 'reason', c.verdict_reason, 'status', c.status,
        'code', c.code, 'policyHash', c.policy_hash, 'arguments', c.arguments, 'endedAt', c.ended_at)
    from calls c
    union all
    select r.created_at, 5, 'approval request', r.code, r.status, r.requester_staff_id, r.id::text,
      jsonb_build_object('quorum', r.quorum, 'approveBy', r.approve_by, 'digest', encode(r.digest, 'hex'),
        'endReason', r.end_reason, 'decidedAt', r.decided_at)
    from requests r
    union all
    select v.voted_at, 6, 'decision', r.code, v.decision, v.staff_id, r.id::text,
      jsonb_build_object('door', v.door, 'roles', v.roles, 'reason', v.reason)
    from agent_core.approval_vote v join requests r on r.id = v.request_id
    union all
    select g.granted_at, 7, 'grant', case when g.break_glass_id is null then 'by approval' else 'by breaking glass' end,
      case when g.consumed_at is null then 'open' else 'consumed' end, null, g.id::text,
      jsonb_build_object('runBy', g.run_by, 'consumedAt', g.consumed_at)
    from agent_core.tool_grant g join calls c on c.id = g.tool_call_id
    union all
    select a.opened_at, 8, 'tool attempt', c.tool, a.outcome, null, a.id::text,
      jsonb_build_object('number', a.number, 'code', a.code, 'durationMs', a.duration_ms, 'closedAt', a.closed_at)
    from agent_core.tool_attempt a join calls c on c.id = a.tool_call_id
    union all
    select m.recorded_at, 9, 'outbound message', m.lane, m.status, null, m.id::text,
      jsonb_build_object('parts', jsonb_array_length(m.parts), 'reason', m.reason, 'endedAt', m.ended_at)
    from outbound m
    union all
    select d.started_at, 10, 'delivery attempt', d.path, d.outcome, null, d.id::text,
      jsonb_build_object('number', d.number, 'part', d.part, 'code', d.code, 'endedAt', d.ended_at)
    from outbound_sender.delivery_attempt d join outbound m on m.id = d.outbound_message_id
    union all
    select e.occurred_at, 11, 'audit entry', e.kind, e.outcome, coalesce(e.actor_staff_id, e.service), e.subject_id,
      e.detail || jsonb_strip_nulls(jsonb_build_object('entryId', e.id, 'service', e.service, 'role', e.actor_role,
        'policyHash', e.policy_hash, 'model', e.model))
    from entries e
  ) s order by s.at, s.rank limit 2000
$$;
comment on function ops.trace(uuid) is 'Everything that one inbound event caused, in order, from every service.';

-- The correlation ids behind an id or code that a person has: of DingTalk, a request, a call, a turn, a message, an entry.
create function ops.find_correlation(given text) returns table (correlation_id uuid, found_as text)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  with wanted as (
    select $1 as given, case when $1 ~* '^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$' then $1::uuid end as id
  )
  select distinct on (f.correlation_id) f.correlation_id, f.found_as from (
    select i.correlation_id, 'inbound event' as found_as, i.first_seen_at as at from adapter.inbound_event i, wanted w
      where i.source_id = w.given and i.kind in ('robot_message', 'platform_event')
    union all select i.correlation_id, 'inbound event', i.first_seen_at from adapter.inbound_event i, wanted w where i.id = w.id
    union all select r.correlation_id, 'approval request', r.created_at from agent_core.approval_request r, wanted w
      where r.id = w.id
    union all (select r.correlation_id, 'approval request', r.created_at from agent_core.approval_request r, wanted w
      where r.code = upper(w.given) order by r.created_at desc limit 5)
    union all select c.correlation_id, 'tool call', c.created_at from agent_core.tool_call c, wanted w where c.id = w.id
    union all select t.correlation_id, 'turn', t.created_at from agent_core.turn t, wanted w where t.id = w.id
    union all select m.correlation_id, 'outbound message', m.recorded_at from outbound_sender.outbound_message m, wanted w
      where m.id = w.id
    union all (select e.correlation_id, 'correlation id', e.occurred_at from audit.entry e, wanted w
      where e.correlation_id = w.id limit 1)
  ) f where f.correlation_id is not null order by f.correlation_id, f.at desc limit 20
$$;
comment on function ops.find_correlation(text) is 'The correlation ids behind a msgId, an approval code, or any id of Steward.';

-- What was recorded about one room since a time, newest first: what the tool query_audit may see. At most 200, of 31 days.
create function ops.room_entries(robot_code text, conversation_id text, since timestamptz, max_rows integer)
returns table (occurred_at timestamptz, service text, kind text, outcome text, actor_staff_id text, subject_id text,
  correlation_id uuid, detail jsonb)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select e.occurred_at, e.service, e.kind, e.outcome, e.actor_staff_id, e.subject_id, e.correlation_id, e.detail
  from audit.entry e
  where e.robot_code = $1 and e.conversation_id = $2 and e.occurred_at >= greatest($3, now() - interval '31 days')
  order by e.occurred_at desc, e.id desc limit least(greatest(coalesce($4, 0), 0), 200)
$$;
comment on function ops.room_entries(text, text, timestamptz, integer) is
  'What was recorded about one room, newest first: at most 200 entries of the last 31 days.';

revoke execute on all functions in schema ops from public;
grant usage on schema ops to ops_reader, steward_operator, steward_agent_core;
grant select on ops.recent, ops.approvals, ops.tool_calls, ops.deliveries, ops.duplicates, ops.sealing to ops_reader, steward_operator;
grant execute on function ops.trace(uuid), ops.find_correlation(text), ops.seconds_since_seal() to ops_reader, steward_operator;
grant execute on function ops.room_entries(text, text, timestamptz, integer) to steward_agent_core, steward_operator;
