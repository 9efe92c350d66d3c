import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { sql } from 'kysely';
import { createLogger, createMetrics, type Loop } from '@steward/service-kit';
import type { BusMessage } from '@steward/contracts';
import { createTestDatabase, waitUntil, type TestDatabase } from '@steward/testkit';
import {
  closeTold,
  createPostgres,
  createRelay,
  postponeTold,
  tell,
  type Database,
  type OutboxTables,
} from './index.ts';
import type { Publisher } from './relay.ts';
import { buildTold, silentLog } from './testing.ts';

let testDatabase: TestDatabase;
let database: Database<OutboxTables>;
let relays: Loop[] = [];
const opened: Database<OutboxTables>[] = [];
const connect = () => {
  const handle = createPostgres<OutboxTables>({
    url: testDatabase.url('steward_agent_core'),
    schema: 'agent_core',
    poolSize: 4,
    log: silentLog,
  });
  opened.push(handle);
  return handle;
};
beforeAll(async () => {
  testDatabase = await createTestDatabase();
  database = connect();
});
beforeEach(() => sql`delete from agent_core.outbox`.execute(database.db));
afterEach(async () => {
  await Promise.all(relays.map((relay) => relay.stop()));
  relays = [];
});
afterAll(async () => {
  for (const handle of opened) await handle.close();
  await testDatabase.drop();
});

/** A bus that remembers what it was given and answers as told. */
function createFakeBus(answer: (message: BusMessage) => 'confirmed' | 'unroutable' | 'failed' = () => 'confirmed') {
  const published: string[] = [];
  const bus = { published, ready: true, answer };
  const publisher: Publisher = {
    isReady: () => bus.ready,
    publish: async (messages) => {
      published.push(...messages.map(({ id }) => id));
      return messages.map((message) => bus.answer(message));
    },
  };
  return { ...bus, bus, publisher };
}

const startRelay = (publisher: Publisher, db = database.db, log = silentLog): Loop => {
  const relay = createRelay({ db, bus: publisher, log, metrics: createMetrics('test') });
  relay.start();
  relays.push(relay);
  return relay;
};
const put = async (needsReceipt: boolean, count = 1) => {
  const told = Array.from({ length: count }, () => buildTold(needsReceipt));
  await database.db.transaction().execute((trx) => tell(trx, told));
  return told;
};
type Row = { id: string; publish_count: number; seconds: number };
const rows = async () =>
  (
    await sql<Row>`select id, publish_count, extract(epoch from next_publish_at - now())::float8 as seconds
      from agent_core.outbox order by id`.execute(database.db)
  ).rows;
const makeDue = () => sql`update agent_core.outbox set next_publish_at = now()`.execute(database.db);
const patient = { timeoutMs: 10_000 };

describe('the relay', () => {
  it('forgets a row without receipt once it is confirmed', async () => {
    const [told] = await put(false);
    const { publisher, published } = createFakeBus();
    startRelay(publisher);
    await waitUntil(async () => (await rows()).length === 0, { ...patient, what: 'the row to be forgotten' });
    expect(published).toEqual([told?.message.id]);
  });

  it('forgets what was confirmed when it stops, and a row that is due again by then is not published again', async () => {
    await put(false, 3);
    const { publisher, published, bus } = createFakeBus();
    const relay = startRelay(publisher);
    await waitUntil(() => published.length === 3, { ...patient, what: 'the publications' });
    bus.ready = false;
    await makeDue();
    bus.ready = true;
    relay.wake();
    await waitUntil(async () => (await rows()).length === 0, { ...patient, what: 'the rows to be forgotten' });
    bus.answer = () => {
      bus.ready = false; // no further claim
      return 'confirmed';
    };
    await put(false);
    relay.wake();
    await waitUntil(() => published.length === 4, { ...patient, what: 'the last publication' });
    await relay.stop();
    expect(await rows()).toEqual([]);
    expect(published).toHaveLength(4);
  });

  it('publishes a row again, ever later up to 10 minutes, until the receipt comes', async () => {
    const [told] = await put(true);
    const { publisher, published } = createFakeBus();
    const relay = startRelay(publisher);
    const ceilings = [15, 30, 60, 120, 240, 480, 600, 600];
    for (const [index, seconds] of ceilings.entries()) {
      await waitUntil(async () => (await rows())[0]?.publish_count === index + 1, { ...patient, what: 'publication' });
      const [row] = await rows();
      // ±20 %, less what this test itself has taken.
      expect(row?.seconds).toBeLessThanOrEqual(seconds * 1.2);
      expect(row?.seconds).toBeGreaterThan(seconds * 0.8 - 3);
      await makeDue();
      relay.wake();
    }
    await waitUntil(() => published.length > ceilings.length, { ...patient, what: 'one more publication' });
    expect(new Set(published)).toEqual(new Set([told?.message.id]));
    const receipt = { types: ['outbound.requested.v1'] as const, subjectIds: [told?.subjectId ?? ''] };
    expect(await closeTold(database.db, receipt)).toBe(1);
    expect(await closeTold(database.db, receipt)).toBe(0);
    expect(await rows()).toEqual([]);
  });

  it('waits 10 minutes once the consumer says that it holds the row', async () => {
    const [told] = await put(true);
    await postponeTold(database.db, { types: ['outbound.requested.v1'], subjectIds: [told?.subjectId ?? ''] });
    const [row] = await rows();
    expect(row?.seconds).toBeGreaterThan(590);
  });

  it('carries what commits and nothing of what does not', async () => {
    const kept = buildTold(true);
    const { publisher, published } = createFakeBus();
    const relay = startRelay(publisher);
    await expect(
      database.db.transaction().execute(async (trx) => {
        await tell(trx, [buildTold(true)]);
        throw new Error('the fact did not happen');
      }),
    ).rejects.toThrow('did not happen');
    await database.db.transaction().execute((trx) => tell(trx, [kept]));
    relay.wake();
    await waitUntil(() => published.length > 0, { ...patient, what: 'publication' });
    expect(published).toEqual([kept.message.id]);
  });

  it('never publishes one claim twice, however many relays work at once', async () => {
    const told = await put(true, 1_500);
    const { publisher, published } = createFakeBus();
    for (let n = 0; n < 3; n += 1) startRelay(publisher, connect().db);
    await waitUntil(() => published.length >= 1_500, { timeoutMs: 15_000, what: 'all to be published' });
    await Promise.all(relays.map((relay) => relay.stop()));
    expect(published.sort()).toEqual(told.map(({ message }) => message.id).sort());
    expect((await rows()).every(({ publish_count }) => publish_count === 1)).toBe(true);
  });

  it('tries what the broker refused again after 1 s, then ever later up to 60 s, and forgets what it took', async () => {
    const [refused] = await put(false);
    const [taken] = await put(false);
    const fake = createFakeBus(({ id }) => (id === refused?.message.id ? 'unroutable' : 'confirmed'));
    const relay = startRelay(fake.publisher);
    for (const [index, seconds] of [1, 2, 4, 8, 16, 32, 60, 60].entries()) {
      const putBack = async () => {
        const present = await rows();
        const [row] = present;
        return present.length === 1 && row?.publish_count === index + 1 && row.seconds <= seconds ? row : null;
      };
      const row = await waitUntil(putBack, { ...patient, what: 'the refused row to be put back' });
      expect(row.id).toBe(refused?.message.id);
      expect(row.seconds).toBeGreaterThan(seconds - 5);
      if (index > 0) expect(fake.published).toContain(taken?.message.id);
      // The first two come by themselves.
      if (index < 1) continue;
      await makeDue();
      relay.wake();
    }
    fake.bus.answer = () => 'confirmed';
    await makeDue();
    relay.wake();
    await waitUntil(async () => (await rows()).length === 0, { ...patient, what: 'the refused row to get through' });
  });

  it('reports a row that the broker refused 20 times, and tries it every 10 minutes', async () => {
    await put(true);
    await sql`update agent_core.outbox set publish_count = 19`.execute(database.db);
    const lines: string[] = [];
    const log = createLogger({ service: 'test', write: (line) => lines.push(line) });
    const { publisher } = createFakeBus(() => 'unroutable');
    const relay = startRelay(publisher, database.db, log);
    await waitUntil(async () => (await rows())[0]?.publish_count === 20, { ...patient, what: 'the 20th refusal' });
    await waitUntil(() => lines.length > 0, { ...patient, what: 'a line' });
    expect(lines.join()).not.toContain('outbox.row.stuck');
    await makeDue();
    relay.wake();
    const isReported = () => lines.find((line) => line.includes('outbox.row.stuck'));
    const line = await waitUntil(isReported, { ...patient, what: 'the report' });
    expect(JSON.parse(line)).toMatchObject({ level: 'error', types: ['outbound.requested.v1'], count: 1 });
    const [row] = await rows();
    expect(row?.publish_count).toBe(21);
    expect(row?.seconds).toBeGreaterThan(590);
  });

  it('is not held up by 2,000 rows that nobody takes: another type goes out one batch later', async () => {
    await put(true, 2_000);
    const [fresh] = await put(false);
    const fake = createFakeBus(({ type }) => (type === 'outbound.requested.v1' ? 'unroutable' : 'confirmed'));
    startRelay(fake.publisher);
    const isOut = () => fake.published.indexOf(fresh?.message.id ?? '');
    await waitUntil(() => isOut() >= 0, { ...patient, what: 'the fresh row to go out' });
    expect(isOut()).toBeLessThanOrEqual(200);
  });

  it('claims nothing while the bus is away, and goes on when it is back', async () => {
    await put(true, 3);
    const fake = createFakeBus();
    fake.bus.ready = false;
    let looks = 0;
    const relay = startRelay({ ...fake.publisher, isReady: () => (looks += 1) > 0 && fake.bus.ready });
    for (let wakes = 1; wakes <= 3; wakes += 1) {
      relay.wake();
      await waitUntil(() => looks >= wakes, { ...patient, what: 'the relay to look' });
    }
    expect((await rows()).map(({ publish_count }) => publish_count)).toEqual([0, 0, 0]);
    fake.bus.ready = true;
    relay.wake();
    await waitUntil(() => fake.published.length === 3, { ...patient, what: 'publication' });
  });
});
