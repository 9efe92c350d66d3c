import { readdir, readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import path from 'node:path';
import { sql, type Kysely } from 'kysely';
import { Migrator, type Migration } from 'kysely/migration';
import { AppError, type Logger } from '@steward/service-kit';

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
 * Runs what has not run yet, one at a time even when several containers try at once (Kysely takes an advisory lock).
 * Needs the owner role. Rejects with MIGRATION_FAILED, naming the file; nothing of a failed file stays.
 */
export async function migrate(o: { db: Kysely<unknown>; log: Logger }): Promise<void> {
  const migrator = new Migrator({
    db: o.db,
    provider: { getMigrations: readMigrations },
    migrationTableSchema: migrationSchema,
    // A newer image may have left migrations that this one does not know: going back one version must work.
    allowUnorderedMigrations: true,
  });
  const { error, results = [] } = await migrator.migrateToLatest();
  for (const { migrationName, status } of results) o.log.info('migration.run', { migration: migrationName, status });
  const failed = results.find(({ status }) => status === 'Error');
  if (error !== undefined) {
    const text = failed
      ? `migration ${failed.migrationName} failed, nothing of it was kept`
      : 'migrations could not run';
    throw new AppError('MIGRATION_FAILED', text, { retryable: false, cause: error });
  }
}

/** Resolves when every migration of this version has run; otherwise rejects with MIGRATIONS_PENDING, naming them. */
export async function assertMigrated<T>(db: Kysely<T>): Promise<void> {
  const known = Object.keys(await readMigrations());
  const done = await sql<{ name: string }>`select name from migration.kysely_migration`
    .execute(db)
    .then(({ rows }) => new Set(rows.map(({ name }) => name)))
    .catch((cause: unknown) => {
      if (isMissingTable(cause)) return new Set<string>();
      throw cause;
    });
  const pending = known.filter((name) => !done.has(name));
  if (pending.length > 0) {
    throw new AppError('MIGRATIONS_PENDING', `run the migrations first: ${pending.join(', ')}`, { retryable: false });
  }
}

/** 42P01 undefined_table, 3F000 invalid_schema_name, 42501 insufficient_privilege (nothing was granted yet). */
function isMissingTable(error: unknown): boolean {
  return error instanceof Error && 'code' in error && ['42P01', '3F000', '42501'].includes(String(error.code));
}
