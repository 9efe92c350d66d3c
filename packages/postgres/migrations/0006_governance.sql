-- Tool calls, their approvals, grants and attempts. What must never happen is refused here, whatever the code above it does.

-- A turn that waits for people resumes under a higher attempt; only the attempts since then count as crashes.
alter table agent_core.turn add column resumed_at_attempt integer not null default 0;
-- Whether one of these has something to do is asked every second.
create index turn_waiting on agent_core.turn (id) where status = 'waiting';
comment on column agent_core.turn.resumed_at_attempt is 'The attempt before the turn last went on after a wait: crashes are counted from here.';

-- The policy set that counts now. A replica that has loaded another one judges no call (note C4).
create table agent_core.active_policy (
  only_one boolean primary key default true check (only_one),
  policy_hash text not null,
  tools_hash text not null,
  activated_at timestamptz not null default now()
);
comment on column agent_core.active_policy.tools_hash is 'Over the definitions of all tools: replicas with other tools must not judge each other''s approvals.';

-- The kill switch of each environment. Opening an attempt locks its row, so a freeze and an attempt have an order.
create table agent_core.freeze (
  environment text primary key check (environment in ('test', 'production')),
  frozen boolean not null default false,
  changed_by text,
  reason text,
  changed_at timestamptz not null default now(),
  check (not frozen or changed_by is not null)
);
insert into agent_core.freeze (environment) values ('test'), ('production');
comment on column agent_core.freeze.changed_by is 'Who moved the switch last: `person <corpId> <staffId>`, or `os <user>` for the command line.';

create function agent_core.check_freeze() returns trigger language plpgsql as $$
begin
  -- While it is frozen the row changes in one way only, so that nobody puts another name on it first.
  if old.frozen and (new.frozen or new.changed_by is not distinct from old.changed_by) then
    raise exception 'whoever froze cannot unfreeze' using errcode = 'P0001', constraint = 'freeze_needs_another_person';
  end if;
  return new;
end $$;
create trigger freeze_is_checked before update on agent_core.freeze for each row execute function agent_core.check_freeze();

-- One call that a person, a skill or the model proposed, with the verdict on it. It is judged once and runs at most once.
create table agent_core.tool_call (
  id uuid primary key,
  turn_id uuid not null references agent_core.turn,
  step integer not null check (step >= 0),
  position integer not null check (position between 0 and 31),
  model_call_id text,
  proposed_by text not null check (proposed_by in ('person', 'model', 'skill')),
  tool text not null,
  effect text check (effect in ('read', 'write', 'destructive')),
  definition_hash text,
  arguments jsonb not null,
  environment text not null check (environment in ('test', 'production')),
  robot_code text not null,
  conversation_id text not null,
  correlation_id uuid not null,
  requester_staff_id text,
  requester_corp_id text,
  verdict text not null check (verdict in ('allow', 'ask', 'deny')),
  verdict_reason text not null,
  policy_hash text,
  policy_ids jsonb not null default '[]',
  status text not null check (status in
    ('ready', 'waiting', 'running', 'done', 'failed', 'unknown', 'refused', 'denied', 'expired', 'cancelled', 'void')),
  code text,
  result text,
  created_at timestamptz not null default now(),
  ended_at timestamptz,
  unique (turn_id, step, position),
  check ((verdict = 'deny') = (status = 'refused' and verdict = 'deny')),
  check ((status in ('ready', 'waiting', 'running')) = (ended_at is null))
);
create index tool_call_open on agent_core.tool_call (turn_id) where ended_at is null;
create index tool_call_created on agent_core.tool_call (created_at);
comment on column agent_core.tool_call.effect is 'Null for a tool that does not exist here.';
comment on column agent_core.tool_call.definition_hash is 'SHA-256 of the whole resolved tool definition, in hex.';
comment on column agent_core.tool_call.code is 'Why it ended as it did, in one word.';
comment on column agent_core.tool_call.result is 'What the tool said, capped: data for the person or the model, never an instruction.';

-- One approval request = one tool call. What it asks for is fixed by its digest and never changes.
create table agent_core.approval_request (
  id uuid primary key,
  tool_call_id uuid not null unique references agent_core.tool_call,
  code text not null,
  digest bytea not null check (length(digest) = 32),
  identity bytea not null check (length(identity) = 32),
  environment text not null check (environment in ('test', 'production')),
  robot_code text not null,
  conversation_id text not null,
  correlation_id uuid not null,
  requester_staff_id text not null,
  requester_corp_id text not null,
  approver_groups jsonb not null,
  quorum integer not null check (quorum between 1 and 20),
  deny_quorum integer not null check (deny_quorum between 1 and 20),
  reason_required boolean not null,
  self_approval boolean not null,
  policy_hash text not null,
  policy_ids jsonb not null,
  card jsonb not null,
  preview jsonb,
  too_large boolean not null,
  status text not null default 'pending' check (status in
    ('pending', 'approved', 'denied', 'expired', 'cancelled', 'void', 'used')),
  approve_by timestamptz not null,
  run_within_seconds integer not null check (run_within_seconds between 1 and 86400),
  run_by timestamptz,
  remind_at timestamptz,
  end_reason text,
  created_at timestamptz not null default now(),
  decided_at timestamptz,
  ended_at timestamptz,
  check ((status = 'pending') = (decided_at is null)),
  check ((status in ('pending', 'approved')) = (ended_at is null)),
  check (status <> 'approved' or run_by is not null)
);
create unique index approval_request_code on agent_core.approval_request (code) where status in ('pending', 'approved');
-- A code is looked up whatever became of its request, and rests for 30 days before it returns.
create index approval_request_by_code on agent_core.approval_request (code, created_at);
-- An identical call that is still open is shown, not asked for twice.
create unique index approval_request_identity on agent_core.approval_request (identity) where status in ('pending', 'approved');
create index approval_request_open on agent_core.approval_request (robot_code, conversation_id) where status in ('pending', 'approved');
create index approval_request_due on agent_core.approval_request (approve_by) where status = 'pending';
create index approval_request_to_run on agent_core.approval_request (run_by) where status = 'approved';
create index approval_request_remind on agent_core.approval_request (remind_at) where status = 'pending' and remind_at is not null;
comment on column agent_core.approval_request.digest is 'SHA-256 over canonical JSON of id, tool definition hash, arguments, requester, room, robot and environment.';
comment on column agent_core.approval_request.identity is 'The same without the id: two requests with one identity ask for the same thing.';
comment on column agent_core.approval_request.approver_groups is 'Roles: at least one approver of each group, any role of a group.';
comment on column agent_core.approval_request.card is 'What approvers were shown.';
comment on column agent_core.approval_request.too_large is 'The arguments do not fit a card: an approval counts only from somebody who was shown all of it.';

-- One person, one vote, never taken back.
create table agent_core.approval_vote (
  request_id uuid not null references agent_core.approval_request,
  corp_id text not null,
  staff_id text not null,
  decision text not null check (decision in ('approve', 'deny')),
  reason text,
  roles jsonb not null,
  door text not null check (door in ('http', 'stream', 'card', 'cli')),
  robot_code text,
  conversation_id text,
  conversation_kind text check (conversation_kind in ('single', 'group')),
  source_id uuid,
  voted_at timestamptz not null default now(),
  primary key (request_id, corp_id, staff_id)
);
comment on column agent_core.approval_vote.roles is 'The roles this person held when deciding.';
comment on column agent_core.approval_vote.source_id is 'The inbound event or operator request that carried the decision.';

-- Where a request was shown in a room; a decision counts only from such a place or from the approver''s own single chat.
create table agent_core.approval_place (
  request_id uuid not null references agent_core.approval_request,
  robot_code text not null,
  conversation_id text not null,
  kind text not null check (kind in ('room', 'approvals_room', 'single')),
  out_track_id text unique,
  last_outbound_id uuid,
  primary key (request_id, robot_code, conversation_id)
);
comment on column agent_core.approval_place.last_outbound_id is 'The newest outbound message about it there: the next card update waits for it.';

-- Who was shown every byte of a request that does not fit a card.
create table agent_core.approval_shown (
  request_id uuid not null references agent_core.approval_request,
  corp_id text not null,
  staff_id text not null,
  shown_at timestamptz not null default now(),
  primary key (request_id, corp_id, staff_id)
);

-- Break-glass: somebody with the role may act without waiting for approvers, for minutes, on one tool. It must be signed
-- off by another person, and until then nobody of that environment can break glass again.
create table agent_core.break_glass (
  id uuid primary key,
  environment text not null check (environment in ('test', 'production')),
  robot_code text not null,
  conversation_id text not null,
  corp_id text not null,
  staff_id text not null,
  tool text not null,
  reason text not null,
  correlation_id uuid not null,
  opened_at timestamptz not null default now(),
  until_at timestamptz not null,
  reviewed_by_corp_id text,
  reviewed_by_staff_id text,
  review_note text,
  reviewed_at timestamptz,
  check (until_at > opened_at and until_at <= opened_at + interval '60 minutes'),
  check ((reviewed_at is null) = (reviewed_by_staff_id is null)),
  check ((reviewed_by_corp_id, reviewed_by_staff_id) <> (corp_id, staff_id))
);
create unique index break_glass_unreviewed on agent_core.break_glass (environment) where reviewed_at is null;

-- The right to make one call: from an approval, or taken by breaking glass. Used up by the attempt that it opens.
create table agent_core.tool_grant (
  id uuid primary key,
  tool_call_id uuid not null unique references agent_core.tool_call,
  approval_request_id uuid unique references agent_core.approval_request,
  break_glass_id uuid references agent_core.break_glass,
  digest bytea not null check (length(digest) = 32),
  run_by timestamptz not null,
  max_attempts integer not null check (max_attempts between 1 and 3),
  granted_at timestamptz not null default now(),
  consumed_at timestamptz,
  check ((approval_request_id is null) <> (break_glass_id is null))
);

create index tool_grant_break_glass on agent_core.tool_grant (break_glass_id) where break_glass_id is not null;

-- Written before the call is made: a process that dies in between leaves an attempt that says "unknown".
create table agent_core.tool_attempt (
  id uuid primary key,
  tool_call_id uuid not null references agent_core.tool_call,
  number integer not null check (number > 0),
  grant_id uuid references agent_core.tool_grant,
  turn_attempt integer not null,
  idempotency_key text not null,
  outbound_message_id uuid unique,
  opened_at timestamptz not null default now(),
  closed_at timestamptz,
  outcome text not null default 'unknown' check (outcome in ('unknown', 'done', 'failed')),
  code text,
  duration_ms integer,
  unique (tool_call_id, number)
);
create index tool_attempt_open on agent_core.tool_attempt (opened_at) where closed_at is null;
comment on column agent_core.tool_attempt.outbound_message_id is 'The call takes effect in outbound-sender: this attempt stays open until that message has ended.';

-- How often a tool may be called for one target: the generic cell rate algorithm on the database's clock.
create table agent_core.tool_budget (
  budget text primary key,
  next_free_at timestamptz not null
);

-- What the platform said about people, for minutes. Nothing follows from a row that is old.
create table agent_core.directory_person (
  corp_id text not null,
  staff_id text not null,
  robot_code text not null,
  state text not null check (state in ('unknown', 'active', 'absent', 'left')),
  role_ids jsonb not null default '[]',
  department_ids jsonb not null default '[]',
  looked_up_at timestamptz,
  asked_at timestamptz,
  lookup_id uuid,
  primary key (corp_id, staff_id)
);
comment on column agent_core.directory_person.lookup_id is 'The newest question; an answer to an older one counts no more.';

-- What an operator asked for at the command line: recorded by the operator''s role, worked on by agent-core.
create table agent_core.operator_request (
  id uuid primary key,
  verb text not null,
  body jsonb not null,
  asked_by text not null,
  asked_at timestamptz not null default now(),
  claimed_until timestamptz,
  answered_at timestamptz,
  answer jsonb,
  check (octet_length(body::text) <= 65536)
);
create index operator_request_open on agent_core.operator_request (asked_at) where answered_at is null;
comment on column agent_core.operator_request.asked_by is 'The account of the operating system: a name for the record, and no proof of who it was.';

-- The days whose checkpoint was said in a room.
create table agent_core.checkpoint_told (
  day date primary key,
  block_number bigint not null,
  told_at timestamptz not null default now()
);

/* --- the rules of approvals, as the database sees them --- */

create function agent_core.refuse_approval(rule text) returns void language plpgsql as $$
begin
  raise exception 'approval refused: %', rule using errcode = 'P0001', constraint = rule;
end $$;

-- A vote counts only while the request is pending and in time, from somebody who holds a role it asks for and is not the requester.
create function agent_core.check_vote() returns trigger language plpgsql as $$
declare
  r agent_core.approval_request;
begin
  select * into strict r from agent_core.approval_request where id = new.request_id for update;
  new.voted_at := clock_timestamp();
  if r.status <> 'pending' then perform agent_core.refuse_approval('vote_on_closed_request'); end if;
  if new.voted_at >= r.approve_by then perform agent_core.refuse_approval('vote_after_expiry'); end if;
  if (new.corp_id, new.staff_id) = (r.requester_corp_id, r.requester_staff_id)
    and new.decision = 'approve' and not r.self_approval then
    perform agent_core.refuse_approval('vote_of_requester');
  end if;
  if new.corp_id <> r.requester_corp_id then perform agent_core.refuse_approval('vote_of_another_corp'); end if;
  if not exists (
    select from jsonb_array_elements(r.approver_groups) as g (roles), jsonb_array_elements_text(g.roles) as wanted (role)
    where new.roles ? wanted.role) then
    perform agent_core.refuse_approval('vote_without_role');
  end if;
  if new.door <> 'cli'
    and not (coalesce(new.conversation_kind, '') = 'single' and new.robot_code = r.robot_code)
    and not exists (
      select from agent_core.approval_place p
      where p.request_id = r.id and (p.robot_code, p.conversation_id) = (new.robot_code, new.conversation_id)) then
    perform agent_core.refuse_approval('vote_in_wrong_place');
  end if;
  if new.decision = 'approve' and r.reason_required and coalesce(btrim(new.reason), '') = '' then
    perform agent_core.refuse_approval('vote_without_reason');
  end if;
  if new.decision = 'approve' and r.too_large and not exists (
    select from agent_core.approval_shown s
    where (s.request_id, s.corp_id, s.staff_id) = (new.request_id, new.corp_id, new.staff_id)) then
    perform agent_core.refuse_approval('vote_unseen');
  end if;
  return new;
end $$;
create trigger vote_is_checked before insert on agent_core.approval_vote for each row execute function agent_core.check_vote();

-- Enough people, and one of each group. The vote of somebody who has left the organisation counts no more.
create function agent_core.is_approved(r agent_core.approval_request) returns boolean language sql stable as $$
  with counted as (
    select v.roles from agent_core.approval_vote v
    where v.request_id = r.id and v.decision = 'approve' and not exists (
      select from agent_core.directory_person d
      where (d.corp_id, d.staff_id) = (v.corp_id, v.staff_id) and d.state = 'left'))
  select (select count(*) from counted) >= r.quorum
    and not exists (
      select from jsonb_array_elements(r.approver_groups) as g (roles)
      where not exists (
        select from counted, jsonb_array_elements_text(g.roles) as wanted (role) where counted.roles ? wanted.role))
$$;

-- What a request asks for never changes, it moves only forward, and it is approved only by enough votes in time.
create function agent_core.check_request() returns trigger language plpgsql as $$
begin
  if tg_op = 'INSERT' then
    if new.status <> 'pending' then perform agent_core.refuse_approval('request_born_decided'); end if;
    return new;
  end if;
  if (to_jsonb(new) - array['status', 'run_by', 'remind_at', 'end_reason', 'decided_at', 'ended_at'])
    <> (to_jsonb(old) - array['status', 'run_by', 'remind_at', 'end_reason', 'decided_at', 'ended_at']) then
    perform agent_core.refuse_approval('request_is_fixed');
  end if;
  if new.status = old.status then
    if new.run_by is distinct from old.run_by then perform agent_core.refuse_approval('request_is_fixed'); end if;
    return new;
  end if;
  if not ((old.status = 'pending' and new.status in ('approved', 'denied', 'expired', 'cancelled', 'void'))
    or (old.status = 'approved' and new.status in ('used', 'expired', 'cancelled', 'void'))) then
    perform agent_core.refuse_approval('request_moves_forward');
  end if;
  if new.status = 'approved' then
    if clock_timestamp() >= new.approve_by then perform agent_core.refuse_approval('approval_after_expiry'); end if;
    if not agent_core.is_approved(new) then perform agent_core.refuse_approval('approval_without_quorum'); end if;
    if new.run_by > clock_timestamp() + new.run_within_seconds * interval '1 s' then
      perform agent_core.refuse_approval('approval_runs_too_late');
    end if;
  end if;
  if new.status = 'denied' and (select count(*) from agent_core.approval_vote v
      where v.request_id = new.id and v.decision = 'deny') < new.deny_quorum then
    perform agent_core.refuse_approval('denial_without_vote');
  end if;
  return new;
end $$;
create trigger request_is_checked before insert or update on agent_core.approval_request
  for each row execute function agent_core.check_request();

-- What was judged is what runs: of a call only its state moves, and it ends once.
create function agent_core.check_call() returns trigger language plpgsql as $$
begin
  if (to_jsonb(new) - array['status', 'code', 'result', 'ended_at'])
    <> (to_jsonb(old) - array['status', 'code', 'result', 'ended_at']) then
    perform agent_core.refuse_approval('call_is_fixed');
  end if;
  if old.ended_at is not null then perform agent_core.refuse_approval('call_has_ended'); end if;
  return new;
end $$;
create trigger call_is_checked before update on agent_core.tool_call for each row execute function agent_core.check_call();

-- Broken glass is signed off once; for what it was broken never changes.
create function agent_core.check_glass() returns trigger language plpgsql as $$
begin
  if old.reviewed_at is not null
    or (to_jsonb(new) - array['reviewed_by_corp_id', 'reviewed_by_staff_id', 'review_note', 'reviewed_at'])
    <> (to_jsonb(old) - array['reviewed_by_corp_id', 'reviewed_by_staff_id', 'review_note', 'reviewed_at']) then
    perform agent_core.refuse_approval('glass_is_fixed');
  end if;
  return new;
end $$;
create trigger glass_is_checked before update on agent_core.break_glass for each row execute function agent_core.check_glass();

-- A grant belongs to an approved request of the same digest, or to glass that is broken for this tool by this person now.
create function agent_core.check_grant() returns trigger language plpgsql as $$
declare
  c agent_core.tool_call;
begin
  if tg_op = 'UPDATE' then
    if (to_jsonb(new) - 'consumed_at') <> (to_jsonb(old) - 'consumed_at') or old.consumed_at is not null then
      perform agent_core.refuse_approval('grant_is_fixed');
    end if;
    return new;
  end if;
  select * into strict c from agent_core.tool_call where id = new.tool_call_id;
  if c.verdict <> 'ask' then perform agent_core.refuse_approval('grant_for_unasked_call'); end if;
  if new.approval_request_id is not null and not exists (
    select from agent_core.approval_request r
    where r.id = new.approval_request_id and r.tool_call_id = new.tool_call_id and r.status = 'approved'
      and r.digest = new.digest and r.run_by = new.run_by) then
    perform agent_core.refuse_approval('grant_without_approval');
  end if;
  if new.break_glass_id is not null and not exists (
    select from agent_core.break_glass b
    where b.id = new.break_glass_id and b.tool = c.tool and b.environment = c.environment
      and (b.corp_id, b.staff_id) = (c.requester_corp_id, c.requester_staff_id)
      and (b.robot_code, b.conversation_id) = (c.robot_code, c.conversation_id)
      and b.reviewed_at is null and b.until_at > clock_timestamp() and new.run_by <= b.until_at) then
    perform agent_core.refuse_approval('grant_without_break_glass');
  end if;
  return new;
end $$;
create trigger grant_is_checked before insert or update on agent_core.tool_grant
  for each row execute function agent_core.check_grant();

-- An attempt of anything but a read needs what the verdict asked for, unfrozen, in time, and not yet used up.
create function agent_core.check_attempt() returns trigger language plpgsql as $$
declare
  c agent_core.tool_call;
  g agent_core.tool_grant;
  is_frozen boolean;
begin
  if tg_op = 'UPDATE' then
    if old.closed_at is not null then perform agent_core.refuse_approval('attempt_is_closed'); end if;
    if (new.tool_call_id, new.number, new.opened_at) <> (old.tool_call_id, old.number, old.opened_at)
      or new.grant_id is distinct from old.grant_id then
      perform agent_core.refuse_approval('attempt_is_fixed');
    end if;
    return new;
  end if;
  select * into strict c from agent_core.tool_call where id = new.tool_call_id;
  if c.verdict = 'deny' then perform agent_core.refuse_approval('attempt_of_denied_call'); end if;
  if c.ended_at is not null then perform agent_core.refuse_approval('attempt_of_ended_call'); end if;
  if new.number > 3 then perform agent_core.refuse_approval('attempt_too_many'); end if;
  if c.effect is distinct from 'read' then
    select f.frozen into strict is_frozen from agent_core.freeze f where f.environment = c.environment for share;
    if is_frozen then perform agent_core.refuse_approval('attempt_while_frozen'); end if;
  end if;
  -- The clock that counts is the one after every wait for the switch.
  new.opened_at := clock_timestamp();
  if c.verdict = 'allow' then return new; end if;
  select * into g from agent_core.tool_grant where id = new.grant_id for share;
  if g.id is null or g.tool_call_id <> new.tool_call_id then perform agent_core.refuse_approval('attempt_without_grant'); end if;
  if g.consumed_at is null then perform agent_core.refuse_approval('attempt_without_consuming'); end if;
  if new.number > g.max_attempts then perform agent_core.refuse_approval('attempt_of_used_grant'); end if;
  if new.opened_at >= g.run_by then perform agent_core.refuse_approval('attempt_after_run_by'); end if;
  if g.approval_request_id is not null and not exists (
    select from agent_core.approval_request r where r.id = g.approval_request_id and r.status in ('approved', 'used')) then
    perform agent_core.refuse_approval('attempt_of_closed_request');
  end if;
  if g.break_glass_id is not null and new.number = 1 and not exists (
    select from agent_core.break_glass b where b.id = g.break_glass_id and b.reviewed_at is null) then
    perform agent_core.refuse_approval('attempt_of_reviewed_glass');
  end if;
  return new;
end $$;
create trigger attempt_is_checked before insert or update on agent_core.tool_attempt
  for each row execute function agent_core.check_attempt();

grant select, insert, update on agent_core.active_policy, agent_core.freeze, agent_core.tool_call, agent_core.approval_request,
  agent_core.approval_place, agent_core.break_glass, agent_core.tool_grant, agent_core.tool_attempt, agent_core.tool_budget,
  agent_core.directory_person to steward_agent_core;
grant select, insert on agent_core.approval_vote, agent_core.approval_shown, agent_core.checkpoint_told to steward_agent_core;
grant select on agent_core.operator_request to steward_agent_core;
grant update (answered_at, answer, claimed_until) on agent_core.operator_request to steward_agent_core;

-- A click is recorded when it comes and decided from its row.
alter table agent_core.card_click add column decided_at timestamptz, add column outcome text, add column claimed_until timestamptz;
update agent_core.card_click set decided_at = now(), outcome = 'ignored';
create index card_click_open on agent_core.card_click (recorded_at) where decided_at is null;
grant update (decided_at, outcome, claimed_until) on agent_core.card_click to steward_agent_core;

-- The robot's line of a turn that waits is written again when the turn ends.
grant update (text) on agent_core.transcript to steward_agent_core;

-- The operator's command line records what it wants and reads what came of it; it changes nothing here by itself.
grant usage on schema agent_core to steward_operator;
grant insert (id, verb, body, asked_by), select on agent_core.operator_request to steward_operator;
grant select on agent_core.approval_request, agent_core.approval_vote, agent_core.tool_call, agent_core.freeze to steward_operator;
