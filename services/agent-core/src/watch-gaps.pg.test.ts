import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { createMetrics, type Loop } from '@steward/service-kit';
import { waitUntil } from '@steward/testkit';
import { claimTurn } from './claim-turn.ts';
import { recordInbound } from './record-inbound.ts';
import { buildReceived, everyLane, openTestDatabase, silentLog } from './testing.ts';
import { createGapWatch } from './watch-gaps.ts';

let database: Awaited<ReturnType<typeof openTestDatabase>>;
let watches: Loop[] = [];
let woken = 0;
beforeAll(async () => {
  database = await openTestDatabase();
});
beforeEach(() => database.clear());
afterEach(async () => {
  await Promise.all(watches.map((watch) => watch.stop()));
  watches = [];
});
afterAll(() => database.close());

const record = (sequence: number, room = 'cid-1') =>
  recordInbound({ db: database.db, now: () => new Date() }, buildReceived({ sequence, room }));
/** As many replicas as asked for, each looking at least once from now on. */
const watch = (replicas = 1) => {
  for (let n = 0; n < replicas; n += 1) {
    const gapWatch = createGapWatch({
      db: database.connect(2),
      log: silentLog,
      metrics: createMetrics('test'),
      wake: () => (woken += 1),
    });
    gapWatch.start();
    watches.push(gapWatch);
  }
};
const age = (seconds: number, column = 'gap_since') =>
  database.rows(`update agent_core.conversation set ${column} = now() - interval '${seconds} s'`);
const asked = () =>
  database.rows<{ fromSequence: number; toSequence: number; conversationId: string }>(
    `select (message #>> '{body,fromSequence}')::integer as "fromSequence",
       (message #>> '{body,toSequence}')::integer as "toSequence",
       message #>> '{body,conversationId}' as "conversationId"
     from agent_core.outbox where type = 'inbound.missing.v1'`,
  );
const through = async () => {
  const [row] = await database.rows<{ recorded_through: number }>(
    'select recorded_through from agent_core.conversation',
  );
  return row?.recorded_through;
};

describe('the gap watch', () => {
  it('asks for what is missing after 5 s, once for all replicas, and again only 5 s later', async () => {
    await record(1);
    await record(4);
    watch(3);
    await age(3);
    await record(5);
    expect(await asked()).toEqual([]);
    const wokenBefore = woken;
    await age(6);
    await waitUntil(async () => (await asked()).length > 0, { timeoutMs: 10_000, what: 'the question' });
    await waitUntil(() => woken > wokenBefore, { timeoutMs: 10_000, what: 'the relay to be woken' });
    expect(await asked()).toEqual([{ conversationId: 'cid-1', fromSequence: 2, toSequence: 3 }]);
    await age(6, 'gap_asked_at');
    await waitUntil(async () => (await asked()).length === 2, { timeoutMs: 10_000, what: 'the second question' });
    expect(await through()).toBe(1);
  });

  it('goes on without it after 120 s, says so in the audit log, and still works on it when it comes late', async () => {
    await record(2);
    await record(3);
    await record(6);
    await age(121);
    watch(2);
    await waitUntil(async () => (await through()) === 3, { timeoutMs: 10_000, what: 'the number to be skipped' });
    const audit = await database.rows(
      `select outcome, detail ->> 'fromSequence' as first, detail ->> 'toSequence' as last from audit.entry where kind = 'inbound.skipped'`,
    );
    expect(audit).toEqual([{ outcome: 'missing', first: '1', last: '1' }]);
    // 4 and 5 are another gap with a time of its own.
    expect(
      await database.rows(`select from agent_core.conversation where gap_since > now() - interval '60 s'`),
    ).toHaveLength(1);
    await record(1);
    expect(await claimTurn(database.db, everyLane)).toMatchObject({ sequence: 1 });
    expect(await through()).toBe(3);
  });

  it('locks no conversation for the sake of another: each gap has a transaction of its own', async () => {
    for (const room of ['a', 'b', 'c']) await record(2, room);
    await age(6);
    watch();
    await waitUntil(async () => (await asked()).length === 3, { timeoutMs: 10_000, what: 'the questions' });
    const transactions = await database.rows(
      `select distinct xmin::text from agent_core.outbox where type = 'inbound.missing.v1'`,
    );
    expect(transactions).toHaveLength(3);
  });

  it('is silent when the number comes in time', async () => {
    await record(2);
    await age(4);
    await record(1);
    await age(200, 'gap_asked_at');
    watch();
    await record(3);
    expect(await through()).toBe(3);
    expect(await asked()).toEqual([]);
  });
});
