-- What agent-core remembers of a conversation so that one room never costs another, or itself, its answers.
alter table agent_core.conversation
  add column full_told_at timestamptz;
comment on column agent_core.conversation.full_told_at is 'When the room last heard that as many of its requests wait as may.';

-- A turn that was not run because too many of its conversation waited has ended with its recording: it never had an attempt.
comment on column agent_core.turn.outcome is 'How it came out, as the audit entry `turn.ended` says it; `not_run.…` for a turn that was recorded and never begun.';
