import { afterAll, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { createTestDatabase, dropDatabasesOfRun } from './test-database.ts';
import type { TestDatabase } from './test-database.ts';

const made: TestDatabase[] = [];
afterAll(async () => {
  for (const database of made) await database.drop();
});

async function createEmpty(): Promise<TestDatabase> {
  const database = await createTestDatabase({ migrated: false });
  made.push(database);
  return database;
}

async function query<T>(url: string, sql: string): Promise<T[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query(sql)).rows as T[];
  } finally {
    await client.end();
  }
}

function restoreRunId(runId: string | undefined): void {
  if (runId === undefined) delete process.env.STEWARD_TEST_RUN_ID;
  else process.env.STEWARD_TEST_RUN_ID = runId;
}

describe('createTestDatabase', () => {
  it('gives databases that do not see each other, also when many are made at once', async () => {
    const databases = await Promise.all(Array.from({ length: 6 }, createEmpty));
    expect(new Set(databases.map((one) => one.name)).size).toBe(6);
    const [first, second] = databases as [TestDatabase, TestDatabase];
    await query(first.adminUrl, 'create table only_here (id int)');
    await expect(query(second.adminUrl, 'select * from only_here')).rejects.toThrow(/does not exist/);
  });

  it('lets the owner create schemas and a service role only log in', async () => {
    const database = await createEmpty();
    await query(database.url('steward_owner'), 'create schema adapter');
    await expect(query(database.url('steward_adapter'), 'select current_user as name')).resolves.toEqual([
      { name: 'steward_adapter' },
    ]);
    await expect(query(database.url('steward_adapter'), 'create schema mine')).rejects.toThrow(/permission denied/);
    await expect(query(database.url('steward_adapter'), 'create role more')).rejects.toThrow(/permission denied/);
  });

  it('clones a template that is migrated once, however many ask at once', async () => {
    const runId = process.env.STEWARD_TEST_RUN_ID;
    process.env.STEWARD_TEST_RUN_ID = 'cloned';
    try {
      const databases = await Promise.all(Array.from({ length: 4 }, () => createTestDatabase()));
      for (const database of databases) {
        const [row] = await query<{ ran: number }>(
          database.url('steward_adapter'),
          'select count(*)::int as ran from migration.kysely_migration',
        );
        expect(row?.ran).toBeGreaterThan(0);
      }
      const templates = await query(
        databases[0]?.adminUrl ?? '',
        "select 1 from pg_database where datname like 'steward_test_cloned_template_%'",
      );
      expect(templates).toHaveLength(1);
    } finally {
      await dropDatabasesOfRun();
      restoreRunId(runId);
    }
  }, 60_000);

  it('drops a database that is still in use', async () => {
    const database = await createEmpty();
    const client = new pg.Client({ connectionString: database.adminUrl });
    client.on('error', () => undefined);
    await client.connect();
    await database.drop();
    await expect(client.query('select 1')).rejects.toThrow();
    await expect(query(database.adminUrl, 'select 1')).rejects.toThrow(/does not exist/);
  });

  it('removes every database of one run and none of another', async () => {
    const kept = await createEmpty();
    const runId = process.env.STEWARD_TEST_RUN_ID;
    process.env.STEWARD_TEST_RUN_ID = 'ended';
    try {
      const left = await createEmpty();
      await dropDatabasesOfRun();
      await expect(query(left.adminUrl, 'select 1')).rejects.toThrow(/does not exist/);
    } finally {
      restoreRunId(runId);
    }
    await expect(query(kept.adminUrl, 'select 1 as one')).resolves.toEqual([{ one: 1 }]);
  });
});
