import { inspect } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createTestDatabase, withTcpProxy, type TestDatabase } from '@steward/testkit';
import { connectOperatorPostgres } from './index.ts';
import { testOperatorConnection } from './operator.test-support.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.drop());

describe('the operator on Postgres', () => {
  testOperatorConnection(() => connectOperatorPostgres(database.url('steward_operator')));

  it('says that it cannot get in, without the password', async () => {
    const url = new URL(database.url('steward_operator'));
    url.password = 'not-the-password';
    const failure = await connectOperatorPostgres(url.href).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'OPERATOR_DATABASE_LOST', retryable: true });
    expect(inspect(failure)).not.toContain('not-the-password');
  });

  it('says that the connection broke', async () => {
    const url = database.url('steward_operator');
    await withTcpProxy(url, async (proxy) => {
      const connection = await connectOperatorPostgres(proxy.url(url));
      expect(await connection.query('select 1 as n')).toEqual([{ n: 1 }]);
      proxy.set('refusing');
      proxy.cut();
      await expect(connection.query('select 1 as n')).rejects.toMatchObject({ code: 'OPERATOR_DATABASE_LOST' });
      await connection.close();
    });
  });
});
