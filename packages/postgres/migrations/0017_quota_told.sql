-- What the operators were told is used up: once a day, however many messages and replicas meet it.
create table agent_core.quota_told (
  quota text not null check (quota in ('api_calls', 'messages')),
  environment text not null check (environment in ('test', 'production')),
  told_on date not null,
  outbound_message_id uuid not null,
  primary key (quota, environment, told_on)
);
comment on column agent_core.quota_told.told_on is 'The day in China: the platform counts by its months.';
grant select, insert on agent_core.quota_told to steward_agent_core;
