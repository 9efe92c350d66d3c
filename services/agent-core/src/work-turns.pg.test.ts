import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { createLogger, createMetrics, type Loop } from '@steward/service-kit';
import { waitUntil } from '@steward/testkit';
import type { AskModel } from './ask-model.ts';
import { buildTurnContext } from './gate.test-support.ts';
import { recordInbound } from './record-inbound.ts';
import { buildConfig, buildReceived, openTestDatabase } from './testing.ts';
import { createTurnWorker } from './work-turns.ts';

let database: Awaited<ReturnType<typeof openTestDatabase>>;
let workers: Loop[] = [];
beforeAll(async () => {
  database = await openTestDatabase();
});
beforeEach(() => database.clear());
afterEach(async () => {
  await Promise.all(workers.map((worker) => worker.stop()));
  workers = [];
});
afterAll(() => database.close());

const base = buildConfig();
const room = { name: 'r', robot: 'ops', environment: 'test' as const };
const config = {
  ...base,
  rooms: [...base.rooms, ...[1, 2, 3, 4, 5, 6, 7, 8].map((n) => ({ ...room, id: `room-${n}`, name: `room ${n}` }))],
};

const now = () => new Date();
const record = (sequence: number, text: string, room = 'cid-1') =>
  recordInbound({ db: database.db, now }, buildReceived({ sequence, text, room }));
function startWorker(askModel: AskModel) {
  const metrics = createMetrics('test');
  const lines: string[] = [];
  const log = createLogger({ service: 'test', write: (line) => lines.push(line) });
  const worker = createTurnWorker({
    ...buildTurnContext(database.connect(8), { log, metrics, now, askModel }, config),
    onEnded: () => undefined,
  });
  worker.start();
  workers.push(worker);
  return { worker, metrics, lines };
}
const turns = () =>
  database.rows<{ sequence: number; status: string; attempt: number; outcome: string | null }>(
    'select sequence, status, attempt, outcome from agent_core.turn order by sequence',
  );
const answers = async () =>
  (
    await database.rows<{ text: string }>(
      `select text from agent_core.transcript where speaker = 'robot' order by sequence`,
    )
  ).map(({ text }) => text);
const reply = (text: string) => ({ text, calls: [], model: 'm', promptHash: 'h' });
const wait = { timeoutMs: 15_000 };

describe('the worker', () => {
  it('answers a conversation in order with three replicas, and commands while words wait', async () => {
    let letGo: () => void = () => undefined;
    const gate = new Promise<void>((resolve) => (letGo = resolve));
    const order: number[] = [];
    const model: AskModel = async ({ turn: { sequence } }) => {
      order.push(sequence);
      await gate;
      return reply(`answer ${sequence}`);
    };
    for (let sequence = 1; sequence <= 5; sequence += 1) await record(sequence, `question ${sequence}`);
    await record(6, '/ping');
    for (let n = 0; n < 3; n += 1) startWorker(model);
    await waitUntil(async () => (await turns())[5]?.status === 'done', { ...wait, what: 'the command to be answered' });
    await waitUntil(() => order.length > 0, { ...wait, what: 'the model to be asked' });
    expect(order).toEqual([1]);
    letGo();
    await waitUntil(async () => (await turns()).every(({ status }) => status === 'done'), {
      ...wait,
      what: 'all turns',
    });
    expect(order).toEqual([1, 2, 3, 4, 5]);
    expect((await answers()).slice(0, 5)).toEqual([1, 2, 3, 4, 5].map((n) => `answer ${n}`));
  });

  it('answers commands while more turns than it has slots wait for the model', async () => {
    for (let n = 1; n <= 8; n += 1) await record(1, 'question', `room-${n}`);
    let asked = 0;
    const { worker } = startWorker(({ signal }) => {
      asked += 1;
      return new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => reject(new Error('stopped')));
      });
    });
    await waitUntil(() => asked === 4, { ...wait, what: 'every slot to wait for the model' });
    await record(2, '/ping', 'room-1');
    worker.wake();
    await waitUntil(async () => (await answers()).length === 1, { ...wait, what: 'the command to be answered' });
    expect(asked).toBe(4);
  });

  it('logs why an attempt failed, whatever failed, and measures from the recording on', async () => {
    await record(1, '/ping');
    await database.rows(`update agent_core.turn set created_at = now() - interval '1 h'`);
    await record(1, 'hello', 'room-2');
    const { metrics, lines } = startWorker(() => Promise.reject(new Error('bug')));
    await waitUntil(() => lines.some((line) => line.includes('turn.attempt.failed')), { ...wait, what: 'the line' });
    const line = lines.find((line) => line.includes('turn.attempt.failed')) ?? '';
    expect(line).toContain('correlationId');
    expect(line).toContain('bug');
    await waitUntil(async () => (await answers()).length === 1, { ...wait, what: 'the answer' });
    const seconds = async () =>
      /turn_seconds_sum\{[^}]*lane="control"[^}]*\} (\S+)/.exec(await metrics.registry.metrics())?.[1];
    await waitUntil(async () => (await seconds()) !== undefined, { ...wait, what: 'the measure' });
    expect(Number(await seconds())).toBeGreaterThan(3_600);
  });

  it('puts a failed attempt back for later, and later gives it up with a word to the person', async () => {
    await record(1, 'hello');
    startWorker(() => Promise.reject(new Error('bug')));
    await waitUntil(
      async () => {
        await database.rows(`update agent_core.turn set next_attempt_at = now() where status = 'queued'`);
        return (await turns())[0]?.status === 'failed';
      },
      { ...wait, what: 'the turn to be given up' },
    );
    expect(await turns()).toEqual([{ sequence: 1, status: 'failed', attempt: 5, outcome: 'failed' }]);
    expect(await answers()).toEqual([expect.stringContaining('Something went wrong')]);
  });

  it('gives the turn in hand back when it stops, at once and without an answer', async () => {
    await record(1, 'hello');
    let asked = false;
    const { worker } = startWorker(({ signal }) => {
      asked = true;
      return new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => reject(new Error('stopped')));
      });
    });
    await waitUntil(() => asked, { ...wait, what: 'the model to be asked' });
    await worker.stop();
    expect(await answers()).toEqual([]);
    const due = await database.rows(`select from agent_core.turn where status = 'queued' and next_attempt_at <= now()`);
    expect(due).toHaveLength(1);
    startWorker(() => Promise.resolve(reply('from another process')));
    await waitUntil(async () => (await answers()).length === 1, { ...wait, what: 'the answer' });
    expect(await answers()).toEqual(['from another process']);
  });

  it('drops what it made of a turn that another process has taken over', async () => {
    await record(1, 'hello');
    const pending: ((text: string) => void)[] = [];
    const model: AskModel = () => new Promise((resolve) => pending.push((text) => resolve(reply(text))));
    const slow = startWorker(model);
    await waitUntil(() => pending.length === 1, { ...wait, what: 'the first attempt' });
    // Until it is taken over: the heartbeat holds on to a lease that nobody has taken.
    const isTaken = async () => {
      await database.rows(`update agent_core.turn set lease_until = now() - interval '1 s' where attempt = 1`);
      return pending.length === 2;
    };
    await waitUntil(isTaken, { ...wait, what: 'the second attempt' });
    pending[0]?.('stale');
    const lost = slow.metrics.counter('steward_turn_lost_total', '', []);
    await waitUntil(async () => (await lost.get()).values[0]?.value === 1, { ...wait, what: 'the loss to be counted' });
    expect(await answers()).toEqual([]);
    pending[1]?.('fresh');
    await waitUntil(async () => (await answers()).length === 1, { ...wait, what: 'the answer' });
    expect(await answers()).toEqual(['fresh']);
    expect(await turns()).toMatchObject([{ status: 'done', attempt: 2 }]);
  });
});
