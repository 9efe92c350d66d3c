import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { createLogger, createMetrics } from '@steward/service-kit';
import { waitUntil } from '@steward/testkit';
import { answerQuota } from './answer-quota.ts';
import { buildGateConfig, buildTurnContext } from './gate.test-support.ts';
import { openTestDatabase } from './testing.ts';
import { countReceived, createMessageWatch } from './watch-messages.ts';

let database: Awaited<ReturnType<typeof openTestDatabase>>;
beforeAll(async () => (database = await openTestDatabase()));
beforeEach(() => database.rows('truncate adapter.inbound_event'));
afterAll(() => database.close());

const config = buildGateConfig();
const [robot] = config.robots;
const corpId = robot?.corpId ?? '';
const monthStart = `date_trunc('month', now() at time zone 'Asia/Shanghai') at time zone 'Asia/Shanghai'`;
/** So many events at that moment: an id begins with its time. */
const receive = (count: number, source = robot?.code ?? '', at = 'now()') =>
  database.rows(`
    insert into adapter.inbound_event (id, kind, source, correlation_id, door, body_hash)
    select (left(adapter.first_id_of(${at})::text, 23) || right(gen_random_uuid()::text, 13))::uuid, 'card_click', '${source}',
      gen_random_uuid(), 'http', '\\x00'
    from generate_series(1, ${count})`);

describe('the messages of the month', () => {
  it('are those of the organisation’s robots and apps since the month began in China', async () => {
    await receive(3);
    await receive(2, robot?.appKey);
    await receive(4, robot?.code, monthStart);
    await receive(5, robot?.code, `${monthStart} - interval '1 ms'`);
    await receive(6, 'somebody-elses');
    expect(await countReceived(database.db, config.robots, corpId)).toBe(9);
    expect(await countReceived(database.db, config.robots, 'another organisation')).toBe(0);
  });

  it('stand in the answer to /quota, with the quota where one is configured', async () => {
    await receive(7);
    const facts = { version: '1', timeZone: 'UTC', modelName: null, apiCallsPerMonth: null, now: () => new Date() };
    const ask = (messagesPerMonth: number | null) =>
      answerQuota(buildTurnContext(database.db, { facts: { ...facts, messagesPerMonth } }), robot?.code ?? '');
    expect(await ask(null)).toContain('Messages received this month: 7.');
    expect(await ask(3_000)).toContain('Messages received this month: 7 of 3000.');
  });

  it('are shown, and said aloud once when few are left', async () => {
    await receive(17);
    const lines: { event: string; share?: number }[] = [];
    const metrics = createMetrics('test');
    const log = createLogger({ service: 'test', write: (line) => lines.push(JSON.parse(line)) });
    const watch = createMessageWatch({ db: database.db, robots: config.robots, messagesPerMonth: 20, log, metrics });
    watch.start();
    const low = () => lines.filter(({ event }) => event === 'quota.messages.low');
    await waitUntil(() => low().length > 0, { timeoutMs: 10_000, what: 'the line' });
    watch.wake();
    await receive(2);
    await waitUntil(
      () => {
        watch.wake();
        return low().length > 1;
      },
      { timeoutMs: 10_000, what: 'the second line' },
    );
    await watch.stop();
    expect(low().map(({ share }) => share)).toEqual([0.85, 0.95]);
    expect(await metrics.registry.metrics()).toMatch(/steward_quota_messages_used_ratio\{.*\} 0\.95/);
  });
});
