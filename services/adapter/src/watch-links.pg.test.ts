import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { sql } from 'kysely';
import { createMetrics, type Loop } from '@steward/service-kit';
import type { StreamStatus } from '@steward/dingtalk';
import { waitUntil } from '@steward/testkit';
import { openTestDatabase, silentLog } from './testing.ts';
import { createLinkWatch } from './watch-links.ts';

let database: Awaited<ReturnType<typeof openTestDatabase>>;
let watches: Loop[] = [];
beforeAll(async () => (database = await openTestDatabase()));
beforeEach(() => sql`truncate adapter.stream_link, adapter.stream_gap, adapter.outbox`.execute(database.admin));
afterEach(async () => {
  await Promise.all(watches.map((watch) => watch.stop()));
  watches = [];
});
afterAll(() => database.close());

/** A process of the adapter with a link of which the test says what it hears. */
function startProcess(first: 'up' | 'down' = 'up') {
  let deafSinceMs: number | null = null;
  let connected = first === 'up';
  let told = 0;
  const watch = createLinkWatch({
    db: database.connect(),
    links: [
      {
        robot: { code: 'dingtest', name: 'test', environment: 'test' },
        status: (): StreamStatus => ({
          connected,
          deafSinceMs,
          lastFrameAtMs: null,
          connectionIds: ['c-1'],
          reconnects: 0,
        }),
      },
    ],
    ...{ noticeAfterSeconds: 15, log: silentLog, metrics: createMetrics('test'), now: () => new Date() },
    onTold: () => (told += 1),
  });
  watch.start();
  watches.push(watch);
  return {
    up: () => (connected = true),
    /** It has been deaf for so long already. */
    down: (agoMs: number) => {
      connected = false;
      deafSinceMs = Date.now() - agoMs;
    },
    told: () => told,
    look: () => watch.wake(),
    stop: () => watch.stop(),
  };
}
const links = () =>
  database.rows<{ age: number; connection_ids: string[] }>(
    'select extract(epoch from now() - alive_at)::float8 as age, connection_ids from adapter.stream_link',
  );
const gaps = () =>
  database.rows<{ seconds: number; is_covered: boolean; is_told: boolean }>(
    'select seconds::float8, is_covered, is_told from ops.stream_gaps order by to_at',
  );
const told = () =>
  database.rows<{ message: { body: object } }>(`select message from adapter.outbox where type = 'link.interrupted.v1'`);
const wait = (what: string, read: () => Promise<boolean>) => waitUntil(read, { timeoutMs: 10_000, what });
const isUp = (count: number) => wait('a link to be seen', async () => (await links()).length === count);
/** The process noticed that it is deaf, and then that it is not. */
async function comeBack(process: ReturnType<typeof startProcess>, agoMs: number): Promise<void> {
  const before = (await gaps()).length;
  process.down(agoMs);
  await new Promise((resolve) => setTimeout(resolve, 1_200));
  process.up();
  await wait('the gap', async () => (await gaps()).length > before);
}

describe('the times without a Stream link', () => {
  it('are none at the very first start', async () => {
    startProcess();
    await isUp(1);
    expect(await links()).toMatchObject([{ connection_ids: ['c-1'] }]);
    expect(await gaps()).toEqual([]);
  });

  it('are recorded and audited, and the rooms are told of a long one', async () => {
    const process = startProcess();
    await isUp(1);
    await comeBack(process, 20_000);
    const [gap] = await gaps();
    expect(gap).toMatchObject({ is_covered: false, is_told: true });
    expect(gap?.seconds).toBeGreaterThan(20);
    expect(gap?.seconds).toBeLessThan(30);
    expect(await told()).toMatchObject([{ message: { body: { robotCode: 'dingtest', environment: 'test' } } }]);
    await wait('the wake-up', () => Promise.resolve(process.told() === 1));
    expect(
      await database.rows(
        `select outcome from audit.entry where kind = 'link.interrupted' and robot_code = 'dingtest'`,
      ),
    ).toEqual([{ outcome: 'told' }]);
  });

  it('are nothing to tell of while they are short', async () => {
    const process = startProcess();
    await isUp(1);
    await comeBack(process, 5_000);
    expect(await gaps()).toMatchObject([{ is_covered: false, is_told: false }]);
    expect(await told()).toEqual([]);
  });

  it('are covered where another process heard the robot', async () => {
    const [process] = [startProcess(), startProcess()];
    await isUp(2);
    await comeBack(process, 20_000);
    expect(await gaps()).toMatchObject([{ is_covered: true, is_told: false }]);
    expect(await told()).toEqual([]);
  });

  it('are told once when several processes come back together', async () => {
    const processes = [startProcess(), startProcess()];
    await isUp(2);
    for (const process of processes) process.down(20_000);
    await new Promise((resolve) => setTimeout(resolve, 1_200));
    await sql`update adapter.stream_link set alive_at = now() - interval '20 seconds'`.execute(database.admin);
    for (const process of processes) process.up();
    await wait('both gaps', async () => (await gaps()).length === 2);
    expect((await gaps()).filter(({ is_told }) => is_told)).toHaveLength(1);
    expect(await told()).toHaveLength(1);
  });

  it('are known across a start of the only process, and short restarts are no gap', async () => {
    const first = startProcess();
    await isUp(1);
    await first.stop();
    await sql`update adapter.stream_link set alive_at = now() - interval '9 seconds'`.execute(database.admin);
    const second = startProcess();
    await isUp(2);
    expect(await gaps()).toEqual([]);
    await second.stop();
    await sql`update adapter.stream_link set alive_at = now() - interval '60 seconds'`.execute(database.admin);
    startProcess();
    await wait('the gap', async () => (await gaps()).length === 1);
    expect(await gaps()).toMatchObject([{ is_covered: false, is_told: true }]);
  });

  it('are known of a link that fell before anybody looked at it', async () => {
    const process = startProcess('down');
    await new Promise((resolve) => setTimeout(resolve, 300));
    await comeBack(process, 20_000);
    expect(await gaps()).toMatchObject([{ is_covered: false, is_told: true }]);
  });

  it('forgets processes that are long gone', async () => {
    await sql`insert into adapter.stream_link values ('dingtest', gen_random_uuid(), now() - interval '2 days', '{}')`.execute(
      database.admin,
    );
    startProcess();
    await wait('the old row to go', async () => (await links()).every(({ age }) => age < 60));
  });

  it('are covered by nobody who is deaf too or has stopped, however lately it was alive', async () => {
    const gone = startProcess();
    const deaf = startProcess();
    await isUp(2);
    await gone.stop();
    deaf.down(0);
    await wait(
      'it to say so',
      async () => (await database.rows('select from adapter.stream_link where is_deaf')).length === 2,
    );
    const process = startProcess();
    await isUp(3);
    await comeBack(process, 6_000);
    expect((await gaps()).at(-1)).toMatchObject({ is_covered: false });
  });
});
