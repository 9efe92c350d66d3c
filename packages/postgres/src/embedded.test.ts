import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { sql, type Kysely } from 'kysely';
import { newId } from '@steward/service-kit';
import {
  appendAudit,
  assertMigrated,
  createEmbedded,
  migrate,
  tell,
  type Embedded,
  type OutboxTables,
} from './index.ts';
import { buildTold, silentLog } from './testing.ts';

let embedded: Embedded;
let owner: Kysely<OutboxTables>;
let adapter: Kysely<OutboxTables>;
let core: Kysely<OutboxTables>;
beforeAll(async () => {
  embedded = await createEmbedded({});
  owner = embedded.database<OutboxTables>({ role: null }).db;
  await migrate({ db: embedded.database<unknown>({ role: null }).db, log: silentLog });
  adapter = embedded.database<OutboxTables>({ schema: 'adapter', role: 'steward_adapter' }).db;
  core = embedded.database<OutboxTables>({ schema: 'agent_core', role: 'steward_agent_core' }).db;
}, 180_000);
afterAll(() => embedded.close());

const raw = (db: Kysely<OutboxTables>, text: string) => sql.raw(text).execute(db);
const held = () => {
  let letGo: () => void = () => undefined;
  let taken: () => void = () => undefined;
  const isTaken = new Promise<void>((resolve) => (taken = resolve));
  const release = new Promise<void>((resolve) => (letGo = resolve));
  return { taken: () => taken(), isTaken, release, letGo: () => letGo() };
};

describe('the embedded database', () => {
  it('runs every migration, and again without effect', async () => {
    await migrate({ db: embedded.database<unknown>({ role: null }).db, log: silentLog });
    await expect(assertMigrated(adapter)).resolves.toBeUndefined();
    await expect(assertMigrated(core)).resolves.toBeUndefined();
    const { rows } = await sql`select name from migration.kysely_migration`.execute(owner);
    expect(rows.length).toBeGreaterThanOrEqual(4);
  });

  it('shows each service its own schema and no other', async () => {
    await expect(raw(adapter, 'select * from adapter.outbox')).resolves.toBeDefined();
    await expect(raw(adapter, 'select * from agent_core.turn')).rejects.toMatchObject({ code: '42501' });
    await expect(raw(core, 'select * from adapter.inbound_event')).rejects.toMatchObject({ code: '42501' });
    await expect(raw(core, 'select * from audit.entry')).rejects.toMatchObject({ code: '42501' });
    // The connection is one and the same: the role of the last user does not stick to it.
    await expect(raw(owner, 'select * from agent_core.turn')).resolves.toBeDefined();
  });

  it('refuses to change the audit log, even for the owner', async () => {
    await appendAudit(adapter, 'adapter', [{ kind: 'inbound.recorded', outcome: 'accepted', subjectId: 's' }]);
    for (const statement of [`update audit.entry set kind = 'x'`, 'delete from audit.entry', 'truncate audit.entry'])
      await expect(raw(owner, statement)).rejects.toThrow('append-only');
    const { rows } = await sql`select service from audit.entry`.execute(owner);
    expect(rows).toEqual([{ service: 'adapter' }]);
  });

  it('claims rows with SKIP LOCKED, keeps transactions whole and reads counters as numbers', async () => {
    const told = [buildTold(true), buildTold(true)];
    await expect(
      core.transaction().execute(async (trx) => {
        await tell(trx, told);
        throw new Error('the fact did not happen');
      }),
    ).rejects.toThrow('did not happen');
    await core.transaction().execute((trx) => tell(trx, told));
    const claim = () =>
      core
        .updateTable('outbox')
        .set({ publish_count: sql`publish_count + 1` })
        .where('id', 'in', (due) =>
          due.selectFrom('outbox').select('id').orderBy('id').limit(1).forUpdate().skipLocked(),
        )
        .returning(['id', 'message'])
        .execute();
    const [claimed] = await claim();
    expect(told.map(({ message }) => message)).toContainEqual(claimed?.message);
    const { rows } = await sql`select count(*) as n, max(publish_count)::bigint as most from agent_core.outbox`.execute(
      core,
    );
    expect(rows).toEqual([{ n: 2, most: 1 }]);
    const { numDeletedRows } = await core.deleteFrom('outbox').where('id', '=', newId()).executeTakeFirst();
    expect(numDeletedRows).toBe(0n);
  });
});

describe('the one connection', () => {
  it('makes others wait 5 s for a transaction at most, then says who holds it, and serves them after it', async () => {
    const gate = held();
    const slow = adapter.transaction().execute(async (trx) => {
      await sql`select 1`.execute(trx);
      gate.taken();
      await gate.release;
    });
    await gate.isTaken;
    const waiting = raw(core, 'select 1');
    await expect(waiting).rejects.toMatchObject({
      code: 'EMBEDDED_DATABASE_BUSY',
      retryable: true,
      message: expect.stringMatching(/steward_agent_core waited 5000 ms .* held by steward_adapter/),
    });
    const patient = raw(core, 'select 1');
    gate.letGo();
    await slow;
    await expect(patient).resolves.toBeDefined();
  }, 30_000);

  it('rejects instead of hanging when `db` is awaited inside a transaction', async () => {
    const reentrant = adapter.transaction().execute(async () => {
      await raw(adapter, 'select 1');
    });
    await expect(reentrant).rejects.toMatchObject({ code: 'EMBEDDED_DATABASE_BUSY' });
    await expect(raw(adapter, 'select 1')).resolves.toBeDefined();
  }, 30_000);

  it('stays usable after a statement, a transaction or the choice of a role failed', async () => {
    await expect(raw(adapter, 'select no_such_column')).rejects.toMatchObject({ code: '42703' });
    await expect(adapter.transaction().execute((trx) => sql`select 1 / 0`.execute(trx))).rejects.toMatchObject({
      code: '22012',
    });
    const nobody = embedded.database<OutboxTables>({ role: 'no_such_role' as 'steward_adapter' }).db;
    await expect(raw(nobody, 'select 1')).rejects.toThrow('does not exist');
    await expect(raw(core, 'select 1')).resolves.toBeDefined();
  }, 30_000);
});
