import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type pg from 'pg';
import { createTestDatabase, type TestDatabase } from '@steward/testkit';
import { createPreparedClient } from './prepared-client.ts';

describe('the prepared client', () => {
  let database: TestDatabase;
  let client: pg.Client;
  let statements = 0;

  beforeEach(async () => {
    database = await createTestDatabase();
    statements = 0;
    const Client = createPreparedClient(() => (statements += 1));
    client = new Client({ connectionString: database.adminUrl });
    await client.connect();
  });
  afterEach(async () => {
    await client.end();
    await database.drop();
  });

  const prepared = async (): Promise<string[]> => {
    const { rows } = await client.query<{ statement: string }>('select statement from pg_prepared_statements');
    return rows.map(({ statement }) => statement);
  };
  const repeat = async (text: string, values: unknown[], times = 6) => {
    for (let time = 0; time < times; time += 1) await client.query(text, values);
  };

  it('keeps on the server what comes again and again, and reports each statement', async () => {
    await repeat('select $1::integer + 1', [1]);
    expect(await prepared()).toEqual(['select $1::integer + 1']);
    expect(statements).toBe(7);
  });

  it('keeps nothing that came a few times only, and nothing without parameters', async () => {
    await repeat('select $1::integer + 2', [1], 4);
    await repeat('select 1; select 2', []);
    expect(await prepared()).toEqual([]);
  });

  it('keeps no more than 200', async () => {
    for (let list = 0; list < 205; list += 1) await repeat(`select $1::integer + ${list}`, [1]);
    expect(await prepared()).toHaveLength(200);
  }, 30_000);

  it('fails once, and never again, when the table under a kept statement has changed', async () => {
    await client.query('create table public.kept (id integer)');
    const read = () => client.query('select * from public.kept where id > $1', [0]);
    for (let time = 0; time < 6; time += 1) await read();
    await client.query('alter table public.kept add column more text');
    await expect(read()).rejects.toMatchObject({ code: '0A000' });
    expect((await read()).fields).toHaveLength(2);
  });
});
