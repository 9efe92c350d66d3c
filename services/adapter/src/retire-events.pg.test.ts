import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { sql } from 'kysely';
import { createMetrics } from '@steward/service-kit';
import { createRetention } from '@steward/postgres';
import { waitUntil } from '@steward/testkit';
import { noteReuse } from './note-reuse.ts';
import { createInboundRecorder } from './record-inbound.ts';
import { retireEvents, retireFindings } from './retire-events.ts';
import { buildInbound, openTestDatabase, silentLog } from './testing.ts';

let database: Awaited<ReturnType<typeof openTestDatabase>>;
beforeAll(async () => {
  database = await openTestDatabase();
});
afterAll(() => database.close());

const newSource = () => `robot-${randomUUID()}`;
/** Events that were last seen so many days ago, with ids as they were made then. */
const addEvents = (source: string, o: { count: number; days: number; settled?: boolean; bornDays?: number }) =>
  database.rows(`
    insert into adapter.inbound_event
      (id, kind, source, source_id, conversation_id, sequence, correlation_id, door, body_hash, first_seen_at, last_seen_at, settled_at)
    select (left(adapter.first_id_of(now() - interval '${o.bornDays ?? o.days} days')::text, 13) || right(gen_random_uuid()::text, 23))::uuid,
      'robot_message', '${source}', 'msg-${o.days}-' || n, 'cid-${o.days}-${o.settled ?? true}', n, gen_random_uuid(), 'http', '\\x00',
      now() - interval '${o.bornDays ?? o.days} days', now() - interval '${o.days} days',
      ${(o.settled ?? true) ? 'now()' : 'null'}
    from generate_series(1, ${o.count}) n`);
const idsOf = (source: string) =>
  database.rows<{ source_id: string }>(
    `select source_id from adapter.inbound_event where source = '${source}' order by 1`,
  );
const retireAll = async () => {
  const metrics = createMetrics('test');
  let rounds = 0;
  const retention = createRetention({
    table: 'inbound_event',
    retire: async (rows) => {
      const count = await retireEvents(database.db, rows);
      rounds += 1;
      if (count < rows) done();
      return count;
    },
    log: silentLog,
    metrics,
  });
  let done: () => void = () => undefined;
  const finished = new Promise<void>((resolve) => (done = resolve));
  retention.start();
  await finished;
  await retention.stop();
  return rounds;
};

describe('the retention of the ledger', () => {
  it('deletes what was last seen more than 30 days ago in batches, and nothing else', async () => {
    const source = newSource();
    await addEvents(source, { count: 2_500, days: 31 });
    await addEvents(source, { count: 3, days: 29 });
    await addEvents(source, { count: 2, days: 400, settled: false });
    // Delivered again lately: it counts from then on.
    await addEvents(source, { count: 1, days: 5, bornDays: 90 });
    expect(await retireAll()).toBe(6);
    expect((await idsOf(source)).map(({ source_id: id }) => id)).toEqual([
      'msg-29-1',
      'msg-29-2',
      'msg-29-3',
      'msg-400-1',
      'msg-400-2',
      'msg-5-1',
    ]);
  });

  it('refuses a redelivery of what is 29 days old after its work, with one effect as ever', async () => {
    const source = newSource();
    await addEvents(source, { count: 1, days: 29 });
    await addEvents(source, { count: 5, days: 31 });
    await retireAll();
    const recorder = createInboundRecorder({
      db: database.db,
      onCommitted: () => undefined,
      onAltered: () => undefined,
    });
    const again = buildInbound({ source, sourceId: 'msg-29-1', conversationId: 'cid-29-true', bodyHashHex: '00' });
    expect(await recorder.record(again)).toMatchObject({ duplicate: true });
    expect(await idsOf(source)).toHaveLength(1);
  });

  it('waits for nobody: a row that is held is left for later, and two replicas share the work', async () => {
    const source = newSource();
    await addEvents(source, { count: 1_000, days: 35 });
    await database.admin.transaction().execute(async (trx) => {
      const held = await sql<{ id: string }>`
        select id from adapter.inbound_event where source = ${source} and source_id = 'msg-35-7' for update`.execute(
        trx,
      );
      expect(held.rows).toHaveLength(1);
      const [first, second] = [database.db, database.connect()];
      let left = 1;
      while (left > 0)
        left = (await Promise.all([retireEvents(first, 100), retireEvents(second, 100)])).reduce((a, b) => a + b, 0);
      expect(await idsOf(source)).toEqual([{ source_id: 'msg-35-7' }]);
    });
    expect(await retireEvents(database.db, 100)).toBe(1);
    expect(await idsOf(source)).toEqual([]);
  });

  it('does not stop the recording of new events meanwhile', async () => {
    const source = newSource();
    await addEvents(source, { count: 3_000, days: 31 });
    const recorder = createInboundRecorder({
      db: database.connect(),
      onCommitted: () => undefined,
      onAltered: () => undefined,
    });
    const retiring = retireAll();
    const recorded = await Promise.all(
      Array.from({ length: 300 }, (_, n) => recorder.record(buildInbound({ source, conversationId: `cid-${n % 3}` }))),
    );
    await retiring;
    expect(recorded.every(({ duplicate }) => !duplicate)).toBe(true);
    expect(await idsOf(source)).toHaveLength(300);
  });

  it('gives the adapter no way to delete what is younger', async () => {
    const source = newSource();
    await addEvents(source, { count: 1, days: 29 });
    await expect(sql`delete from adapter.inbound_event`.execute(database.db)).rejects.toMatchObject({ code: '42501' });
    await expect(sql`delete from adapter.security_finding`.execute(database.db)).rejects.toMatchObject({
      code: '42501',
    });
    await retireEvents(database.db, 1_000_000);
    expect(await idsOf(source)).toHaveLength(1);
  });
});

describe('security findings', () => {
  const findings = (source: string) =>
    database.rows<{ kind: string; source_id: string; count: number; refused: { content: unknown } | null }>(
      `select kind, source_id, count, refused, encode(body_hash, 'hex') as hash, encode(expected_hash, 'hex') as expected,
         inbound_event_id is not null as known from adapter.security_finding where source = '${source}' order by body_hash`,
    );
  const createRecorder = () =>
    createInboundRecorder({ db: database.db, onCommitted: () => undefined, onAltered: () => undefined });

  it('keep a body that came under a known id, as it would have been told, and count it when it comes again', async () => {
    const source = newSource();
    const recorder = createRecorder();
    const record = (bodyHashHex: string) => recorder.record(buildInbound({ source, sourceId: 'm1', bodyHashHex }));
    await record('aa');
    await record('aa');
    expect(await findings(source)).toEqual([]);
    await record('bb');
    await record('bb');
    await Promise.all([record('cc'), record('aa'), record('bb'), record('bb')]);
    expect(await findings(source)).toMatchObject([
      { kind: 'body_altered', source_id: 'm1', hash: 'bb', expected: 'aa', count: 4, known: true },
      { kind: 'body_altered', source_id: 'm1', hash: 'cc', expected: 'aa', count: 1, known: true },
    ]);
    expect((await findings(source))[0]?.refused).toMatchObject({ content: { kind: 'text', text: 'hello' } });
    // The first one won, and nothing was told of the others.
    expect(await idsOf(source)).toHaveLength(1);
    const told = await database.rows(
      `select from adapter.outbox o join adapter.inbound_event e on e.id = o.subject_id where e.source = '${source}'`,
    );
    expect(told).toHaveLength(1);
  });

  it('are at most 20 for one id, however many bodies come', async () => {
    const source = newSource();
    const recorder = createRecorder();
    const record = (n: number) =>
      recorder.record(buildInbound({ source, sourceId: 'm1', bodyHashHex: n.toString(16).padStart(4, '0') }));
    for (let n = 0; n <= 30; n += 1) await record(n);
    expect(await findings(source)).toHaveLength(20);
    const [row] = await database.rows(`select altered_count from adapter.inbound_event where source = '${source}'`);
    expect(row).toEqual({ altered_count: 30 });
  });

  it('hold a reused signature too, are audited, and go after half a year', async () => {
    const source = newSource();
    await noteReuse(database.db, { robot: source, msgId: 'm9', count: 3 });
    expect(await findings(source)).toMatchObject([{ kind: 'signature_reused', source_id: 'm9', count: 3 }]);
    const audited = () =>
      database.rows(
        `select outcome from audit.entry where kind = 'signature.reused' and detail ->> 'robot' = '${source}'`,
      );
    await waitUntil(async () => (await audited()).length === 1, { timeoutMs: 5_000, what: 'the entry' });
    expect(await retireFindings(database.db, 10)).toBe(0);
    await database.rows(`update adapter.security_finding set last_seen_at = now() - interval '181 days'
      where source = '${source}'`);
    expect(await retireFindings(database.db, 10)).toBe(1);
  });
});
