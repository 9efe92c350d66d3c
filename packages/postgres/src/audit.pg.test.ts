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
  ])('lets %s sign as %s only, and at no other time than now', async (role, ownName) => {
    const client = await connect(database.url(role as 'steward_adapter'));
    const write = (id: string, name: string) =>
      client.query(
        `insert into audit.entry (id, occurred_at, service, kind, outcome) values ($1, '2001-01-01', $2, 'x.tried', 'ok')`,
        [id, name],
      );
    const id = randomUUID();
    await write(id, ownName);
    for (const name of ['adapter', 'agent-core', 'outbound-sender', 'operator'].filter((one) => one !== ownName))
      await expect(write(randomUUID(), name)).rejects.toMatchObject({ code: '42501' });
    await client.end();
    const { rows } = await admin.query(
      `select service, occurred_at > now() - interval '5 minutes' as recent from audit.entry where id = $1`,
      [id],
    );
    expect(rows).toEqual([{ service: ownName, recent: true }]);
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
    ]) {
      await expect(service.query(statement)).rejects.toMatchObject({ code: '42501' });
    }
  });

  it.each([`update audit.entry set kind = 'x'`, 'delete from audit.entry', 'truncate audit.entry'])(
    'refuses even the owner and the superuser: %s',
    async (statement) => {
      await owner.query('begin');
      await expect(owner.query(statement)).rejects.toThrow('append-only');
      await owner.query('rollback');
      await admin.query('begin');
      await admin.query(`set local session_replication_role = 'replica'`);
      await expect(admin.query(statement)).rejects.toThrow('append-only');
      await admin.query('rollback');
    },
  );
});
