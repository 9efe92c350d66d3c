import { createHash, randomBytes } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { lastLines, runCommand } from './run-command.ts';
import { requireServerUrl, testRunId } from './test-run.ts';
import { waitUntil } from './wait-until.ts';

/** The roles a deployment creates; migrations only grant to them. */
export const databaseRoles = [
  'steward_owner',
  'steward_adapter',
  'steward_agent_core',
  'steward_outbound_sender',
  'steward_sealer',
  'steward_operator',
  'ops_reader',
] as const;
export type DatabaseRole = (typeof databaseRoles)[number];
const rolePassword = 'steward-test';
const postgresPackage = join(import.meta.dirname, '..', '..', 'postgres');
const privilegesFile = join(import.meta.dirname, '..', '..', 'contracts', 'src', 'privileges.ts');

/** A database of one test file. `adminUrl` is the superuser's, `url(role)` what a service would be given. */
export type TestDatabase = {
  name: string;
  adminUrl: string;
  url(role: DatabaseRole): string;
  drop(): Promise<void>;
};

/**
 * A fresh database on the server of DATABASE_URL, owned by steward_owner. By default it is a clone of a template that
 * is migrated once for each run and state of packages/postgres, which takes well under a second;
 * `migrated: false` gives an empty one. Any number of test processes may call this at once.
 */
export async function createTestDatabase(options: { migrated?: boolean } = {}): Promise<TestDatabase> {
  const serverUrl = requireServerUrl('DATABASE_URL');
  const name = `${databasePrefix()}${randomBytes(6).toString('hex')}`;
  await withServer(serverUrl, async (client) => {
    const template = await withLock(client, async () => {
      await createRoles(client);
      return options.migrated === false ? 'template0' : await ensureTemplate(client, serverUrl);
    });
    await createDatabase(client, name, template);
  });
  return {
    name,
    adminUrl: urlOf(serverUrl, name),
    url: (role) => urlOf(serverUrl, name, role),
    drop: () => withServer(serverUrl, (client) => dropDatabase(client, name)),
  };
}

/** Drops every database of this run: the runner's last act on a server that it did not start itself. */
export async function dropDatabasesOfRun(): Promise<void> {
  await withServer(requireServerUrl('DATABASE_URL'), async (client) => {
    const { rows } = await client.query<{ datname: string }>(
      'select datname from pg_database where starts_with(datname, $1)',
      [databasePrefix()],
    );
    for (const row of rows) await dropDatabase(client, row.datname);
  });
}

const databasePrefix = () => `steward_test_${testRunId()}_`;

/** Roles belong to the whole server, so they are shared by all runs on it and keep one fixed password. */
async function createRoles(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ rolname: string }>('select rolname from pg_roles where rolname = any($1)', [
    databaseRoles,
  ]);
  const present = new Set(rows.map((row) => row.rolname));
  for (const role of databaseRoles) {
    if (present.has(role)) continue;
    await client.query(`create role ${role} login nosuperuser nocreatedb nocreaterole password '${rolePassword}'`);
  }
}

/** The name of the migrated template; made when it is missing. A template that takes connections is half-made. */
async function ensureTemplate(client: pg.Client, serverUrl: string): Promise<string> {
  const template = `${databasePrefix()}template_${migrationsDigest()}`;
  const { rows } = await client.query<{ datallowconn: boolean }>(
    'select datallowconn from pg_database where datname = $1',
    [template],
  );
  if (rows[0]?.datallowconn === false) return template;
  await dropDatabase(client, template);
  await createDatabase(client, template, 'template0');
  await migrateDatabase(urlOf(serverUrl, template, 'steward_owner'));
  await client.query(`alter database ${template} with allow_connections false`);
  await client.query('select pg_terminate_backend(pid) from pg_stat_activity where datname = $1', [template]);
  return template;
}

/** By the command that deployments run, in a process of its own: tests then meet exactly what operators get. */
async function migrateDatabase(url: string): Promise<void> {
  const program = join(postgresPackage, 'src', 'migrate-main.ts');
  const env = { PATH: process.env.PATH, DATABASE_URL: url };
  const { code, stdout, stderr } = await runCommand(process.execPath, [program], { timeoutMs: 60_000, env });
  if (code !== 0) throw new Error(`The migrations failed:\n${lastLines(stdout + stderr, 15)}`);
}

/** Changes with any source or SQL file of packages/postgres and the roles' rights: an edit never meets an old template. */
function migrationsDigest(): string {
  const digest = createHash('sha256').update(readFileSync(privilegesFile));
  for (const file of readdirSync(postgresPackage, { recursive: true, encoding: 'utf8' }).sort()) {
    if (file.startsWith('node_modules') || !/\.(sql|ts)$/.test(file) || file.endsWith('.test.ts')) continue;
    digest.update(`${file}\0`).update(readFileSync(join(postgresPackage, file)));
  }
  return digest.digest('hex').slice(0, 12);
}

/** Retried for a while: the server refuses to copy a template whose last session is still going away (55006). */
async function createDatabase(client: pg.Client, name: string, template: string): Promise<void> {
  let failure: unknown;
  await waitUntil(
    async () => {
      try {
        await client.query(`create database ${name} template ${template} owner steward_owner`);
        return true;
      } catch (error) {
        if ((error as { code?: string }).code === '55006') throw error;
        failure = error;
        return true;
      }
    },
    { timeoutMs: 10_000, what: `database ${name} to be copied from ${template}` },
  );
  if (failure !== undefined) throw failure as Error;
}

async function dropDatabase(client: pg.Client, name: string): Promise<void> {
  await client.query(`drop database if exists ${name} with (force)`);
}

/** One lock for all test processes on this server: the roles and the template are made by one of them. */
async function withLock<T>(client: pg.Client, work: () => Promise<T>): Promise<T> {
  await client.query("select pg_advisory_lock(hashtext('steward test template'))");
  try {
    return await work();
  } finally {
    await client.query("select pg_advisory_unlock(hashtext('steward test template'))");
  }
}

async function withServer<T>(serverUrl: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: serverUrl, connectionTimeoutMillis: 10_000 });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

function urlOf(serverUrl: string, database: string, role?: DatabaseRole): string {
  const url = new URL(serverUrl);
  url.pathname = `/${database}`;
  if (role !== undefined) {
    url.username = role;
    url.password = rolePassword;
  }
  return url.href;
}
