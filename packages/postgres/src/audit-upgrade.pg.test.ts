import { randomUUID } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { createTestDatabase, type TestDatabase } from '@steward/testkit';

const folder = path.join(import.meta.dirname, '..', 'migrations');

describe('the upgrade to a sealed audit log', () => {
  let database: TestDatabase;
  let owner: pg.Client;
  let adapter: pg.Client;
  const run = async (belongs: (name: string) => boolean) => {
    const names = (await readdir(folder)).filter((name) => name.endsWith('.sql') && belongs(name)).sort();
    for (const name of names) await owner.query(`begin; ${await readFile(path.join(folder, name), 'utf8')}; commit`);
  };
  /** Word for word what the version before sends. */
  const insertAsBefore = (id: string) =>
    adapter.query(
      `insert into "audit"."entry" ("id", "service", "kind", "outcome", "correlation_id", "environment", "robot_code",
         "conversation_id", "actor_staff_id", "actor_corp_id", "subject_id", "detail")
       values ($1, 'adapter', 'inbound.recorded', 'accepted', null, 'test', 'r', 'c', 's', 'k', 'x', '{"n": 1}')`,
      [id],
    );
  const old = randomUUID();
  beforeAll(async () => {
    database = await createTestDatabase({ migrated: false });
    owner = new pg.Client({ connectionString: database.url('steward_owner') });
    await owner.connect();
    await owner.query('create schema migration; create table migration.kysely_migration (name text)');
    await run((name) => name < '0005');
    adapter = new pg.Client({ connectionString: database.url('steward_adapter') });
    await adapter.connect();
    await insertAsBefore(old);
  });
  afterAll(async () => {
    await adapter.end();
    await owner.end();
    await database.drop();
  });

  it('rewrites no history: the rows stay where they were, with transaction 0', async () => {
    const pageOf = async (table: string) =>
      (await owner.query<{ file: number }>(`select pg_relation_filenode($1) as file`, [table])).rows[0]?.file;
    const before = await pageOf('audit.entry');
    const { rows: rowBefore } = await owner.query('select occurred_at::text, detail from audit.entry where id = $1', [
      old,
    ]);
    await run((name) => name >= '0005');
    expect(await pageOf('audit.entry_history')).toBe(before);
    const { rows } = await owner.query(
      'select occurred_at::text, detail, transaction_id::int as xid, epoch from audit.entry where id = $1',
      [old],
    );
    expect(rows).toEqual([{ ...rowBefore[0], xid: 0, epoch: 1 }]);
  });

  it('lets the version before write on as it did', async () => {
    const id = randomUUID();
    await insertAsBefore(id);
    const { rows } = await owner.query('select transaction_id > 0 as placed, epoch from audit.entry where id = $1', [
      id,
    ]);
    expect(rows).toEqual([{ placed: true, epoch: 1 }]);
  });

  it('lets its functions write on as they did', async () => {
    const event = {
      id: randomUUID(),
      position: 0,
      kind: 'robot_message',
      source: 'r',
      source_id: 'm1',
      conversation_id: 'c',
      correlation_id: randomUUID(),
      door: 'http',
      body_hash_hex: 'ab',
      repeat_hashes: ['cd'],
      message: null,
      audit_id: randomUUID(),
      environment: 'test',
    };
    await adapter.query('select * from adapter.record_inbound($1)', [JSON.stringify([event])]);
    const { rows } = await owner.query('select kind from audit.entry where correlation_id = $1 order by kind', [
      event.correlation_id,
    ]);
    expect(rows).toEqual([{ kind: 'inbound.altered' }, { kind: 'inbound.recorded' }]);
  });
});
