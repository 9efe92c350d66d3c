import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { generateSealKey, readSealKey, sealEntries, type Query } from '@steward/audit';
import {
  appendAudit,
  connectOperatorPostgres,
  connectOperatorSocket,
  createEmbedded,
  createPostgres,
  migrate,
  serveOperatorSocket,
  type OperatorConnection,
  type OutboxTables,
} from '@steward/postgres';
import { createLogger } from '@steward/service-kit';
import { createTestDatabase, waitUntil } from '@steward/testkit';
import { CompiledQuery, type Kysely } from 'kysely';
import { keptOpen, steward, temporaryFolder } from './testing.ts';

const folder = temporaryFolder();
const at = (name: string) => path.join(folder, name);
const log = createLogger({ service: 'test', write: () => undefined });
const pair = generateSealKey();
writeFileSync(at('seal.pub'), pair.publicKeyPem);
const other = generateSealKey();
writeFileSync(at('other.pub'), other.publicKeyPem);

/** An audit log with one story in it, seen by the operator. */
type World = {
  operator: OperatorConnection;
  write: Kysely<OutboxTables>;
  sealer: Kysely<OutboxTables>;
  close: () => Promise<void>;
};

async function openPostgres(): Promise<World> {
  const database = await createTestDatabase();
  const of = (role: 'steward_adapter' | 'steward_sealer') =>
    createPostgres<OutboxTables>({ url: database.url(role), schema: 'adapter', poolSize: 1, log });
  const [write, sealer] = [of('steward_adapter'), of('steward_sealer')];
  const operator = await connectOperatorPostgres(database.url('steward_operator'));
  return {
    ...{ operator, write: write.db, sealer: sealer.db },
    close: async () => {
      await operator.close();
      await write.close();
      await sealer.close();
      await database.drop();
    },
  };
}

async function openEmbedded(): Promise<World> {
  const embedded = await createEmbedded({});
  await migrate({ db: embedded.database<unknown>({ role: null }).db, log });
  const socketPath = at('steward.sock');
  const served = await serveOperatorSocket({ embedded, socketPath, role: 'steward_operator', log });
  const operator = await connectOperatorSocket(socketPath);
  return {
    operator,
    write: embedded.database<OutboxTables>({ schema: 'adapter', role: 'steward_adapter' }).db,
    sealer: embedded.database<OutboxTables>({ role: 'steward_sealer' }).db,
    close: async () => {
      await operator.close();
      await served.close();
      await embedded.close();
    },
  };
}

const sealOnce = ({ sealer }: World) =>
  sealEntries({
    key: readSealKey(pair.privateKeyPem),
    emptyAfterSeconds: 0,
    transact: (work) =>
      sealer.transaction().execute((trx) => {
        const query: Query = async <T>(text: string, values: readonly unknown[] = []) =>
          (await trx.executeQuery(CompiledQuery.raw(text, [...values]))).rows as T[];
        return work(query);
      }),
  });

/** Until nothing is left: a transaction of any other database of the server may hold a round back. */
const seal = (world: World) =>
  waitUntil(
    async () => {
      await sealOnce(world);
      const left = await world.operator.query(
        'select from audit.entry e where e.transaction_id >= (select max(b.to_transaction) from audit.block b) limit 1',
      );
      return left.length === 0;
    },
    { timeoutMs: 20_000, what: 'every entry to be sealed' },
  );

describe.each([
  ['Postgres', openPostgres],
  ['the running demo', openEmbedded],
])('steward audit on %s', (name, open) => {
  const correlationId = randomUUID();
  let world: World;
  const run = (...args: string[]) => steward(['audit', ...args], { connect: keptOpen(world.operator) });
  const file = (what: string) => at(`${name.replace(/ /g, '-')}-${what}`);
  beforeAll(async () => {
    world = await open();
    await appendAudit(world.write, 'adapter', [
      { kind: 'inbound.recorded', outcome: 'recorded', correlationId, detail: { n: 1 }, personal: { nick: '王芳' } },
      { kind: 'inbound.settled', outcome: 'settled', correlationId, policyHash: 'f'.repeat(64) },
    ]);
    await seal(world);
  }, 180_000);
  afterAll(() => world.close());

  it('verifies with the public key alone, and says that the tail is not witnessed', async () => {
    const { code, out } = await run('verify', '--key', at('seal.pub'));
    expect([code, out]).toEqual([3, expect.stringContaining('tail not witnessed')]);
  });

  it('is fine with a checkpoint, which the log itself gives', async () => {
    const { out } = await run('checkpoint');
    expect(out).toMatch(/^steward-checkpoint v1 number=\d+ /);
    writeFileSync(file('checkpoint'), out);
    const verified = await run(
      'verify',
      '--key',
      at('other.pub'),
      '--key',
      at('seal.pub'),
      '--checkpoint',
      file('checkpoint'),
    );
    expect([verified.code, verified.out]).toEqual([0, expect.stringMatching(/FINE\n$/)]);
    const { code, out: json } = await run(
      'verify',
      '--json',
      '--key',
      at('seal.pub'),
      '--checkpoint',
      file('checkpoint'),
    );
    expect([code, JSON.parse(json)]).toEqual([0, expect.objectContaining({ outcome: 'fine', entries: 2 })]);
  });

  it('is bad for a key that signed nothing, and needs one at all', async () => {
    expect((await run('verify', '--key', at('other.pub'))).code).toBe(1);
    expect(await run('verify')).toMatchObject({ code: 2, err: expect.stringContaining('(SEAL_KEY_MISSING)') });
    expect(await run('verify', '--key', at('none.pub'))).toMatchObject({
      code: 2,
      err: expect.stringContaining('(FILE_UNREADABLE)'),
    });
    const env = { STEWARD_SEAL_PUBLIC_KEYS: `${at('other.pub')},${at('seal.pub')}` };
    expect((await steward(['audit', 'verify'], { connect: keptOpen(world.operator), env })).code).toBe(3);
  });

  it('writes evidence that is checked without any database', async () => {
    expect((await run('bundle', correlationId, '-o', file('bundle'))).code).toBe(0);
    expect(statSync(file('bundle')).mode & 0o777).toBe(0o600);
    const checked = await steward(['audit', 'verify-bundle', file('bundle'), '--key', at('seal.pub')]);
    expect([checked.code, checked.out]).toEqual([0, expect.stringContaining('2 proved by signed blocks')]);
    expect(checked.out).toContain(`policy set ${'f'.repeat(64)}: its text is not in the bundle`);
    const bundle: unknown = JSON.parse(readFileSync(file('bundle'), 'utf8'), (key, value: unknown) =>
      key === 'proof' ? null : key === 'blocks' ? [] : value,
    );
    writeFileSync(file('bare'), JSON.stringify(bundle));
    expect((await steward(['audit', 'verify-bundle', file('bare'), '--key', at('seal.pub')])).code).toBe(3);
    const forged = readFileSync(file('bundle'), 'utf8').replace('王芳', '李四');
    writeFileSync(file('forged'), forged);
    expect((await steward(['audit', 'verify-bundle', file('forged'), '--key', at('seal.pub')])).code).toBe(1);
    expect(await run('bundle', correlationId, '-o', file('bundle'))).toMatchObject({
      code: 2,
      err: expect.stringContaining('(FILE_EXISTS)'),
    });
    expect(await run('bundle', 'no-id')).toMatchObject({ code: 2, err: expect.stringContaining('(AUDIT_NOT_FOUND)') });
  });

  it('exports entries, oldest first', async () => {
    const jsonl = await run('export', '--since', '2020-01-01');
    expect(
      jsonl.out
        .trim()
        .split('\n')
        .map((line): unknown => JSON.parse(line).entry.kind),
    ).toEqual(['inbound.recorded', 'inbound.settled']);
    expect((await run('export', '--since', '2020-01-01', '--format', 'csv', '-o', file('export.csv'))).code).toBe(0);
    expect(readFileSync(file('export.csv'), 'utf8')).toMatch(/^occurredAt,.*\r\n.*inbound\.recorded/);
    expect(readFileSync(file('export.csv'), 'utf8')).not.toContain('王芳');
    expect(await run('export', '--since', 'whenever')).toMatchObject({
      code: 2,
      err: expect.stringContaining('(OPERATOR_DATABASE_REFUSED)'),
    });
  });

  it('tells the story of an id, and who touched what', async () => {
    const { code, out } = await run('why', correlationId);
    expect([code, out]).toEqual([0, expect.stringContaining('audit: inbound.recorded recorded')]);
    expect(await run('why', 'nothing')).toMatchObject({ code: 2, err: expect.stringContaining('(AUDIT_NOT_FOUND)') });
    expect(await run('who-touched', 'restart_service')).toMatchObject({ code: 0, out: 'nobody, since -infinity\n' });
  });

  it('erases personal text only when it is meant, and the log still verifies', async () => {
    const [entry] = await world.operator.query<{ id: string }>(
      `select id::text as id from audit.entry where kind = 'inbound.recorded'`,
    );
    const id = entry?.id ?? '';
    expect(await run('erase', id, '--reason', 'asked for')).toMatchObject({
      code: 1,
      err: expect.stringContaining('nothing was changed'),
    });
    expect(await run('erase', id, '--reason', 'asked for', '--yes')).toMatchObject({ code: 0, out: `erased: ${id}\n` });
    await seal(world);
    writeFileSync(file('checkpoint-2'), (await run('checkpoint')).out);
    const { code, out } = await run('verify', '--key', at('seal.pub'), '--checkpoint', file('checkpoint-2'));
    expect([code, out]).toEqual([0, expect.stringContaining(`entry ${id}: erased by os li`)]);
    expect(await run('erase', id, '--reason', 'again', '--yes')).toMatchObject({ code: 2 });
  });

  it('does not drop a month that is not over, and leaves the export where it is', async () => {
    const [newest] = await world.operator.query<{ name: string }>(
      'select name from audit.partition where from_at <= now() and to_at > now()',
    );
    const { code, err } = await run('retire', newest?.name ?? '', '--export', file('retired'), '--yes');
    expect([code, err]).toEqual([2, expect.stringContaining('the database refused')]);
    expect(existsSync(file('retired'))).toBe(true);
    expect(await run('retire', 'entry_1999_01', '--export', file('none'), '--yes')).toMatchObject({
      code: 2,
      err: expect.stringContaining('(PARTITION_UNKNOWN)'),
    });
  });
});
