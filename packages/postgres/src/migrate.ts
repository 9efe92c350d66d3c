import { readdir, readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import path from 'node:path';
import { sql, type Kysely } from 'kysely';
import { Migrator, type Migration } from 'kysely/migration';
import { AppError, type Logger } from '@steward/service-kit';
import { applyPrivileges } from './apply-privileges.ts';

const folder = fileURLToPath(new URL('../migrations', import.meta.url));
const migrationSchema = 'migration';

/** The plain .sql files, in the order of their names; each runs once, in one transaction. There is no way down. */
async function readMigrations(): Promise<Record<string, Migration>> {
  const names = (await readdir(folder)).filter((name) => name.endsWith('.sql')).sort();
  const entries = names.map(async (name): Promise<[string, Migration]> => {
    const text = await readFile(path.join(folder, name), 'utf8');
    return [
      path.basename(name, '.sql'),
      {
        up: (db: Kysely<unknown>) =>
          sql
            .raw(text)
            .execute(db)
            .then(() => undefined),
      },
    ];
  });
  return Object.fromEntries(await Promise.all(entries));
}

/**
 * Runs what has not run yet, one at a time even when several containers try at once (Kysely takes an advisory lock), then
 * gives the roles the rights they shall have. Needs the owner role. Rejects with MIGRATION_FAILED, naming the file; nothing of
 * a failed file stays.
 */
export async function migrate(o: { db: Kysely<unknown>; log: Logger }): Promise<void> {
  const migrations = await readMigrations();
  // A newer image may have left migrations that this one does not know: going back one version must work.
  const newer = [...(await readDone(o.db).catch(fail('migrations could not run')))].filter(
    (name) => !(name in migrations),
  );
  for (const name of newer) migrations[name] = { up: () => Promise.resolve() };
  const migrator = new Migrator({
    db: o.db,
    provider: { getMigrations: () => Promise.resolve(migrations) },
    migrationTableSchema: migrationSchema,
    allowUnorderedMigrations: true,
  });
  const { error, results = [] } = await migrator.migrateToLatest();
  for (const { migrationName, status } of results) o.log.info('migration.run', { migration: migrationName, status });
  const failed = results.find(({ status }) => status === 'Error');
  if (error !== undefined) {
    const text = failed
      ? `migration ${failed.migrationName} failed, nothing of it was kept`
      : 'migrations could not run';
    fail(text)(error);
  }
  if (newer.length > 0) {
    // The newer version's rights hold what this one needs, and what its triggers do.
    o.log.info('privileges.kept', { newer });
    return;
  }
  await applyPrivileges(o).catch(fail('the privileges could not be set'));
}

const fail =
  (text: string) =>
  (cause: unknown): never => {
    throw new AppError('MIGRATION_FAILED', text, { retryable: false, cause });
  };

/** Resolves when every migration of this version has run; otherwise rejects with MIGRATIONS_PENDING, naming them. */
export async function assertMigrated<T>(db: Kysely<T>): Promise<void> {
  const known = Object.keys(await readMigrations());
  const done = await readDone(db);
  const pending = known.filter((name) => !done.has(name));
  if (pending.length > 0) {
    throw new AppError('MIGRATIONS_PENDING', `run the migrations first: ${pending.join(', ')}`, { retryable: false });
  }
}

/** The names of the migrations that have run; none while there is no such table, or nothing was granted yet. */
async function readDone<T>(db: Kysely<T>): Promise<Set<string>> {
  return sql<{ name: string }>`select name from migration.kysely_migration`
    .execute(db)
    .then(({ rows }) => new Set(rows.map(({ name }) => name)))
    .catch((cause: unknown) => {
      if (isMissingTable(cause)) return new Set<string>();
      throw cause;
    });
}

/** 42P01 undefined_table, 3F000 invalid_schema_name, 42501 insufficient_privilege (nothing was granted yet). */
function isMissingTable(error: unknown): boolean {
  return error instanceof Error && 'code' in error && ['42P01', '3F000', '42501'].includes(String(error.code));
}
