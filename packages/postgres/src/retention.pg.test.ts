import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { sql } from 'kysely';
import { createTestDatabase, type TestDatabase } from '@steward/testkit';
import { createPostgres, retireInbox, type Database, type InboxTables } from './index.ts';
import { silentLog } from './testing.ts';

let testDatabase: TestDatabase;
let admin: Database<unknown>;
beforeAll(async () => {
  testDatabase = await createTestDatabase();
  admin = createPostgres<unknown>({ url: testDatabase.adminUrl, poolSize: 2, log: silentLog });
});
afterAll(async () => {
  await admin.close();
  await testDatabase.drop();
});

describe.each([
  ['agent_core', 'steward_agent_core'],
  ['outbound_sender', 'steward_outbound_sender'],
] as const)('the inbox of %s', (schema, role) => {
  it('keeps 40 days, longer than the ledger whose events it refuses to record twice', async () => {
    const service = createPostgres<InboxTables>({ url: testDatabase.url(role), schema, poolSize: 2, log: silentLog });
    await sql
      .raw(
        `insert into ${schema}.inbox (message_id, recorded_at)
         select (left(adapter.first_id_of(now() - days * interval '1 day')::text, 13) || right(gen_random_uuid()::text, 23))::uuid,
           now() - days * interval '1 day'
         from unnest(array[1, 31, 39, 41, 42, 400]) as days`,
      )
      .execute(admin.db);
    const ages = async () =>
      (
        await sql
          .raw<{ days: number }>(
            `select extract(day from now() - recorded_at)::int as days from ${schema}.inbox order by 1`,
          )
          .execute(admin.db)
      ).rows.map(({ days }) => days);
    expect(await retireInbox(service.db, schema, 2)).toBe(2);
    expect(await retireInbox(service.db, schema, 2)).toBe(1);
    expect(await retireInbox(service.db, schema, 2)).toBe(0);
    expect(await ages()).toEqual([1, 31, 39]);
    await expect(sql.raw(`delete from ${schema}.inbox`).execute(service.db)).rejects.toMatchObject({ code: '42501' });
    await service.close();
  });
});
