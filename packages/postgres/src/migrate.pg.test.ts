import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { createLogger } from '@steward/service-kit';
import { createTestDatabase, type TestDatabase } from '@steward/testkit';
import { assertMigrated, createPostgres, migrate } from './index.ts';

const log = createLogger({ service: 'test', write: () => undefined });

describe('migrations on Postgres', () => {
  let empty: TestDatabase;
  let migrated: TestDatabase;
  beforeAll(async () => {
    empty = await createTestDatabase({ migrated: false });
    migrated = await createTestDatabase();
  });
  afterAll(async () => {
    await empty.drop();
    await migrated.drop();
  });

  it('makes a service refuse to start on a database that is behind', async () => {
    const database = createPostgres<unknown>({ url: empty.url('steward_adapter'), poolSize: 1, log });
    await expect(assertMigrated(database.db)).rejects.toMatchObject({ code: 'MIGRATIONS_PENDING' });
    await database.close();
  });

  it('lets a service start once they have run, and running them again changes nothing', async () => {
    const owner = createPostgres<unknown>({ url: migrated.url('steward_owner'), poolSize: 2, log });
    await Promise.all([migrate({ db: owner.db, log }), migrate({ db: owner.db, log })]);
    await owner.close();
    for (const role of ['steward_adapter', 'steward_agent_core', 'steward_outbound_sender'] as const) {
      const database = createPostgres<unknown>({ url: migrated.url(role), poolSize: 1, log });
      await expect(assertMigrated(database.db)).resolves.toBeUndefined();
      await database.close();
    }
  });
});

describe('least privilege', () => {
  let database: TestDatabase;
  const tables: Record<string, string[]> = {
    steward_adapter: ['adapter.inbound_event', 'adapter.outbox'],
    steward_agent_core: ['agent_core.turn', 'agent_core.outbox'],
    steward_outbound_sender: ['outbound_sender.outbound_message', 'outbound_sender.outbox'],
  };
  beforeAll(async () => {
    database = await createTestDatabase();
  });
  afterAll(() => database.drop());

  it.each(Object.keys(tables))('lets %s see its own schema and no other', async (role) => {
    const client = new pg.Client({ connectionString: database.url(role as 'steward_adapter') });
    await client.connect();
    for (const [owner, names] of Object.entries(tables)) {
      for (const name of names) {
        const look = client.query(`select * from ${name}`);
        if (owner === role) await expect(look).resolves.toBeDefined();
        else await expect(look).rejects.toMatchObject({ code: '42501' });
      }
    }
    await expect(client.query('create table adapter.sneaked (x int)')).rejects.toMatchObject({ code: '42501' });
    await expect(client.query('create table public.sneaked (x int)')).rejects.toMatchObject({ code: '42501' });
    await client.end();
  });
});
