import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { sql } from 'kysely';
import { createTestDatabase, waitUntil, withTcpProxy, type TestDatabase } from '@steward/testkit';
import { createPostgres } from './index.ts';
import { silentLog } from './testing.ts';

let testDatabase: TestDatabase;
beforeAll(async () => {
  testDatabase = await createTestDatabase();
});
afterAll(() => testDatabase.drop());

const connect = (url: string) => createPostgres<unknown>({ url, schema: 'adapter', poolSize: 2, log: silentLog });

describe('the connection', () => {
  it('keeps the planner of a service to look-ups by index', async () => {
    const database = connect(testDatabase.url('steward_adapter'));
    const { rows } = await sql`select name, setting from pg_settings
      where name in ('enable_seqscan', 'enable_hashjoin', 'enable_mergejoin', 'jit')`.execute(database.db);
    expect(rows).toHaveLength(4);
    for (const row of rows) expect(row).toMatchObject({ setting: 'off' });
    await database.close();
  });

  it('gives no statement and no idle transaction for ever, and says whose connection it is', async () => {
    const database = connect(testDatabase.url('steward_adapter'));
    const { rows } = await sql`select current_setting('statement_timeout') as statement,
      current_setting('idle_in_transaction_session_timeout') as idle,
      current_setting('application_name') as name, 9007199254740991::bigint as big`.execute(database.db);
    expect(rows).toEqual([{ statement: '15s', idle: '30s', name: 'steward adapter', big: Number.MAX_SAFE_INTEGER }]);
    await expect(
      database.db.transaction().execute(async (trx) => {
        await sql`set local statement_timeout = '100ms'`.execute(trx);
        await sql`select pg_sleep(30)`.execute(trx);
      }),
    ).rejects.toMatchObject({ code: '57014' });
    await database.close();
  });

  it.each(['stalled', 'refusing'] as const)(
    'says within two seconds that a server that is %s is not there, and notices when it is back',
    async (mode) => {
      await withTcpProxy(testDatabase.url('steward_adapter'), async (proxy) => {
        const database = connect(proxy.url(testDatabase.url('steward_adapter')));
        expect(await database.check()).toEqual({ ok: true });
        expect(proxy.connections()).toBeGreaterThan(0);
        proxy.set(mode);
        if (mode === 'refusing') proxy.cut();
        const startedAt = performance.now();
        expect(await database.check()).toMatchObject({ ok: false });
        // Two seconds are promised; the rest is for a busy machine.
        expect(performance.now() - startedAt).toBeLessThan(5_000);
        proxy.set('passing');
        await waitUntil(async () => (await database.check()).ok, { timeoutMs: 15_000, what: 'the server to be back' });
        await database.close();
      });
    },
    40_000,
  );

  it('rejects the statement on a connection that is cut, and goes on with a new one', async () => {
    await withTcpProxy(testDatabase.url('steward_adapter'), async (proxy) => {
      const database = connect(proxy.url(testDatabase.url('steward_adapter')));
      const cut = database.db.transaction().execute(async (trx) => {
        await sql`select 1`.execute(trx);
        expect(proxy.cut()).toBe(1);
        await sql`select 1`.execute(trx);
      });
      await expect(cut).rejects.toThrow();
      await expect(sql`select 1`.execute(database.db)).resolves.toBeDefined();
      await database.close();
    });
  });
});
