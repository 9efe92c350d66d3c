import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { busMessageSchema, type BusMessage } from '@steward/contracts';
import { closeAbandoned, closeAttempt, type AttemptResult } from './close-attempt.ts';
import type { OpenAttempt } from './open-attempt.ts';
import { buildReply, generous, openTestDatabase, silentLog, openerOf } from './testing.ts';

let database: Awaited<ReturnType<typeof openTestDatabase>>;
beforeAll(async () => {
  database = await openTestDatabase();
});
beforeEach(() => database.clear());
afterAll(() => database.close());

const now = () => new Date();
const limits = generous;
const context = () => ({ db: database.db, now, random: () => 0, log: silentLog });
const open = async (): Promise<OpenAttempt> => {
  const attempt = await openerOf({ db: database.db, limits })();
  if (typeof attempt === 'string') throw new Error(`nothing was opened: ${attempt}`);
  return attempt;
};
const result = (outcome: AttemptResult['outcome'], over: Partial<AttemptResult> = {}): AttemptResult => ({
  outcome,
  code: outcome === 'accepted' ? null : outcome.toUpperCase(),
  processQueryKey: null,
  retryAfterMs: null,
  ...over,
});
const close = (attempt: OpenAttempt, outcome: AttemptResult['outcome'], over: Partial<AttemptResult> = {}) =>
  closeAttempt(context(), attempt, result(outcome, over));
const message = async () => {
  const [row] = await database.rows<{ status: string; reason: string | null; unknown_count: number }>(
    'select status, reason, unknown_count, parts_accepted, session_gone from outbound_sender.outbound_message',
  );
  return row;
};
const endings = async () =>
  (
    await database.rows<{ message: BusMessage }>(
      `select message from outbound_sender.outbox where type = 'outbound.settled.v1'`,
    )
  ).map(({ message: told }) => busMessageSchema.parse(told));
const abandon = async () => {
  await database.rows(
    `update outbound_sender.outbound_message set lease_until = now() - interval '1 s' where status = 'sending'`,
  );
  return closeAbandoned(context());
};
const everything = () =>
  Promise.all(
    ['outbound_message', 'delivery_attempt', 'outbox'].map((table) =>
      database.rows(`select * from outbound_sender.${table} order by id`),
    ),
  );

describe('closing an attempt', () => {
  it('ends an accepted message, audits it and tells agent-core, all in one transaction', async () => {
    const id = await database.record();
    const attempt = await open();
    await database.rows('revoke insert on audit.entry from steward_outbound_sender');
    try {
      await expect(close(attempt, 'accepted')).rejects.toMatchObject({ code: '42501' });
    } finally {
      await database.rows('grant insert on audit.entry to steward_outbound_sender');
    }
    expect(await message()).toMatchObject({ status: 'sending' });
    expect(await endings()).toEqual([]);
    expect(await close(attempt, 'accepted', { processQueryKey: 'key' })).toMatchObject({ kind: 'end' });
    expect(await message()).toMatchObject({ status: 'accepted', reason: null, parts_accepted: 1 });
    expect(await database.rows('select outcome, process_query_key from outbound_sender.delivery_attempt')).toEqual([
      { outcome: 'accepted', process_query_key: 'key' },
    ]);
    expect(await endings()).toMatchObject([
      {
        correlationId: attempt.correlationId,
        causationId: id,
        body: { outboundMessageId: id, ending: 'accepted', reason: null, attempts: 1 },
      },
    ]);
    const audit = await database.rows(
      `select outcome from audit.entry where kind = 'outbound.ended' and subject_id = '${id}'`,
    );
    expect(audit).toEqual([{ outcome: 'accepted' }]);
  });

  it('sends the parts of a long answer one after the other', async () => {
    await database.record({ text: 'word '.repeat(6_000) });
    const texts: string[] = [];
    for (let part = 0; ; part += 1) {
      const attempt = await open();
      expect(attempt).toMatchObject({ part, number: part + 1 });
      texts.push(attempt.text);
      const next = await close(attempt, 'accepted');
      if (next?.kind === 'end') break;
      expect(next).toEqual({ kind: 'next_part' });
    }
    expect(texts.length).toBeGreaterThan(1);
    expect(texts.join(' ').split(/\s+/).filter(Boolean)).toHaveLength(6_000);
    expect(await message()).toMatchObject({ status: 'accepted', parts_accepted: texts.length });
    expect(await endings()).toHaveLength(1);
  });

  it('marks only the part that may be a repeat, and gives each part its own second chance', async () => {
    await database.record({ text: 'word '.repeat(6_000) });
    const first = await open();
    await close(first, 'unknown');
    await due();
    const again = await open();
    expect(again).toMatchObject({ part: 0, unknownCount: 1 });
    await close(again, 'accepted');
    const second = await open();
    expect(second).toMatchObject({ part: 1, unknownCount: 0 });
    expect(await close(second, 'unknown')).toMatchObject({ kind: 'again' });
  });

  it('goes over to the OpenAPI once the reply address is gone', async () => {
    await database.record({ target: buildReply({ expiresAtMs: Date.now() + 3_600_000 }) });
    const first = await open();
    expect(first.path).toBe('session_webhook');
    await close(first, 'session_gone');
    expect(await open()).toMatchObject({ path: 'group_openapi', number: 2, unknownCount: 0 });
  });

  it('tries again no sooner than the platform asked', async () => {
    await database.record();
    await close(await open(), 'retryable', { retryAfterMs: 60_000 });
    const [row] = await database.rows<{ seconds: number }>(
      'select extract(epoch from next_attempt_at - now())::float8 as seconds from outbound_sender.outbound_message',
    );
    expect(row?.seconds).toBeGreaterThan(50);
    expect(await openerOf({ db: database.db, limits })()).toBe('idle');
  });
});

describe('the early receipt', () => {
  const receipts = () =>
    database.rows<{ seconds: number }>(
      `select extract(epoch from next_publish_at - now())::float8 as seconds from outbound_sender.outbox
       where type = 'outbound.recorded.v1'`,
    );

  it('waits 2 s before it leaves, and never leaves when the message has ended by then', async () => {
    await database.record();
    const [receipt] = await receipts();
    expect(receipt?.seconds).toBeGreaterThan(0);
    expect(receipt?.seconds).toBeLessThanOrEqual(2);
    await close(await open(), 'accepted');
    expect(await receipts()).toEqual([]);
    expect(await endings()).toHaveLength(1);
  });
});

const due = () =>
  database.rows(`update outbound_sender.outbound_message set next_attempt_at = now() where status = 'queued'`);

describe('an attempt whose process died', () => {
  it('is closed as unknown, sent once more, and then left to people', async () => {
    const id = await database.record();
    await open();
    expect(await abandon()).toBe(1);
    expect(await message()).toMatchObject({ status: 'queued', unknown_count: 1 });
    await due();
    expect(await open()).toMatchObject({ outboundMessageId: id, number: 2, unknownCount: 1 });
    expect(await abandon()).toBe(1);
    expect(await message()).toMatchObject({ status: 'unknown', reason: 'PROCESS_DIED', unknown_count: 2 });
    expect(await endings()).toMatchObject([{ body: { ending: 'unknown', attempts: 2 } }]);
    await due();
    expect(await openerOf({ db: database.db, limits })()).toBe('idle');
    expect(
      await database.rows('select outcome, code, ended_at is not null as ended from outbound_sender.delivery_attempt'),
    ).toEqual([
      { outcome: 'unknown', code: 'PROCESS_DIED', ended: true },
      { outcome: 'unknown', code: 'PROCESS_DIED', ended: true },
    ]);
  });

  it('is taken over once by many replicas', async () => {
    await database.record();
    await open();
    await database.rows(`update outbound_sender.outbound_message set lease_until = now() - interval '1 s'`);
    const counts = await Promise.all(Array.from({ length: 4 }, () => closeAbandoned(context())));
    expect(counts.reduce((sum, count) => sum + count, 0)).toBe(1);
    expect(await message()).toMatchObject({ unknown_count: 1 });
  });

  it('has no effect any more when it comes back late', async () => {
    await database.record();
    const stale = await open();
    await abandon();
    await due();
    const taken = await open();
    const before = await everything();
    expect(await close(stale, 'accepted')).toBeNull();
    expect(await close(stale, 'permanent')).toBeNull();
    expect(await everything()).toEqual(before);
    expect(await close(taken, 'accepted')).toMatchObject({ kind: 'end', ending: 'accepted' });
    expect(await close(taken, 'accepted')).toBeNull();
    expect(await endings()).toHaveLength(1);
  });

  it('still ends as accepted while nobody has begun the repeat', async () => {
    await database.record();
    const stale = await open();
    await abandon();
    expect(await close(stale, 'permanent')).toBeNull();
    expect(await close(stale, 'accepted')).toMatchObject({ kind: 'end', ending: 'accepted' });
    expect(await close(stale, 'accepted')).toBeNull();
    await due();
    expect(await openerOf({ db: database.db, limits })()).toBe('idle');
    expect(await message()).toMatchObject({ status: 'accepted', unknown_count: 0, parts_accepted: 1 });
    expect(await endings()).toHaveLength(1);
  });

  it('blocks no other when it cannot be closed', async () => {
    const stuck = await database.record();
    await database.record();
    await open();
    await open();
    await database.rows(`alter table outbound_sender.delivery_attempt add constraint stuck
      check (outbound_message_id <> '${stuck}' or ended_at is null)`);
    try {
      expect(await abandon()).toBe(1);
    } finally {
      await database.rows('alter table outbound_sender.delivery_attempt drop constraint stuck');
    }
    expect(await database.rows('select id from outbound_sender.outbound_message where unknown_count = 0')).toEqual([
      { id: stuck },
    ]);
  });

  it('repeats freely where the platform drops repeats', async () => {
    await database.record({ target: { kind: 'custom_robot', robot: 'ops-alerts' } });
    for (let number = 1; number <= 4; number += 1) {
      expect(await open()).toMatchObject({ number, path: 'custom_robot' });
      await abandon();
      await due();
    }
    expect(await message()).toMatchObject({ status: 'queued', unknown_count: 4 });
  });
});
