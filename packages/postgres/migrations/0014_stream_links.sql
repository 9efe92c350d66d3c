-- Which processes hold a Stream connection, and the times in which none did (ADR 0016).

-- One row for a robot and a process: written every few seconds while the process has a connection on which pushes can arrive.
create table adapter.stream_link (
  robot_code text not null,
  process_id uuid not null,
  alive_at timestamptz not null default now(),
  connection_ids text[] not null,
  primary key (robot_code, process_id)
);
comment on column adapter.stream_link.alive_at is 'When this process last could hear the robot, by the database''s clock.';
comment on column adapter.stream_link.connection_ids is 'The platform''s ids of its connections, as far as frames told them.';

create table adapter.stream_gap (
  id uuid primary key,
  robot_code text not null,
  process_id uuid not null,
  from_at timestamptz not null,
  to_at timestamptz not null,
  is_covered boolean not null,
  is_told boolean not null,
  check (from_at <= to_at),
  check (not (is_covered and is_told))
);
create index stream_gap_robot on adapter.stream_gap (robot_code, to_at);
comment on column adapter.stream_gap.process_id is 'The process whose connection came back.';
comment on column adapter.stream_gap.is_covered is 'Another process had a connection when it came back: new messages went there.';
comment on column adapter.stream_gap.is_told is 'agent-core was asked to tell the rooms that were active.';

grant select, insert, update, delete on adapter.stream_link to steward_adapter;
grant select, insert on adapter.stream_gap to steward_adapter;

create view ops.stream_gaps as
select robot_code, from_at, to_at, extract(epoch from to_at - from_at)::double precision as seconds, is_covered, is_told, id as gap_id
from adapter.stream_gap;
comment on view ops.stream_gaps is 'When a process of the adapter had no Stream connection, and what came of it.';
comment on column ops.stream_gaps.robot_code is 'The robot that could not be heard.';
comment on column ops.stream_gaps.from_at is 'The last moment it could be heard.';
comment on column ops.stream_gaps.to_at is 'When a connection was there again.';
comment on column ops.stream_gaps.seconds is 'How long it was.';
comment on column ops.stream_gaps.is_covered is 'Another process had a connection: new messages went there.';
comment on column ops.stream_gaps.is_told is 'Whether active rooms were told.';
comment on column ops.stream_gaps.gap_id is 'The subject of the audit entry link.interrupted.';
grant select on ops.stream_gaps to ops_reader, steward_operator;
