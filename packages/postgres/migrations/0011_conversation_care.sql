-- What agent-core remembers of a conversation so that one room never costs another, or itself, its answers.
alter table agent_core.conversation
  add column full_told_at timestamptz,
  add column failures integer not null default 0 check (failures >= 0),
  add column cool_until timestamptz,
  add column error_code text,
  add column error_told_at timestamptz,
  add column errors_untold integer not null default 0 check (errors_untold >= 0);
comment on column agent_core.conversation.full_told_at is 'When the room last heard that as many of its requests wait as may.';
comment on column agent_core.conversation.failures is 'Turns that failed one after the other, commands apart.';
comment on column agent_core.conversation.cool_until is 'Nothing but commands is begun here before: the last turns failed.';
comment on column agent_core.conversation.error_told_at is 'When the room last heard of an error, the one of error_code.';
comment on column agent_core.conversation.errors_untold is 'How often the same error was not said again since then.';

-- A turn that was not run (its conversation is full, or robots talk to each other) has ended with its recording.
comment on column agent_core.turn.outcome is 'How it came out, as the audit entry `turn.ended` says it; `not_run.…` for a turn that was recorded and never begun.';
