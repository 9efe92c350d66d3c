-- What only people can know is settled by people: outbound messages and calls whose outcome nobody knows. ADR 0018.

-- What an operator asks outbound-sender for: the same desk as that of agent-core, in front of the delivery ledger.
create table outbound_sender.operator_request (like agent_core.operator_request including all);
grant select on outbound_sender.operator_request to steward_outbound_sender;
grant update (answered_at, answer, claimed_until) on outbound_sender.operator_request to steward_outbound_sender;
grant usage on schema outbound_sender to steward_operator;
grant insert (id, verb, body, asked_by), select on outbound_sender.operator_request to steward_operator;

-- What a person decided about an ending. Rows are only ever added: the attempts keep saying "unknown".
create table outbound_sender.outbound_resolution (
  outbound_message_id uuid not null references outbound_sender.outbound_message,
  number integer not null check (number > 0),
  was text not null check (was in ('unknown', 'failed')),
  decision text not null check (decision in ('happened', 'did_not', 'discard')),
  reason text not null check (length(reason) between 1 and 500),
  decided_by text not null,
  request_id uuid not null,
  decided_at timestamptz not null default now(),
  primary key (outbound_message_id, number)
);
comment on column outbound_sender.outbound_resolution.number is 'Which decision about this message: whoever decided the same ending before has this number already.';
comment on column outbound_sender.outbound_resolution.was is 'How the message had ended before.';
comment on column outbound_sender.outbound_resolution.decided_by is 'The account of the operating system, as in operator_request.';
grant select, insert on outbound_sender.outbound_resolution to steward_outbound_sender;

alter table outbound_sender.outbound_message add column reopened_at timestamptz;
comment on column outbound_sender.outbound_message.reopened_at is
  'When a person decided about an ending of it: its age counts from here, and its next ending replaces one that was told.';
-- What waits for people. Few, looked at all day.
create index outbound_message_waits_for_people on outbound_sender.outbound_message (status, ended_at)
  where status in ('unknown', 'failed');

-- The ledger as operators read it, now with what was decided, and with the room of a reply.
create or replace view ops.deliveries as
select m.recorded_at, m.status, m.reason, m.environment, m.lane, m.budget, m.target ->> 'kind' as target_kind,
  coalesce(m.target ->> 'robotCode', m.target #>> '{conversation,robotCode}') as robot_code,
  coalesce(m.target ->> 'conversationId', m.target #>> '{conversation,conversationId}') as conversation_id,
  m.target ->> 'staffId' as staff_id,
  m.content ->> 'kind' as content_kind, jsonb_array_length(m.parts) as parts, m.parts_accepted, a.attempts, a.last_path,
  a.last_outcome, a.last_code, m.ended_at, extract(epoch from m.ended_at - m.recorded_at)::double precision as took_seconds,
  m.correlation_id, m.id as outbound_message_id,
  r.decisions, r.last_decision, r.decided_by, r.decided_at
from outbound_sender.outbound_message m
cross join lateral (
  select count(*)::integer as attempts, (array_agg(d.path order by d.number desc))[1] as last_path,
    (array_agg(d.outcome order by d.number desc))[1] as last_outcome, (array_agg(d.code order by d.number desc))[1] as last_code
  from outbound_sender.delivery_attempt d where d.outbound_message_id = m.id) a
cross join lateral (
  select count(*)::integer as decisions, (array_agg(d.decision order by d.number desc))[1] as last_decision,
    (array_agg(d.decided_by order by d.number desc))[1] as decided_by, max(d.decided_at) as decided_at
  from outbound_sender.outbound_resolution d where d.outbound_message_id = m.id) r;
comment on column ops.deliveries.decisions is 'How often a person decided about an ending of it.';
comment on column ops.deliveries.last_decision is 'The last of these: happened, did_not or discard.';
comment on column ops.deliveries.decided_by is 'Whose account that was.';
comment on column ops.deliveries.decided_at is 'When.';

create view ops.delivery_attempts as
select d.outbound_message_id, d.number, d.part + 1 as part, d.path, d.outcome, d.code, d.started_at, d.ended_at
from outbound_sender.delivery_attempt d;
comment on view ops.delivery_attempts is 'Every attempt to send, and what it came to.';
comment on column ops.delivery_attempts.outbound_message_id is 'The message.';
comment on column ops.delivery_attempts.number is 'Which attempt at it, from 1.';
comment on column ops.delivery_attempts.part is 'Which piece of it, from 1.';
comment on column ops.delivery_attempts.path is 'Which way it took.';
comment on column ops.delivery_attempts.outcome is 'unknown, accepted, retryable, permanent, invalid or session_gone.';
comment on column ops.delivery_attempts.code is 'What the platform said, or why nobody knows.';
comment on column ops.delivery_attempts.started_at is 'When it was written down, before the network was touched.';
comment on column ops.delivery_attempts.ended_at is 'When it was closed; null: it is under way.';

-- What a message said: operators compare it with the room before they say that it happened. Not for ops_reader.
create view ops.outbound_content as
select m.id as outbound_message_id, m.content from outbound_sender.outbound_message m;
comment on view ops.outbound_content is 'What outbound messages say: for operators alone.';
comment on column ops.outbound_content.outbound_message_id is 'The message.';
comment on column ops.outbound_content.content is 'Its words, card or recall, as they were asked for.';

grant select on ops.delivery_attempts to ops_reader, steward_operator;
grant select on ops.outbound_content to steward_operator;

-- What a person, or the message that was its effect, said about a call whose outcome nobody knew. The call stays as it ended.
create table agent_core.tool_call_resolution (
  tool_call_id uuid primary key references agent_core.tool_call,
  decision text not null check (decision in ('happened', 'did_not')),
  reason text not null check (length(reason) between 1 and 500),
  decided_by text not null,
  door text not null check (door in ('cli', 'outbound')),
  source_id uuid not null,
  decided_at timestamptz not null default now()
);
comment on column agent_core.tool_call_resolution.decided_by is 'The account of the operating system, as in operator_request; outbound-sender where the message has ended.';
comment on column agent_core.tool_call_resolution.source_id is 'The operator request, or the outbound message.';

create function agent_core.check_resolution() returns trigger language plpgsql as $$
begin
  if not exists (select from agent_core.tool_call c where c.id = new.tool_call_id and c.status = 'unknown') then
    perform agent_core.refuse_approval('resolution_of_known_call');
  end if;
  return new;
end $$;
create trigger resolution_is_checked before insert on agent_core.tool_call_resolution
  for each row execute function agent_core.check_resolution();
grant select, insert on agent_core.tool_call_resolution to steward_agent_core;
create index tool_call_unknown on agent_core.tool_call (ended_at) where status = 'unknown';

create or replace view ops.tool_calls as
select c.created_at as proposed_at, c.tool, c.effect, c.verdict, c.verdict_reason, c.status, c.code, c.environment,
  c.robot_code, c.conversation_id, c.requester_staff_id, c.proposed_by, c.arguments, a.attempts, a.last_outcome,
  a.duration_ms, c.ended_at, c.policy_hash, c.policy_ids, c.definition_hash, c.correlation_id, c.turn_id, c.id as tool_call_id,
  s.decision as resolution, s.decided_by as resolved_by, s.decided_at as resolved_at
from agent_core.tool_call c
left join agent_core.tool_call_resolution s on s.tool_call_id = c.id
cross join lateral (
  select count(*)::integer as attempts, (array_agg(t.outcome order by t.number desc))[1] as last_outcome,
    sum(t.duration_ms)::integer as duration_ms
  from agent_core.tool_attempt t where t.tool_call_id = c.id) a;
comment on column ops.tool_calls.resolution is 'What was decided about an unknown outcome: happened or did_not.';
comment on column ops.tool_calls.resolved_by is 'Whose account that was.';
comment on column ops.tool_calls.resolved_at is 'When.';

/*
 * Everything whose outcome nobody knows and nobody has settled. A call that took effect as an outbound message waits for that
 * message as long as its outcome is open, and is not shown beside it.
 */
create view ops.unknown as
select 'outbound_message'::text as kind, m.ended_at as since, m.id as subject_id, m.environment,
  coalesce(m.target ->> 'robotCode', m.target #>> '{conversation,robotCode}') as robot_code,
  coalesce(m.target ->> 'conversationId', m.target #>> '{conversation,conversationId}') as conversation_id,
  m.content ->> 'kind' as what, m.reason as code, m.correlation_id
from outbound_sender.outbound_message m
where m.status = 'unknown'
union all
select 'tool_call', c.ended_at, c.id, c.environment, c.robot_code, c.conversation_id, c.tool, c.code, c.correlation_id
from agent_core.tool_call c
where c.status = 'unknown'
  and not exists (select from agent_core.tool_call_resolution s where s.tool_call_id = c.id)
  and not exists (select from agent_core.tool_attempt a
    join outbound_sender.outbound_message m on m.id = a.outbound_message_id
    where a.tool_call_id = c.id and m.status in ('unknown', 'queued', 'sending'));
comment on view ops.unknown is 'What nobody knows the outcome of, until a person settles it: outbound messages and calls.';
comment on column ops.unknown.kind is 'outbound_message or tool_call: which command settles it.';
comment on column ops.unknown.since is 'Since when.';
comment on column ops.unknown.subject_id is 'The message or call itself.';
comment on column ops.unknown.environment is 'test or production.';
comment on column ops.unknown.robot_code is 'The robot it is about.';
comment on column ops.unknown.conversation_id is 'The room it is about, if it is one.';
comment on column ops.unknown.what is 'What kind of content, or which tool.';
comment on column ops.unknown.code is 'Why nobody knows, in one word.';
comment on column ops.unknown.correlation_id is 'For ops.trace.';
grant select on ops.unknown to ops_reader, steward_operator, steward_agent_core;

-- What operators were told is unknown. One notice is one outbound message; it is never told about by another.
create table agent_core.unknown_notice (
  id uuid primary key,
  environment text not null check (environment in ('test', 'production')),
  subjects integer not null check (subjects > 0),
  told_at timestamptz not null default now()
);
create index unknown_notice_told on agent_core.unknown_notice (environment, told_at);
comment on column agent_core.unknown_notice.id is 'The outbound message that told it.';
create table agent_core.unknown_told (
  subject_id uuid not null,
  since timestamptz not null,
  notice_id uuid not null references agent_core.unknown_notice,
  primary key (subject_id, since)
);
comment on column agent_core.unknown_told.since is 'When it became unknown: a message that is sent again and ends unknown again is told again.';
grant select, insert on agent_core.unknown_notice, agent_core.unknown_told to steward_agent_core;

-- Bus messages that a service refused for good or gave up: copies of what died in its queues, for people to look at.
create table adapter.dead_letter (
  id uuid primary key,
  queue text not null,
  body_hash bytea not null check (length(body_hash) = 32),
  body bytea not null check (octet_length(body) <= 262144),
  bytes integer not null,
  type text,
  message_id text,
  correlation_id text,
  code text not null,
  state text not null default 'open' check (state in ('open', 'redriven', 'discarded')),
  died_count integer not null default 1,
  first_died_at timestamptz not null default now(),
  last_died_at timestamptz not null default now(),
  decisions integer not null default 0,
  decided_by text,
  decided_reason text,
  decided_at timestamptz,
  unique (queue, body_hash),
  check ((decisions = 0) = (decided_by is null))
);
create index dead_letter_open on adapter.dead_letter (last_died_at) where state = 'open';
comment on column adapter.dead_letter.body is 'As it was on the bus: addresses in it are sealed, words are not. Only its first 256 KiB.';
comment on column adapter.dead_letter.bytes is 'How long it was.';
comment on column adapter.dead_letter.code is 'Why it died the last time.';
comment on column adapter.dead_letter.state is 'redriven becomes open again when it dies again; discarded stays.';
create table agent_core.dead_letter (like adapter.dead_letter including all);
create table outbound_sender.dead_letter (like adapter.dead_letter including all);
grant select, insert, update on adapter.dead_letter to steward_adapter;
grant select, insert, update on agent_core.dead_letter to steward_agent_core;
grant select, insert, update on outbound_sender.dead_letter to steward_outbound_sender;

create table adapter.operator_request (like agent_core.operator_request including all);
grant select on adapter.operator_request to steward_adapter;
grant update (answered_at, answer, claimed_until) on adapter.operator_request to steward_adapter;
grant usage on schema adapter to steward_operator;
grant insert (id, verb, body, asked_by), select on adapter.operator_request to steward_operator;

-- Everything that ended badly and may be tried again: bus messages, and outbound messages that failed.
create view ops.dead as
select 'bus_message'::text as kind, l.service, l.id, l.state, l.type as what, l.queue, l.code, l.first_died_at, l.last_died_at,
  l.died_count, l.decisions, l.decided_by, l.decided_at, l.correlation_id
from (
  select 'adapter' as service, d.* from adapter.dead_letter d
  union all select 'agent-core', d.* from agent_core.dead_letter d
  union all select 'outbound-sender', d.* from outbound_sender.dead_letter d) l
union all
select 'outbound_message', 'outbound-sender', m.id, 'open', m.content ->> 'kind', null, m.reason, m.ended_at, m.ended_at,
  m.attempt_count, r.decisions, r.decided_by, r.decided_at, m.correlation_id::text
from outbound_sender.outbound_message m
cross join lateral (
  select count(*)::integer as decisions, (array_agg(d.decided_by order by d.number desc))[1] as decided_by,
    max(d.decided_at) as decided_at
  from outbound_sender.outbound_resolution d where d.outbound_message_id = m.id) r
where m.status = 'failed';
comment on view ops.dead is 'Bus messages that died in a queue, and outbound messages that failed.';
comment on column ops.dead.kind is 'bus_message or outbound_message.';
comment on column ops.dead.service is 'Whose it is.';
comment on column ops.dead.id is 'What steward dead names it by.';
comment on column ops.dead.state is 'open, redriven or discarded.';
comment on column ops.dead.what is 'The bus message''s type as it was sent, or what kind of content.';
comment on column ops.dead.queue is 'In which queue it died.';
comment on column ops.dead.code is 'Why.';
comment on column ops.dead.first_died_at is 'When it died first.';
comment on column ops.dead.last_died_at is 'When it died last.';
comment on column ops.dead.died_count is 'How often it died; of an outbound message, how often it was tried.';
comment on column ops.dead.decisions is 'How often a person decided about it.';
comment on column ops.dead.decided_by is 'Whose account that was, the last time.';
comment on column ops.dead.decided_at is 'When.';
comment on column ops.dead.correlation_id is 'For ops.trace; of a bus message, as its sender said.';

-- What was in a dead bus message. Not for ops_reader: it holds what people wrote.
create view ops.dead_content as
select l.id, l.body, l.bytes from (
  select id, body, bytes from adapter.dead_letter union all select id, body, bytes from agent_core.dead_letter
  union all select id, body, bytes from outbound_sender.dead_letter) l;
comment on view ops.dead_content is 'What dead bus messages hold: for operators alone.';
comment on column ops.dead_content.id is 'The letter.';
comment on column ops.dead_content.body is 'Its bytes, the first 256 KiB.';
comment on column ops.dead_content.bytes is 'How long it was.';
grant select on ops.dead to ops_reader, steward_operator;
grant select on ops.dead_content to steward_operator;

-- Whether a message is what a tool's call takes effect by: such a call, once failed, is asked for anew and never redriven.
create function ops.is_effect_of_call(outbound_message_id uuid) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select exists (select from agent_core.tool_attempt a where a.outbound_message_id = $1)
$$;
comment on function ops.is_effect_of_call(uuid) is 'Whether this outbound message is the effect of a call of a tool.';
revoke execute on function ops.is_effect_of_call(uuid) from public;
grant usage on schema ops to steward_outbound_sender;
grant execute on function ops.is_effect_of_call(uuid) to steward_outbound_sender;
