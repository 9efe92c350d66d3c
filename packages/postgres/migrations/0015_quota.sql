-- What the month's API calls were spent on (ADR 0020). The platform counts them for an organisation; robots are of one by configuration.
create table outbound_sender.quota_use (
  month date not null,
  budget text not null,
  path text not null,
  lane text not null check (lane in ('control', 'approval', 'answer', 'bulk')),
  used bigint not null check (used > 0),
  primary key (month, budget, path, lane)
);
comment on column outbound_sender.quota_use.month is 'The first day of a month in China, where the platform counts.';
comment on column outbound_sender.quota_use.budget is 'The robot in whose name was called.';
grant select, insert, update on outbound_sender.quota_use to steward_outbound_sender;

create view ops.api_calls as
select month, budget, path, lane, used from outbound_sender.quota_use;
comment on view ops.api_calls is 'Calls that count against the month''s quota, by what they were for.';
comment on column ops.api_calls.month is 'The first day of the month.';
comment on column ops.api_calls.budget is 'The robot in whose name was called.';
comment on column ops.api_calls.path is 'By which API: a message to a group or a person, a card, its update, a recall.';
comment on column ops.api_calls.lane is 'How urgent it was: control, approval, answer or bulk.';
comment on column ops.api_calls.used is 'How many calls, those refused for their rate left out.';
grant select on ops.api_calls to ops_reader, steward_operator, steward_agent_core;
