#!/bin/sh
# The database's roles with the passwords of the secret files. Runs at the first start, again in the one-shot `roles` at
# every start (with PGHOST), and by hand when a password was changed (deploy/README.md, "Rotating a password"): running it
# twice changes nothing else.
set -eu

secrets=/run/steward/secrets
if [ -n "${PGHOST-}" ]; then
  PGPASSWORD=$(cat "$secrets/postgres-superuser.password")
  export PGPASSWORD PGCONNECT_TIMEOUT=10
fi

psql -v ON_ERROR_STOP=1 --no-psqlrc --no-password --quiet --username "${POSTGRES_USER:-postgres}" --dbname steward <<'SQL'
-- A failing statement must not write the password it carries into the log.
set log_min_error_statement = 'panic';
set log_statement = 'none';

\set superuser_password `cat /run/steward/secrets/postgres-superuser.password`
\set owner_password `cat /run/steward/secrets/postgres-owner.password`
\set adapter_password `cat /run/steward/secrets/postgres-adapter.password`
\set agent_core_password `cat /run/steward/secrets/postgres-agent-core.password`
\set outbound_sender_password `cat /run/steward/secrets/postgres-outbound-sender.password`
\set sealer_password `cat /run/steward/secrets/postgres-sealer.password`
\set operator_password `cat /run/steward/secrets/postgres-operator.password`
\set ops_reader_password `cat /run/steward/secrets/postgres-ops-reader.password`

-- All or nothing, and one at a time: two at once would fail each other.
begin;
select pg_advisory_xact_lock(hashtext('steward roles')) \g /dev/null

select format('create role %I', role)
  from unnest(array['steward_owner', 'steward_adapter', 'steward_agent_core', 'steward_outbound_sender',
    'steward_sealer', 'steward_operator', 'ops_reader']) as role
 where not exists (select from pg_roles where rolname = role) \gexec

alter role postgres password :'superuser_password';
alter role steward_owner login nosuperuser nocreatedb nocreaterole noreplication password :'owner_password';
alter role steward_adapter login nosuperuser nocreatedb nocreaterole noreplication password :'adapter_password';
alter role steward_agent_core login nosuperuser nocreatedb nocreaterole noreplication password :'agent_core_password';
alter role steward_outbound_sender login nosuperuser nocreatedb nocreaterole noreplication password :'outbound_sender_password';
alter role steward_sealer login nosuperuser nocreatedb nocreaterole noreplication password :'sealer_password';
-- People: a forgotten session or a heavy question must not take the services' connections.
alter role steward_operator login nosuperuser nocreatedb nocreaterole noreplication connection limit 10 password :'operator_password';
alter role ops_reader login nosuperuser nocreatedb nocreaterole noreplication connection limit 10 password :'ops_reader_password';

-- Limits that hold even when a service forgets its own. The owner only migrates, which may take longer; the operator
-- verifies and exports whole logs.
alter role steward_adapter set statement_timeout = '20s';
alter role steward_agent_core set statement_timeout = '20s';
alter role steward_outbound_sender set statement_timeout = '20s';
alter role steward_sealer set statement_timeout = '60s';
alter role steward_operator set statement_timeout = '5min';
alter role ops_reader set statement_timeout = '30s';
alter role steward_owner set statement_timeout = '15min';
alter role steward_adapter set lock_timeout = '10s';
alter role steward_agent_core set lock_timeout = '10s';
alter role steward_outbound_sender set lock_timeout = '10s';
alter role steward_sealer set lock_timeout = '10s';
alter role steward_operator set lock_timeout = '10s';
alter role ops_reader set lock_timeout = '5s';
alter role steward_owner set lock_timeout = '30s';
alter role ops_reader set default_transaction_read_only = on;

alter database steward owner to steward_owner;
revoke all on database steward from public;
grant connect on database steward to steward_adapter, steward_agent_core, steward_outbound_sender,
  steward_sealer, steward_operator, ops_reader;
revoke all on schema public from public;
revoke connect on database postgres from public;
revoke connect on database template1 from public;
commit;
SQL
