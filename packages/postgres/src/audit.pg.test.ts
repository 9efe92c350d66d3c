import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { createLogger } from '@steward/service-kit';
import { createTestDatabase, type TestDatabase } from '@steward/testkit';
import { appendAudit, createPostgres, type OutboxTables } from './index.ts';

const log = createLogger({ service: 'test', write: () => undefined });

describe('the audit log', () => {
  let database: TestDatabase;
  let admin: pg.Client;
  let owner: pg.Client;
  let service: pg.Client;
  const connect = async (url: string) => {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    return client;
  };
  beforeAll(async () => {
    database = await createTestDatabase();
    admin = await connect(database.adminUrl);
    owner = await connect(database.url('steward_owner'));
    service = await connect(database.url('steward_adapter'));
  });
  afterAll(async () => {
    for (const client of [admin, owner, service]) await client.end();
    await database.drop();
  });

  it('takes entries from a service, in the transaction of the fact they record', async () => {
    const connection = createPostgres<OutboxTables>({
      url: database.url('steward_adapter'),
      schema: 'adapter',
      poolSize: 1,
      log,
    });
    const correlationId = randomUUID();
    await appendAudit(connection.db, 'adapter', [
      { kind: 'inbound.recorded', outcome: 'accepted', correlationId, detail: { n: 1 } },
    ]);
    await expect(
      connection.db.transaction().execute(async (trx) => {
        await appendAudit(trx, 'adapter', [
          { kind: 'inbound.recorded', outcome: 'accepted', correlationId, detail: { n: 2 } },
        ]);
        throw new Error('the fact did not happen');
      }),
    ).rejects.toThrow('the fact did not happen');
    await connection.close();
    const { rows } = await admin.query('select detail from audit.entry where correlation_id = $1', [correlationId]);
    expect(rows).toEqual([{ detail: { n: 1 } }]);
  });

  it('keeps secrets out of the detail', async () => {
    const connection = createPostgres<OutboxTables>({
      url: database.url('steward_adapter'),
      schema: 'adapter',
      poolSize: 1,
      log,
    });
    const correlationId = randomUUID();
    const detail = {
      url: 'https://oapi.dingtalk.com/robot/sendBySession?session=c4nary-5ess1on',
      appSecret: 'c4nary-s3cret',
    };
    await appendAudit(connection.db, 'adapter', [{ kind: 'door.rejected', outcome: 'refused', correlationId, detail }]);
    await connection.close();
    const { rows } = await admin.query('select detail::text as text from audit.entry where correlation_id = $1', [
      correlationId,
    ]);
    expect(rows[0].text).not.toContain('c4nary');
  });

  it.each([
    ['steward_adapter', 'adapter'],
    ['steward_agent_core', 'agent-core'],
    ['steward_outbound_sender', 'outbound-sender'],
    ['steward_sealer', 'audit-sealer'],
  ] as const)('lets %s sign as %s only', async (role, ownName) => {
    const client = await connect(database.url(role));
    const write = (name: string) =>
      client.query(`insert into audit.entry (id, service, kind, outcome) values ($1, $2, 'x.tried', 'ok')`, [
        randomUUID(),
        name,
      ]);
    await write(ownName);
    const others = ['adapter', 'agent-core', 'outbound-sender', 'audit-sealer', 'operator'];
    for (const name of others.filter((one) => one !== ownName))
      await expect(write(name)).rejects.toMatchObject({ code: '42501' });
    await client.end();
  });

  it.each([
    ['occurred_at', `'2001-01-01'`],
    ['transaction_id', '1'],
    ['epoch', '7'],
  ])('lets no service say its own %s', async (column, value) => {
    const text = `insert into audit.entry (id, service, kind, outcome, ${column}) values ($1, 'adapter', 'x.tried', 'ok', ${value})`;
    await expect(service.query(text, [randomUUID()])).rejects.toMatchObject({ code: '42501' });
  });

  it('fills time, transaction and epoch itself', async () => {
    const id = randomUUID();
    await service.query('begin');
    await service.query(
      `insert into audit.entry (id, service, kind, outcome) values ($1, 'adapter', 'x.tried', 'ok')`,
      [id],
    );
    const { rows: own } = await service.query('select pg_current_xact_id()::text as xid');
    await service.query('commit');
    const { rows } = await admin.query(
      `select transaction_id::text as xid, epoch, occurred_at > now() - interval '5 minutes' as recent
       from audit.entry where id = $1`,
      [id],
    );
    expect(rows).toEqual([{ ...own[0], epoch: 1, recent: true }]);
  });

  it('keeps personal text beside the entry, under a salted hash, also without a transaction', async () => {
    const connection = createPostgres<OutboxTables>({
      url: database.url('steward_agent_core'),
      schema: 'agent_core',
      poolSize: 1,
      log,
    });
    const correlationId = randomUUID();
    const entry = { kind: 'approval.asked', outcome: 'pending', correlationId };
    await appendAudit(connection.db, 'agent-core', [
      {
        ...entry,
        actor: { staffId: 's', corpId: 'c', role: 'ops' },
        door: 'card',
        digest: 'ab'.repeat(32),
        policyHash: 'p',
        model: 'm',
        promptHash: 'h',
        personal: { reason: '因为 1e400', appSecret: 'c4nary' },
      },
      { ...entry, personal: { reason: '因为 1e400', appSecret: 'c4nary' } },
      { ...entry, outcome: 'none' },
    ]);
    await connection.close();
    const { rows } = await admin.query(
      `select e.outcome, e.actor_role, e.door, encode(e.digest, 'hex') as digest, e.policy_hash, e.model, e.prompt_hash,
         d.body, e.detail_hash = sha256(d.salt || convert_to(d.body::text, 'UTF8')) as fits,
         e.transaction_id = d.transaction_id as together
       from audit.entry e left join audit.detail d on d.entry_id = e.id where e.correlation_id = $1
       order by e.outcome, e.door`,
      [correlationId],
    );
    expect(rows).toEqual([
      expect.objectContaining({ outcome: 'none', body: null, fits: null }),
      {
        outcome: 'pending',
        actor_role: 'ops',
        door: 'card',
        digest: 'ab'.repeat(32),
        policy_hash: 'p',
        model: 'm',
        prompt_hash: 'h',
        body: { reason: '因为 1e400', appSecret: expect.not.stringContaining('c4nary') },
        fits: true,
        together: true,
      },
      expect.objectContaining({ outcome: 'pending', door: null, fits: true }),
    ]);
    const { rows: hashes } = await admin.query(
      `select count(distinct detail_hash)::int as n from audit.entry where correlation_id = $1`,
      [correlationId],
    );
    expect(hashes).toEqual([{ n: 2 }]);
  });

  it('lets the owner sign as anybody', async () => {
    const text = `insert into audit.entry (id, service, kind, outcome) values ($1, 'operator', 'x.tried', 'ok')`;
    expect((await owner.query(text, [randomUUID()])).rowCount).toBe(1);
  });

  it('lets a service add, and neither read, change nor delete', async () => {
    for (const statement of [
      'select * from audit.entry',
      `update audit.entry set kind = 'x'`,
      'delete from audit.entry',
      'truncate audit.entry',
      'truncate audit.entry_history',
      'select * from audit.detail',
      `update audit.detail set body = null`,
      'delete from audit.detail',
      'truncate audit.detail',
      'select * from audit.block',
      `select audit.erase_detail('${randomUUID()}', 'me', 'why')`,
      `select audit.retire_partition('entry_history', '', 0, 'me')`,
      `select audit.ensure_partitions()`,
      `select audit.begin_epoch('x')`,
      `select audit.seconds_since_seal()`,
    ]) {
      await expect(service.query(statement)).rejects.toMatchObject({ code: '42501' });
    }
  });

  it('lets agent-core, and no other service, ask whether the log is sealed', async () => {
    const core = await connect(database.url('steward_agent_core'));
    const { rows } = await core.query('select audit.seconds_since_seal() as seconds');
    expect(rows).toEqual([{ seconds: null }]);
    await core.end();
  });

  const tables = ['entry', 'entry_history', 'entry_default', 'detail', 'epoch', 'partition'];
  it.each(tables)('refuses the owner and the superuser to change, delete from or empty audit.%s', async (table) => {
    await admin.query('begin');
    await admin.query(
      `insert into audit.entry (id, service, kind, outcome, occurred_at) values
         (gen_random_uuid(), 'operator', 'x.tried', 'ok', now()), (gen_random_uuid(), 'operator', 'x.tried', 'ok', '2999-01-01')`,
    );
    for (const statement of [
      `update audit.${table} set ${table === 'detail' ? 'salt = salt' : table === 'partition' ? 'name = name' : table === 'epoch' ? 'reason = reason' : 'kind = kind'}`,
      `delete from audit.${table}`,
      `truncate audit.${table} cascade`,
    ]) {
      for (const role of ['steward_owner', 'superuser']) {
        await admin.query('savepoint s');
        if (role === 'superuser') await admin.query(`set local session_replication_role = 'replica'`);
        else await admin.query('set local role steward_owner');
        await expect(admin.query(statement)).rejects.toThrow('append-only');
        await admin.query('rollback to s');
      }
    }
    await admin.query('rollback');
  });
});
