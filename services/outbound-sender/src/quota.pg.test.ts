import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { createLogger, createMetrics, stewardConfigSchema } from '@steward/service-kit';
import type { Lane } from '@steward/contracts';
import { waitUntil } from '@steward/testkit';
import { closeAbandoned, closeAttempt, type AttemptResult } from './close-attempt.ts';
import type { OpenAttempt } from './open-attempt.ts';
import { createQuotaWatch, listQuotas, type Quota } from './quota.ts';
import { buildReply, openTestDatabase, silentLog, openerOf } from './testing.ts';

let database: Awaited<ReturnType<typeof openTestDatabase>>;
beforeAll(async () => (database = await openTestDatabase()));
beforeEach(async () => {
  await database.clear();
  await database.rows('truncate outbound_sender.quota_use');
});
afterAll(() => database.close());

const now = () => new Date();
const quotas: readonly Quota[] = [
  { organisation: 'corp-1', perMonth: 100, budgets: ['robot dingtest', 'robot other'] },
];
const open = () => openerOf({ db: database.db, quotas })();
const opened = async (): Promise<OpenAttempt> => {
  const attempt = await open();
  if (typeof attempt === 'string') throw new Error(`nothing was opened: ${attempt}`);
  return attempt;
};
const close = (attempt: OpenAttempt, outcome: AttemptResult['outcome']) =>
  closeAttempt({ db: database.db, now, random: () => 0 }, attempt, {
    ...{ outcome, code: outcome === 'accepted' ? null : outcome, processQueryKey: null, retryAfterMs: 0 },
  });
const used = () => database.rows('select budget, path, lane, used::int from ops.api_calls order by lane, path');
const spend = (count: number, budget = 'robot other') =>
  database.rows(`insert into outbound_sender.quota_use values
    (date_trunc('month', now() at time zone 'Asia/Shanghai')::date, '${budget}', 'card', 'answer', ${count})`);

describe('the ledger of API calls', () => {
  it('counts each call by what it was for, whatever came of it', async () => {
    for (const outcome of ['accepted', 'permanent', 'invalid'] as const) {
      await database.record();
      await close(await opened(), outcome);
    }
    await database.record({ lane: 'approval' });
    await close(await opened(), 'accepted');
    expect(await used()).toEqual(
      [
        { budget: 'robot dingtest', path: 'group_openapi', lane: 'answer', used: 3 },
        { budget: 'robot dingtest', path: 'group_openapi', lane: 'approval', used: 1 },
      ].sort((a, b) => a.lane.localeCompare(b.lane)),
    );
  });

  it('leaves out what the platform does: refusals for our rate, and webhooks', async () => {
    await database.record();
    await close(await opened(), 'retryable');
    await database.clear();
    await database.record({ target: buildReply({ expiresAtMs: Date.now() + 3_600_000 }) });
    const attempt = await opened();
    expect(attempt.path).toBe('session_webhook');
    await close(attempt, 'accepted');
    expect(await used()).toEqual([]);
  });

  it('counts a call whose process died once, also when its yes arrives late', async () => {
    await database.record();
    const attempt = await opened();
    await database.rows(`update outbound_sender.outbound_message set lease_until = now() - interval '1 s'`);
    expect(await closeAbandoned({ db: database.db, now, random: () => 0, log: silentLog })).toBe(1);
    await close(attempt, 'accepted');
    expect(await used()).toMatchObject([{ used: 1 }]);
  });
});

describe('a month that runs out', () => {
  const outcomes = async () => {
    const goes: Partial<Record<Lane, string>> = {};
    for (const lane of ['control', 'approval', 'answer', 'bulk'] as const) {
      await database.clear();
      await database.record({ lane });
      const attempt = await open();
      const [row] = await database.rows<{ status: string; reason: string | null }>(
        'select status, reason from outbound_sender.outbound_message',
      );
      goes[lane] = typeof attempt === 'string' ? `${row?.status} ${row?.reason}` : 'goes';
    }
    return goes;
  };

  it.each([
    [79, { control: 'goes', approval: 'goes', answer: 'goes', bulk: 'goes' }],
    [80, { control: 'goes', approval: 'goes', answer: 'goes', bulk: 'failed QUOTA_SAVED' }],
    [95, { control: 'goes', approval: 'goes', answer: 'failed QUOTA_SAVED', bulk: 'failed QUOTA_SAVED' }],
    [200, { control: 'goes', approval: 'goes', answer: 'failed QUOTA_SAVED', bulk: 'failed QUOTA_SAVED' }],
  ])('at %i of 100 calls, spent by any robot of the organisation', async (count, expected) => {
    await spend(count);
    expect(await outcomes()).toEqual(expected);
  });

  it('still answers through reply addresses, which cost nothing', async () => {
    await spend(100);
    await database.record({ target: buildReply({ expiresAtMs: Date.now() + 3_600_000 }) });
    expect(await open()).toMatchObject({ path: 'session_webhook' });
  });

  it('is another month’s and another organisation’s to spend', async () => {
    await spend(500, 'robot stranger');
    await database.rows(`insert into outbound_sender.quota_use values
      (date_trunc('month', now() - interval '40 days')::date, 'robot dingtest', 'card', 'answer', 500)`);
    expect(await outcomes()).toMatchObject({ bulk: 'goes' });
  });

  it('is shown, and said aloud once', async () => {
    const lines: { event: string }[] = [];
    const log = createLogger({ service: 'test', write: (line) => lines.push(JSON.parse(line)) });
    const metrics = createMetrics('test');
    await spend(81);
    const watch = createQuotaWatch({ db: database.db, quotas, log, metrics });
    watch.start();
    await waitUntil(() => lines.length > 0, { timeoutMs: 10_000, what: 'the warning' });
    watch.wake();
    await new Promise((resolve) => setTimeout(resolve, 300));
    await watch.stop();
    expect(lines).toMatchObject([{ event: 'quota.low', organisation: 'corp-1', perMonth: 100, share: 0.81 }]);
    expect(await metrics.registry.metrics()).toMatch(
      /steward_quota_used_ratio\{[^}]*organisation="corp-1"[^}]*\} 0\.81/,
    );
  });
});

describe('the quotas of a configuration', () => {
  const robot = (code: string, corpId: string) => ({
    ...{ code, name: code, environment: 'test', corpId, appKey: 'key', doors: ['stream'], appSecretFile: 'secret' },
  });
  const robots = [robot('a', 'corp-1'), robot('b', 'corp-1'), robot('c', 'corp-2')];

  it('are of each organisation, and none where no number is given', () => {
    expect(listQuotas(stewardConfigSchema.parse({ robots, dingtalk: { apiCallsPerMonth: 5_000 } }))).toEqual([
      { organisation: 'corp-1', perMonth: 5_000, budgets: ['robot a', 'robot b'] },
      { organisation: 'corp-2', perMonth: 5_000, budgets: ['robot c'] },
    ]);
    expect(listQuotas(stewardConfigSchema.parse({ robots }))).toEqual([]);
  });
});
