import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { sql } from 'kysely';
import { createLogger } from '@steward/service-kit';
import { generateSealKey, readCheckpoints, readPublicKeys, verifyAudit } from '@steward/audit';
import {
  appendAudit,
  createEmbedded,
  createPostgres,
  migrate,
  type Database,
  type OutboxTables,
} from '@steward/postgres';
import { createTestDatabase, waitUntil, type TestDatabase } from '@steward/testkit';
import { queryOn, type SealerTables } from './database.ts';
import { startAuditSealer } from './index.ts';

const lines: string[] = [];
const log = createLogger({ service: 'audit-sealer', level: 'debug', write: (line) => void lines.push(line) });
const pair = generateSealKey();
const publicKeys = readPublicKeys(pair.publicKeyPem);
const flags = { host: '127.0.0.1', port: 0, logToolCalls: false };
const start = (database: Database<SealerTables>, checkpointFolder: string | null) =>
  startAuditSealer({
    database,
    sealKey: pair.privateKeyPem,
    checkpointFolder,
    log,
    flags,
    version: 'test',
    sealEveryMs: 200,
  });
const metric = async (url: string, name: string) => {
  const text = await (await fetch(`${url}/metrics`)).text();
  return Number(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, 'm').exec(text)?.[1]);
};

describe('the sealer', () => {
  let database: TestDatabase;
  let folder: string;
  let admin: Database<OutboxTables>;
  const connect = () =>
    createPostgres<SealerTables>({ url: database.url('steward_sealer'), schema: 'audit', poolSize: 3, log });
  const verify = async () => {
    const text = await readFile(path.join(folder, 'audit-checkpoints.txt'), 'utf8').catch(() => '');
    const checkpoints = text === '' ? [] : readCheckpoints(text);
    return verifyAudit({ query: queryOn(admin.db), publicKeys, checkpoints });
  };
  beforeAll(async () => {
    database = await createTestDatabase();
    folder = await mkdtemp(path.join(tmpdir(), 'steward-sealer-'));
    admin = createPostgres<OutboxTables>({ url: database.adminUrl, poolSize: 2, log });
  });
  afterAll(async () => {
    await admin.close();
    await database.drop();
    await rm(folder, { recursive: true });
  });

  it('seals, writes checkpoints, serves its state, and two of them do not disturb each other', async () => {
    const sealers = [await start(connect(), folder), await start(connect(), null)] as const;
    await appendAudit(admin.db, 'operator', [{ kind: 'x.tried', outcome: 'ok', personal: { reason: 'because' } }]);
    await waitUntil(async () => (await verify()).exitCode === 0 && (await verify()).unsealed === 0, {
      timeoutMs: 15_000,
      what: 'a sealed and witnessed log',
    });
    const report = await verify();
    expect(report).toMatchObject({ outcome: 'fine', faults: [], details: { whole: 1 } });
    expect(report.entries).toBe(3);
    expect((await fetch(`${sealers[0].url}/readyz`)).status).toBe(200);
    expect((await fetch(`${sealers[1].url}/healthz`)).status).toBe(200);
    const blocks = await Promise.all(sealers.map(({ url }) => metric(url, 'steward_audit_blocks_total')));
    expect(blocks.reduce((sum, n) => sum + n, 0)).toBeGreaterThanOrEqual(report.blocks);
    expect(await metric(sealers[0].url, 'steward_audit_default_partition_rows')).toBe(0);
    await Promise.all(sealers.map((sealer) => sealer.stop()));
    expect(lines.join('\n')).not.toContain(pair.privateKeyPem.split('\n')[1]);
    expect(lines.filter((line) => /"level":"(error|warn)"/.test(line))).toEqual([]);
  });

  it('makes the partitions it needs when it starts', async () => {
    await sql`delete from audit.retirement`.execute(admin.db);
    const names = async () =>
      (await sql<{ name: string }>`select name from audit.partition order by to_at`.execute(admin.db)).rows.length;
    expect(await names()).toBeGreaterThanOrEqual(4);
  });

  it('is not ready while nothing is sealed, however well its own rounds end', async () => {
    const holder = connect();
    const [hold, held] = [Promise.withResolvers<null>(), Promise.withResolvers<null>()];
    const holding = holder.db.transaction().execute(async (trx) => {
      await sql`select only_one from audit.sealer for update`.execute(trx);
      held.resolve(null);
      await hold.promise;
    });
    await held.promise;
    await sql
      .raw(
        `alter table audit.block disable trigger block_refuses_row_changes;
         update audit.block set sealed_at = sealed_at - interval '2 minutes';
         alter table audit.block enable always trigger block_refuses_row_changes`,
      )
      .execute(admin.db);
    const sealer = await start(connect(), null);
    const state = async () => (await fetch(`${sealer.url}/readyz`)).status;
    expect(await state()).toBe(503);
    await waitUntil(async () => (await metric(sealer.url, 'steward_audit_seal_age_seconds')) > 60, {
      timeoutMs: 10_000,
      what: 'the sealer to have looked',
    });
    expect(await state()).toBe(503);
    hold.resolve(null);
    await holding;
    await waitUntil(async () => (await state()) === 200, { timeoutMs: 15_000, what: 'a sealed log' });
    await sealer.stop();
    await holder.close();
  });

  it('is not ready, and says what to do, in a database that was restored elsewhere', async () => {
    await sql
      .raw(
        `alter table audit.epoch disable trigger epoch_refuses_row_changes; update audit.epoch set system_identifier = '1';
         alter table audit.epoch enable always trigger epoch_refuses_row_changes`,
      )
      .execute(admin.db);
    lines.length = 0;
    const sealer = await start(connect(), null);
    await waitUntil(() => Promise.resolve(lines.some((line) => line.includes('AUDIT_EPOCH_CHANGED'))), {
      timeoutMs: 10_000,
      what: 'the refusal',
    });
    expect(lines.find((line) => line.includes('AUDIT_EPOCH_CHANGED'))).toContain('audit.begin_epoch');
    expect((await fetch(`${sealer.url}/readyz`)).status).toBe(503);
    await sealer.stop();
  });

  it('refuses to start without an Ed25519 key', async () => {
    const starting = startAuditSealer({
      database: connect(),
      sealKey: 'x',
      checkpointFolder: null,
      log,
      flags,
      version: 't',
    });
    await expect(starting).rejects.toMatchObject({ code: 'SEAL_KEY_INVALID' });
  });
});

describe('the sealer on the embedded database', () => {
  it('seals what the services write, and the log verifies', async () => {
    const embedded = await createEmbedded({});
    const owner = embedded.database<OutboxTables>({ role: null });
    await migrate({ db: embedded.database<unknown>({ role: null }).db, log });
    const adapter = embedded.database<OutboxTables>({ schema: 'adapter', role: 'steward_adapter' });
    const sealer = await start(embedded.database<SealerTables>({ schema: 'audit', role: 'steward_sealer' }), null);
    await appendAudit(adapter.db, 'adapter', [{ kind: 'x.tried', outcome: 'ok', personal: { nick: '李伟' } }]);
    const operator = embedded.database<OutboxTables>({ role: 'steward_operator' });
    const verify = () => verifyAudit({ query: queryOn(operator.db), publicKeys });
    await waitUntil(async () => (await verify()).unsealed === 0 && (await verify()).blocks > 0, {
      timeoutMs: 20_000,
      what: 'a sealed log',
    });
    const report = await verify();
    expect(report).toMatchObject({
      outcome: 'unwitnessed',
      exitCode: 3,
      faults: [],
      entries: 2,
      details: { whole: 1 },
    });
    await sealer.stop();
    await owner.close();
    await embedded.close();
  }, 60_000);
});
