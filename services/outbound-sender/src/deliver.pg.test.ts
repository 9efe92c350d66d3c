import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { createLogger, createMetrics } from '@steward/service-kit';
import type { AttemptResult } from './close-attempt.ts';
import { deliverNext, type DeliverContext } from './deliver.ts';
import { waitUntil } from '@steward/testkit';
import { createSendLimits } from './send-limits.ts';
import { buildReply, buildSendConfig, generous, openerOf, openTestDatabase } from './testing.ts';

let database: Awaited<ReturnType<typeof openTestDatabase>>;
let lines: { level: string; event: string; code?: string }[] = [];
beforeAll(async () => {
  database = await openTestDatabase();
});
beforeEach(async () => {
  lines = [];
  await database.clear();
});
afterAll(() => database.close());

const accepted: AttemptResult = { outcome: 'accepted', code: null, processQueryKey: 'key', retryAfterMs: null };
const context = (over: Partial<DeliverContext>): DeliverContext => ({
  db: database.db,
  limits: generous,
  open: openerOf({ db: database.db, ...over }),
  send: () => Promise.resolve(accepted),
  log: createLogger({ service: 'test', write: (line) => lines.push(JSON.parse(line)) }),
  metrics: createMetrics('outbound-sender'),
  now: () => new Date(),
  random: () => 0,
  onEnded: () => undefined,
  ...over,
});
const forbidClosing = () => database.rows('revoke insert on audit.entry from steward_outbound_sender');
const allowClosing = () => database.rows('grant insert on audit.entry to steward_outbound_sender');
const status = () => database.rows('select status, attempt_count from outbound_sender.outbound_message');
const events = (event: string) => lines.filter((line) => line.event === event);

describe('a delivery', () => {
  it('closes with what the platform said, though closing fails at first', async () => {
    await database.record();
    const send = async () => {
      await forbidClosing();
      return accepted;
    };
    const delivery = deliverNext(context({ send }));
    try {
      const failedTwice = () => events('delivery.close.failed').length >= 2;
      await waitUntil(failedTwice, { timeoutMs: 20_000, what: 'closing to fail twice' });
    } finally {
      await allowClosing();
    }
    expect(await delivery).toBe('more');
    expect(await status()).toEqual([{ status: 'accepted', attempt_count: 1 }]);
  });

  it('sends nothing when the process stood still until its lease was nearly over', async () => {
    await database.record();
    const started = Date.now();
    let calls = 0;
    let sent = 0;
    // The lease is counted from the first look at the clock.
    const now = () => new Date(started + (calls++ === 0 ? 0 : 34_000));
    const send = () => {
      sent += 1;
      return Promise.resolve(accepted);
    };
    const open = openerOf({ db: database.db });
    expect(await deliverNext(context({ now, send, open }))).toBe('more');
    expect(sent).toBe(0);
    expect(await database.rows('select outcome, code from outbound_sender.delivery_attempt')).toEqual([
      { outcome: 'retryable', code: 'LEASE_ENDED' },
    ]);
    expect(await status()).toEqual([{ status: 'queued', attempt_count: 1 }]);
  });

  it.each([
    [300_000, 300],
    [86_400_000, 600],
  ])('pauses for the %i ms that the platform asks for, and for ten minutes at most', async (ms, seconds) => {
    await database.record();
    const refused: AttemptResult = { ...accepted, outcome: 'retryable', code: '1111', wish: { scope: 'egress', ms } };
    const limits = createSendLimits(buildSendConfig());
    await deliverNext(context({ limits, send: () => Promise.resolve(refused) }));
    const [held] = await database.rows<{ seconds: number }>(
      `select extract(epoch from held_until - now())::float8 as seconds from outbound_sender.send_budget where budget = 'egress'`,
    );
    expect(held?.seconds).toBeGreaterThan(seconds - 30);
    expect(held?.seconds).toBeLessThanOrEqual(seconds);
  });

  it('gives closing up when the lease is over, and says aloud what is lost', async () => {
    await database.record();
    let nowMs = Date.now();
    const send = async () => {
      await forbidClosing();
      nowMs += 46_000;
      return accepted;
    };
    try {
      await expect(deliverNext(context({ send, now: () => new Date(nowMs) }))).rejects.toMatchObject({ code: '42501' });
    } finally {
      await allowClosing();
    }
    expect(events('delivery.outcome.lost')).toMatchObject([{ level: 'error', outcome: 'accepted' }]);
    expect(await status()).toEqual([{ status: 'sending', attempt_count: 1 }]);
  });

  it('calls no API of an organisation again whose month is spent, on any replica, and answers by webhook go on', async () => {
    const config = buildSendConfig();
    const spent: AttemptResult = {
      ...{ outcome: 'permanent', code: '90020', processQueryKey: null, retryAfterMs: null },
      wish: { scope: 'organisation', ms: 600_000 },
    };
    const paths: string[] = [];
    const replica = () =>
      context({
        ...{ db: database.connect(), limits: createSendLimits(config) },
        send: ({ path }) => Promise.resolve(paths.push(path) && path === 'session_webhook' ? accepted : spent),
      });
    await database.record();
    await deliverNext(replica());
    await database.record();
    await database.record({ target: buildReply({ expiresAtMs: Date.now() + 600_000 }) });
    const other = replica();
    const isQuiet = async () => (await deliverNext(other)) === 'idle' && paths.length > 1;
    await waitUntil(isQuiet, { timeoutMs: 20_000, what: 'the answer by webhook' });
    expect(paths).toEqual(['group_openapi', 'session_webhook']);
    expect(await database.rows('select status, reason from outbound_sender.outbound_message order by status')).toEqual([
      { status: 'accepted', reason: null },
      { status: 'failed', reason: '90020' },
      { status: 'queued', reason: null },
    ]);
    expect(events('send.held')).toMatchObject([{ scope: 'organisation corp-1' }]);
  });

  it('calls for people once for each message when the app is refused, and keeps the message', async () => {
    await database.record();
    let code = '60011';
    const send = () =>
      Promise.resolve({ ...accepted, outcome: 'retryable' as const, code, retryAfterMs: 0, misconfigured: true });
    for (let n = 0; n < 3; n += 1) await deliverNext(context({ send }));
    code = '60020';
    await deliverNext(context({ send }));
    expect(events('delivery.app.refused')).toMatchObject([
      { level: 'error', code: '60011' },
      { level: 'error', code: '60020' },
    ]);
    expect(await status()).toEqual([{ status: 'queued', attempt_count: 4 }]);
  });
});
