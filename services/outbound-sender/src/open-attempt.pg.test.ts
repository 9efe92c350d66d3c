import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { sql } from 'kysely';
import { newId } from '@steward/service-kit';
import type { Db } from '@steward/postgres';
import { waitUntil } from '@steward/testkit';
import { closeAttempt } from './close-attempt.ts';
import type { SenderTables } from './database.ts';
import { holdScope } from './hold-scope.ts';
import { isAnythingDue, type OpenAttempt } from './open-attempt.ts';
import type { SendLimits } from './send-limits.ts';
import { buildReply, generous, limitsOf, openTestDatabase, openerOf } from './testing.ts';

let database: Awaited<ReturnType<typeof openTestDatabase>>;
beforeAll(async () => {
  database = await openTestDatabase();
});
beforeEach(() => database.clear());
afterAll(() => database.close());

const now = () => new Date();
const open = (limits = generous, db: Db<SenderTables> = database.db) => openerOf({ db, limits })();
const opened = async (limits = generous): Promise<OpenAttempt> => {
  const attempt = await open(limits);
  if (typeof attempt === 'string') throw new Error(`nothing was opened: ${attempt}`);
  return attempt;
};
/** Messages that somebody has claimed and not written yet. */
const claimed = async () => {
  const [row] = await database.rows<{ count: number }>(
    `select count(*)::int as count from outbound_sender.outbound_message
     where status = 'queued' and attempt_count = 0 and next_attempt_at between now() and now() + interval '2 s'`,
  );
  return row?.count;
};
const accept = (attempt: OpenAttempt) =>
  closeAttempt({ db: database.db, now, random: () => 0 }, attempt, {
    outcome: 'accepted',
    code: null,
    processQueryKey: null,
    retryAfterMs: null,
  });

describe('opening an attempt', () => {
  it('writes the attempt as unknown, with its lease, before anything is sent', async () => {
    const id = await database.record();
    const attempt = await opened();
    expect(attempt).toMatchObject({ outboundMessageId: id, number: 1, part: 0, path: 'group_openapi', text: 'hello' });
    const ledger = await database.rows(
      `select m.status, m.attempt_count, m.lease_until > now() as leased, a.outcome, a.ended_at, a.number
       from outbound_sender.outbound_message m join outbound_sender.delivery_attempt a on a.outbound_message_id = m.id`,
    );
    expect(ledger).toEqual([
      { status: 'sending', attempt_count: 1, leased: true, outcome: 'unknown', ended_at: null, number: 1 },
    ]);
    expect(await open()).toBe('idle');
  });

  it('takes the most urgent lane first, and the oldest of a lane', async () => {
    const bulk = await database.record({ lane: 'bulk' });
    const first = await database.record({ lane: 'answer' });
    const second = await database.record({ lane: 'answer' });
    const control = await database.record({ lane: 'control' });
    const order = [await opened(), await opened(), await opened(), await opened()];
    expect(order.map(({ outboundMessageId }) => outboundMessageId)).toEqual([control, first, second, bulk]);
  });

  it('looks at few messages however many wait, with a plan that was made while none did', async () => {
    const one = database.connect(1);
    // The first ones are planned each time, the fifth is prepared, and its plan kept from its sixth time on.
    for (let times = 0; times < 20; times += 1) expect(await open(generous, one)).toBe('idle');
    await database.record();
    await database.rows(`
      insert into outbound_sender.outbound_message (id, correlation_id, environment, lane, budget, target, content, parts, status)
      select gen_random_uuid(), correlation_id, environment, lane, budget, target, content, parts, status
      from outbound_sender.outbound_message, generate_series(1, 2000)`);
    const read = await one.transaction().execute(async (trx) => {
      expect(await open(generous, trx)).toMatchObject({ number: 1 });
      const { rows } = await sql<{ read: number }>`
        select (seq_tup_read + idx_tup_fetch)::int as read from pg_stat_xact_user_tables
        where (schemaname, relname) = ('outbound_sender', 'outbound_message')`.execute(trx);
      return rows[0]?.read;
    });
    expect(read).toBeLessThan(100);
  });

  it.each([
    [0, 'failed'],
    [1, 'unknown'],
  ])(
    'gives up, after %i attempts of unknown outcome, as %s, and says so in the audit log',
    async (unknowns, ending) => {
      const id = await database.record();
      await database.rows(`
      update outbound_sender.outbound_message set unknown_count = ${unknowns}, recorded_at = now() - interval '7 hours'`);
      expect(await openerOf({ db: database.db, isHeldBack: () => true })()).toBe('again');
      expect(await database.rows('select status, reason from outbound_sender.outbound_message')).toEqual([
        { status: ending, reason: 'BREAKER_OPEN' },
      ]);
      expect(
        await database.rows(`select outcome from audit.entry where kind = 'outbound.ended' and subject_id = '${id}'`),
      ).toEqual([{ outcome: ending }]);
    },
  );

  it('gives each message to one of many openers', async () => {
    const ids = await Promise.all(Array.from({ length: 12 }, () => database.record()));
    const given: string[] = [];
    const opener = async () => {
      const db = database.connect(1);
      for (let idle = 0; idle < 3;) {
        const attempt = await open(generous, db);
        if (attempt === 'idle') idle += 1;
        else if (attempt !== 'again') given.push(attempt.outboundMessageId);
      }
    };
    await Promise.all(Array.from({ length: 4 }, opener));
    expect(given.sort()).toEqual(ids.sort());
  });

  it('gives calls that come together a message each', async () => {
    const ids = await Promise.all(Array.from({ length: 6 }, () => database.record()));
    const openNext = openerOf({ db: database.db });
    const attempts = await Promise.all(Array.from({ length: 8 }, openNext));
    const given = attempts.flatMap((attempt) => (typeof attempt === 'string' ? [] : [attempt.outboundMessageId]));
    expect(given.sort()).toEqual(ids.sort());
    expect(attempts.filter((attempt) => attempt === 'idle')).toHaveLength(2);
  });

  it.each([
    { now: 'is being sent', set: `attempt_count = 1, status = 'sending', lease_until = now() + interval '1 min'` },
    { now: 'waits to be tried again', set: `attempt_count = 1, next_attempt_at = now() + interval '1 min'` },
    { now: 'has ended', set: `status = 'failed', ended_at = now()` },
  ])('writes nothing and spends nothing for a message that another claimed too and that $now', async ({ set }) => {
    await database.record();
    const quotas = [{ organisation: 'corp-1', perMonth: 1_000, budgets: ['robot dingtest'] }];
    const slow = await database.admin.transaction().execute(async (trx) => {
      await sql`lock table outbound_sender.quota_use`.execute(trx);
      const opening = openerOf({ db: database.db, quotas })(); // has claimed, and waits to read the quota
      await waitUntil(async () => (await claimed()) === 1, { timeoutMs: 5_000, what: 'the claim' });
      await sql.raw(`update outbound_sender.outbound_message set ${set}`).execute(trx);
      return { opening };
    });
    expect(await slow.opening).toBe('again');
    expect(await database.rows('select from outbound_sender.delivery_attempt')).toEqual([]);
    expect(await database.rows('select from outbound_sender.send_budget')).toEqual([]);
  });

  it('leaves a message that was claimed and not written to the next claim, after two seconds', async () => {
    await database.record();
    const broken = () => {
      throw new Error('broken');
    };
    await expect(openerOf({ db: database.db, isHeldBack: broken })()).rejects.toThrow('broken');
    expect(await open()).toBe('idle');
    expect(await claimed()).toBe(1);
    await database.rows(
      `update outbound_sender.outbound_message set next_attempt_at = next_attempt_at - interval '2 s'`,
    );
    expect(await opened()).toMatchObject({ number: 1 });
  });

  it('waits for the answer before it, whatever way that ends', async () => {
    const first = await database.record();
    const second = await database.record({ after: first });
    const attempt = await opened();
    expect(attempt.outboundMessageId).toBe(first);
    expect(await open()).toBe('idle');
    await accept(attempt);
    expect((await opened()).outboundMessageId).toBe(second);
  });

  it('waits two minutes, longer than the broker’s refusals are tried again, and no longer, for an answer that never came', async () => {
    const id = await database.record({ after: newId() });
    await database.rows(`update outbound_sender.outbound_message set recorded_at = now() - interval '90 s'`);
    expect(await open()).toBe('idle');
    await database.rows(`update outbound_sender.outbound_message set recorded_at = now() - interval '121 s'`);
    expect((await opened()).outboundMessageId).toBe(id);
  });

  it('ends a message that has no way to its recipient as failed, and says so', async () => {
    const id = await database.record({ target: buildReply({ kind: 'single', staffId: null, expiresAtMs: null }) });
    expect(await open()).toBe('again');
    expect(await open()).toBe('idle');
    expect(await database.rows('select status, reason, attempt_count from outbound_sender.outbound_message')).toEqual([
      { status: 'failed', reason: 'NO_WAY_TO_RECIPIENT', attempt_count: 0 },
    ]);
    expect(
      await database.rows(
        `select message -> 'body' ->> 'ending' as ending from outbound_sender.outbox where type = 'outbound.settled.v1' and subject_id = '${id}'`,
      ),
    ).toEqual([{ ending: 'failed' }]);
    expect(await database.rows('select from outbound_sender.send_budget')).toEqual([]);
  });
});

describe('a path that is held back', () => {
  it('puts its messages off without an attempt and without spending the budget; other paths go on', async () => {
    const held = await database.record();
    await database.record({ target: { kind: 'person', robotCode: 'dingtest', staffId: 'staff-1' } });
    const asked: string[] = [];
    const o = {
      db: database.db,
      limits: generous,
      quotas: [],
      now,
      random: () => 0.5,
      isHeldBack: (path: string, budget: string) => {
        asked.push(`${path} ${budget}`);
        return path === 'group_openapi';
      },
    };
    expect(await openerOf(o)()).toBe('again');
    expect(await database.rows('select from outbound_sender.send_budget')).toEqual([]);
    expect(await openerOf(o)()).toMatchObject({ path: 'person_openapi' });
    expect(await openerOf(o)()).toBe('idle');
    expect(asked).toEqual(['group_openapi robot dingtest', 'person_openapi robot dingtest']);
    expect(
      await database.rows(
        `select status, attempt_count, next_attempt_at > now() as later from outbound_sender.outbound_message where id = '${held}'`,
      ),
    ).toEqual([{ status: 'queued', attempt_count: 0, later: true }]);
  });

  it('ends a message as failed that could not be sent for six hours', async () => {
    await database.record();
    await database.rows(`update outbound_sender.outbound_message set recorded_at = now() - interval '7 h'`);
    expect(await openerOf({ db: database.db, isHeldBack: () => true })()).toBe('again');
    expect(await database.rows('select status, reason from outbound_sender.outbound_message')).toEqual([
      { status: 'failed', reason: 'BREAKER_OPEN' },
    ]);
  });
});

describe('looking for what is due', () => {
  it('says what opening would find', async () => {
    expect(await isAnythingDue(database.db)).toBe(false);
    await database.record();
    expect(await isAnythingDue(database.db)).toBe(true);
    await opened();
    expect(await isAnythingDue(database.db)).toBe(false);
  });

  it('reads nothing of what waits for a spent budget', async () => {
    await database.rows(
      `insert into outbound_sender.send_budget values ('robot slow', '3 s', now() + interval '1 hour')`,
    );
    await database.rows(`insert into outbound_sender.outbound_message
      (id, correlation_id, environment, lane, budget, target, content, parts, status)
      select gen_random_uuid(), gen_random_uuid(), 'test', 'answer', 'robot slow', '{}', '{}', '[]', 'queued'
      from generate_series(1, 20000)`);
    await database.rows('analyze outbound_sender.outbound_message');
    const quick = await database.record();
    const read = async () => {
      await database.rows('select pg_stat_clear_snapshot()');
      const [row] = await database.rows<{ n: number }>(
        `select (seq_tup_read + coalesce(idx_tup_fetch, 0))::int + (select sum(idx_tup_read)::int from pg_stat_user_indexes
           where relid = t.relid) as n
         from pg_stat_user_tables t where relid = 'outbound_sender.outbound_message'::regclass`,
      );
      return row?.n ?? 0;
    };
    const session = database.connect(1);
    await sql`select pg_stat_force_next_flush()`.execute(session);
    const before = await read();
    expect(await isAnythingDue(session)).toBe(true);
    expect(await open(generous, session)).toMatchObject({ outboundMessageId: quick });
    await sql`select pg_stat_force_next_flush()`.execute(session);
    expect((await read()) - before).toBeLessThan(1_000);
  });
});

describe('the send budget', () => {
  it('never admits more than it should in any window, under four openers at once', async () => {
    // 600 a minute is one each 100 ms; two may come together.
    const spacingMs = 100;
    for (let n = 0; n < 25; n += 1) await database.record();
    let admitted = 0;
    const opener = async () => {
      const db = database.connect(1);
      while (admitted < 25) {
        const attempt = await open(
          limitsOf(() => 600),
          db,
        );
        if (attempt !== 'idle' && attempt !== 'again') admitted += 1;
      }
    };
    await Promise.all(Array.from({ length: 4 }, opener));
    // The database's own clock says when: a row's time is that of the transaction that let it through.
    const starts = await database.rows<{ ms: number }>(
      `select (extract(epoch from started_at) * 1000)::float8 as ms from outbound_sender.delivery_attempt order by started_at`,
    );
    expect(starts).toHaveLength(25);
    for (let from = 0; from < starts.length; from += 1) {
      for (let to = from; to < starts.length; to += 1) {
        const windowMs = starts[to]!.ms - starts[from]!.ms;
        expect(to - from + 1).toBeLessThanOrEqual(Math.floor(windowMs / spacingMs + 1e-6) + 2);
      }
    }
  }, 60_000);

  it('holds back one robot and not the others', async () => {
    const of = (robotCode: string) => ({ target: { kind: 'group' as const, robotCode, conversationId: 'cid' } });
    const limits = limitsOf((budget) => (budget === 'robot slow' ? 1 : 60_000_000));
    for (let n = 0; n < 2; n += 1) await database.record(of('slow'));
    await database.record(of('quick'));
    const codes = [await opened(limits), await opened(limits)].map(({ budget }) => budget);
    expect(codes).toEqual(['robot slow', 'robot quick']);
    expect(await open(limits)).toBe('idle');
    await database.rows(`update outbound_sender.send_budget set next_free_at = now() where budget = 'robot slow'`);
    expect((await opened(limits)).budget).toBe('robot slow');
  });

  it('keeps room for control and approvals in a budget that answers have used up, and for what is old', async () => {
    const limits = limitsOf(() => 1);
    await database.record();
    await opened(limits);
    const late = await database.record();
    expect(await open(limits)).toBe('idle');
    const approval = await database.record({ lane: 'approval' });
    expect((await opened(limits)).outboundMessageId).toBe(approval);
    expect(await open(limits)).toBe('idle');
    await database.rows(`update outbound_sender.send_budget set next_free_at = now() + interval '55 s'`);
    expect(await open(limits)).toBe('idle');
    await database.rows(
      `update outbound_sender.outbound_message set recorded_at = now() - interval '6 min' where id = '${late}'`,
    );
    expect((await opened(limits)).outboundMessageId).toBe(late);
  });

  it('lets one claim in ten take what waited longest, so that no lane starves', async () => {
    const bulk = await database.record({ lane: 'bulk' });
    const control = await database.record({ lane: 'control' });
    const drawn = await openerOf({ db: database.db, random: () => 0.09 })();
    expect(drawn).toMatchObject({ outboundMessageId: bulk });
    const rest = await openerOf({ db: database.db, random: () => 0.1 })();
    expect(rest).toMatchObject({ outboundMessageId: control });
  });
});

describe('several limits', () => {
  const wide = { spacingMs: 0.001, burst: 2 };
  const limits: SendLimits = {
    of: ({ budget, target }) => [
      { scope: budget, ...wide },
      { scope: `room ${target.kind === 'group' ? target.conversationId : ''}`, spacingMs: 60_000, burst: 3 },
      { scope: 'egress', ...wide },
    ],
    scopeToHold: () => null,
  };
  const to = (conversationId: string) => ({
    target: { kind: 'group' as const, robotCode: 'dingtest', conversationId },
  });
  const budgets = () =>
    database.rows<{ budget: string; next_free_at: Date }>(
      'select budget, next_free_at from outbound_sender.send_budget order by budget',
    );

  it('admit a send together or not at all, and name the time when they will', async () => {
    for (let n = 0; n < 3; n += 1) await database.record(to('busy'));
    await opened(limits);
    await opened(limits);
    const before = await budgets();
    expect(await open(limits)).toBe('again');
    expect(await budgets()).toEqual(before);
    const [put] = await database.rows<{ seconds: number; status: string; attempt_count: number }>(
      `select extract(epoch from next_attempt_at - now())::float8 as seconds, status, attempt_count
       from outbound_sender.outbound_message where status = 'queued'`,
    );
    expect(put).toMatchObject({ status: 'queued', attempt_count: 0 });
    // Three at once, of which one half is kept: two are out, and the third may go half a minute later.
    expect(put?.seconds).toBeGreaterThan(25);
    expect(put?.seconds).toBeLessThanOrEqual(30);
    await database.record(to('quiet'));
    expect((await opened(limits)).target).toMatchObject({ conversationId: 'quiet' });
  });

  it('wait for each other in one order, under many openers', async () => {
    const turned: SendLimits = {
      ...limits,
      of: (sending) => [...limits.of(sending)].reverse(),
    };
    for (let n = 0; n < 40; n += 1) await database.record(to(`room-${n % 20}`));
    let opens = 0;
    const opener = async (which: SendLimits) => {
      const db = database.connect(1);
      for (let idle = 0; idle < 3;) {
        const attempt = await open(which, db);
        if (attempt === 'idle') idle += 1;
        else if (attempt !== 'again') opens += 1;
      }
    };
    await Promise.all([limits, turned, limits, turned].map(opener));
    expect(opens).toBe(40);
  });
});

describe('a scope that the platform wants paused', () => {
  const pause = (scope: string, ms: number) =>
    database.db.transaction().execute((trx) => holdScope(trx, { scope, ms, reason: '130101', correlationId: newId() }));

  it('is audited once when many replicas are refused at once', async () => {
    await database.record({ target: { kind: 'custom_robot', robot: 'alerts' } });
    await opened();
    const scope = 'custom_robot alerts';
    const isNew = await Promise.all(Array.from({ length: 6 }, () => pause(scope, 60_000)));
    expect(isNew.filter(Boolean)).toHaveLength(1);
  });

  it('is paused for every replica, until its time is over', async () => {
    await database.record();
    expect(await pause('robot dingtest', 60_000)).toBe(true);
    expect(await isAnythingDue(database.db)).toBe(false);
    expect(await open(generous, database.connect(1))).toBe('idle');
    await database.rows(`update outbound_sender.send_budget set held_until = now() - interval '1 ms'`);
    await opened();
    expect(await database.rows('select held_until, held_reason from outbound_sender.send_budget')).toEqual([
      { held_until: null, held_reason: null },
    ]);
  });

  it('stops what goes by it, though the budget is free', async () => {
    const limits: SendLimits = {
      of: ({ budget }) => [
        { scope: budget, spacingMs: 0.001, burst: 2 },
        { scope: 'egress', spacingMs: 0.001, burst: 2 },
      ],
      scopeToHold: () => 'egress',
    };
    const id = await database.record();
    await pause('egress', 300_000);
    expect(await open(limits)).toBe('again');
    const [put] = await database.rows<{ seconds: number }>(
      `select extract(epoch from next_attempt_at - now())::float8 as seconds from outbound_sender.outbound_message where id = '${id}'`,
    );
    expect(put?.seconds).toBeGreaterThan(290);
  });

  it('keeps the longer of two pauses, and is audited once', async () => {
    await database.rows(`delete from outbound_sender.send_budget`);
    expect(await pause('robot paused-twice', 300_000)).toBe(true);
    expect(await pause('robot paused-twice', 2_000)).toBe(false);
    const [held] = await database.rows<{ seconds: number }>(
      `select extract(epoch from held_until - now())::float8 as seconds from outbound_sender.send_budget`,
    );
    expect(held?.seconds).toBeGreaterThan(290);
    expect(
      await database.rows(
        `select detail from audit.entry where kind = 'send.held' and subject_id = 'robot paused-twice'`,
      ),
    ).toEqual([{ detail: { reason: '130101', seconds: 300 } }]);
  });
});

describe('retries', () => {
  const fail = () =>
    database.rows(`update outbound_sender.outbound_message set status = 'queued', lease_until = null,
    reason = 'HTTP_503', next_attempt_at = now() where status = 'sending'`);

  const retryAll = async () => {
    const startedMs = Date.now();
    let retries = 0;
    while ((await open()) !== 'again') retries += 1;
    // One more for each ten seconds that this took.
    return { retries, earned: (Date.now() - startedMs) / 10_000 };
  };
  const tryFirst = async (count: number) => {
    for (let n = 0; n < count; n += 1) {
      await database.record();
      await opened();
    }
    await fail();
  };

  it('are at most a fifth of the first attempts, after the ten that a quiet budget has saved', async () => {
    await tryFirst(20);
    const saved = await retryAll();
    expect(saved.retries).toBeGreaterThanOrEqual(10);
    expect(saved.retries).toBeLessThanOrEqual(10 + saved.earned);
    await database.rows(`update outbound_sender.outbound_message
      set status = 'failed', lease_until = null, ended_at = now() where ended_at is null`);
    await database.rows('update outbound_sender.send_budget set retry_tokens = 0, retry_tokens_at = now()');
    const startedMs = Date.now();
    await tryFirst(12);
    const { retries } = await retryAll();
    expect(retries).toBeGreaterThanOrEqual(2);
    expect(retries).toBeLessThanOrEqual(2.4 + (Date.now() - startedMs) / 10_000);
  });

  it('go on slowly where nothing new is sent: one in ten seconds', async () => {
    await database.record();
    await opened();
    await fail();
    await database.rows('update outbound_sender.send_budget set retry_tokens = 0, retry_tokens_at = now()');
    expect(await open()).toBe('again');
    const [put] = await database.rows<{ seconds: number }>(
      `select extract(epoch from next_attempt_at - now())::float8 as seconds from outbound_sender.outbound_message`,
    );
    expect(put?.seconds).toBeGreaterThan(9);
    expect(put?.seconds).toBeLessThanOrEqual(10);
    await database.rows(`update outbound_sender.send_budget set retry_tokens_at = now() - interval '11 s'`);
    await database.rows('update outbound_sender.outbound_message set next_attempt_at = now()');
    await opened();
  });
});
