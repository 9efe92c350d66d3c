import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { createTestDatabase, type DatabaseRole, type TestDatabase } from '@steward/testkit';

let database: TestDatabase;
const pools: pg.Pool[] = [];
const as = (role: DatabaseRole | 'admin') => {
  const url = role === 'admin' ? database.adminUrl : database.url(role);
  const pool = new pg.Pool({ connectionString: url, max: 1 });
  pool.on('error', () => undefined);
  pools.push(pool);
  return pool;
};
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(async () => {
  for (const pool of pools) await pool.end();
  await database.drop();
});

const views = [
  'recent',
  'dead',
  'api_calls',
  'approvals',
  'tool_calls',
  'deliveries',
  'delivery_attempts',
  'duplicates',
  'sealing',
  'stream_gaps',
  'unknown',
];
/** Words that people were told: for operators alone. */
const operatorViews = ['outbound_content', 'dead_content'];

describe('the schema ops', () => {
  it('has a comment on every view, column and function', async () => {
    const { rows } = await as('admin').query<{ name: string }>(
      `select c.relname || coalesce('.' || a.attname, '') as name from pg_class c
         left join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
       where c.relnamespace = 'ops'::regnamespace and c.relkind = 'v'
         and (col_description(c.oid, a.attnum) is null or obj_description(c.oid, 'pg_class') is null)
       union all select p.proname from pg_proc p where p.pronamespace = 'ops'::regnamespace and obj_description(p.oid, 'pg_proc') is null`,
    );
    expect(rows).toEqual([]);
    const { rows: found } = await as('admin').query<{ name: string }>(
      `select relname as name from pg_class where relnamespace = 'ops'::regnamespace and relkind = 'v'`,
    );
    expect(found.map(({ name }) => name).sort()).toEqual([...views, ...operatorViews].sort());
  });

  it.each(['ops_reader', 'steward_operator'] as const)('is all of it readable for %s', async (role) => {
    const reader = as(role);
    for (const view of views) await reader.query(`select * from ops.${view} limit 1`);
    await reader.query('select * from ops.trace($1)', [randomUUID()]);
    await reader.query('select * from ops.find_correlation($1)', ['7f3k']);
  });

  it('is all that ops_reader can see or call', async () => {
    const { rows } = await as('admin').query<{ name: string }>(
      `select c.oid::regclass::text as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
       where n.nspname not in ('ops', 'pg_catalog', 'information_schema', 'pg_toast') and n.nspname !~ '^pg_temp'
         and has_schema_privilege('ops_reader', n.oid, 'usage')
         and has_any_column_privilege('ops_reader', c.oid, 'select, insert, update, references')
       union all
       select p.oid::regprocedure::text from pg_proc p join pg_namespace n on n.oid = p.pronamespace
       where n.nspname not in ('pg_catalog', 'information_schema') and has_schema_privilege('ops_reader', n.oid, 'usage')
         and has_function_privilege('ops_reader', p.oid, 'execute')
         and p.proname not in ('trace', 'find_correlation', 'seconds_since_seal')`,
    );
    expect(rows).toEqual([]);
    const reader = as('ops_reader');
    for (const statement of [
      'select * from audit.entry',
      'select * from audit.detail',
      'select * from agent_core.turn',
      'select * from adapter.inbound_event',
      'select * from outbound_sender.outbound_message',
      ...operatorViews.map((view) => `select * from ops.${view}`),
      `select * from ops.room_entries('r', 'c', now(), 1)`,
      `insert into ops.recent (kind) values ('x')`,
      'update ops.duplicates set duplicate_count = 0',
      'delete from ops.tool_calls',
      'create table ops.mine (n int)',
    ])
      await expect(reader.query(statement)).rejects.toMatchObject({ code: expect.stringMatching(/^(42501|55000)$/) });
  });

  it('lets steward_operator read the audit log, and write it by functions only', async () => {
    const operator = as('steward_operator');
    for (const table of ['entry', 'detail', 'epoch', 'block', 'block_leaves', 'partition', 'retirement'])
      await operator.query(`select * from audit.${table} limit 1`);
    for (const statement of [
      `insert into audit.entry (id, service, kind, outcome) values (gen_random_uuid(), 'operator', 'x.tried', 'ok')`,
      `insert into audit.detail (entry_id, salt, body) values (gen_random_uuid(), decode(repeat('ab', 32), 'hex'), '{}')`,
      `insert into audit.block select * from audit.block`,
      'delete from audit.entry',
      'update audit.detail set body = null',
      'truncate audit.block',
    ])
      await expect(operator.query(statement)).rejects.toMatchObject({ code: '42501' });
  });

  it('shows agent-core one room at a time, capped, and not another', async () => {
    const adapter = as('steward_adapter');
    const add = (room: string) =>
      adapter.query(
        `insert into audit.entry (id, service, kind, outcome, robot_code, conversation_id, detail)
         values (gen_random_uuid(), 'adapter', 'x.tried', 'ok', 'r', $1, '{"n": 1}')`,
        [room],
      );
    for (const room of ['a', 'a', 'b']) await add(room);
    const core = as('steward_agent_core');
    const read = async (room: string, limit: number | null, since = '2000-01-01') =>
      (
        await core.query<Record<string, unknown>>('select * from ops.room_entries($1, $2, $3, $4)', [
          'r',
          room,
          since,
          limit,
        ])
      ).rows;
    expect(await read('a', 10)).toHaveLength(2);
    expect(await read('a', 1)).toHaveLength(1);
    expect(await read('b', 10)).toEqual([
      {
        occurred_at: expect.any(Date),
        service: 'adapter',
        kind: 'x.tried',
        outcome: 'ok',
        actor_staff_id: null,
        subject_id: null,
        correlation_id: null,
        detail: { n: 1 },
      },
    ]);
    for (const limit of [0, -1, null]) expect(await read('a', limit)).toEqual([]);
    expect(await read('c', 10)).toEqual([]);
    expect(await read('a', 10, '2999-01-01')).toEqual([]);
    await as('admin').query(
      `insert into audit.entry (id, service, kind, outcome, robot_code, conversation_id)
       select gen_random_uuid(), 'adapter', 'x.tried', 'ok', 'r', 'full' from generate_series(1, 300)`,
    );
    expect(await read('full', 1_000_000)).toHaveLength(200);
    for (const statement of ['select * from ops.recent', `select * from ops.trace('${randomUUID()}')`])
      await expect(core.query(statement)).rejects.toMatchObject({ code: '42501' });
  });
});
