alter table adapter.stream_link add column is_deaf boolean not null default false;
comment on column adapter.stream_link.is_deaf is 'The process said itself that it hears nothing any more: its connections are gone, or it stopped.';
