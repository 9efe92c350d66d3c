import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { busMessageSchema, type BusMessage } from '@steward/contracts';
import { newId } from '@steward/service-kit';
import { createOperatorDesk, type OperatorAnswer } from '@steward/postgres';
import { waitUntil } from '@steward/testkit';
import { answerOperator } from './answer-operator.ts';
import { closeAttempt } from './close-attempt.ts';
import type { AttemptOutcome } from './database.ts';
import type { OpenAttempt } from './open-attempt.ts';
import { openTestDatabase, silentLog, openerOf } from './testing.ts';

let database: Awaited<ReturnType<typeof openTestDatabase>>;
beforeAll(async () => {
  database = await openTestDatabase();
});
beforeEach(() => database.clear());
afterAll(() => database.close());

const now = () => new Date();
const context = () => ({ db: database.db, now, random: () => 0 });
const next = () => openerOf({ db: database.db })();
async function attempt(outcome: AttemptOutcome): Promise<OpenAttempt> {
  const opened = await next();
  if (typeof opened === 'string') throw new Error(`nothing was opened: ${opened}`);
  const code = outcome === 'accepted' ? null : outcome.toUpperCase();
  await closeAttempt(context(), opened, { outcome, code, processQueryKey: null, retryAfterMs: null });
  return opened;
}
/** A message that was tried twice and of which nobody knows. */
async function recordUnknown(o: Parameters<typeof database.record>[0] = {}): Promise<string> {
  const id = await database.record(o);
  await attempt('unknown');
  await attempt('unknown');
  expect(await statusOf(id)).toMatchObject({ status: 'unknown' });
  return id;
}
const statusOf = async (id: string) => {
  const [row] = await database.rows<{ status: string; reason: string | null }>(
    `select status, reason, parts_accepted, attempt_count from outbound_sender.outbound_message where id = '${id}'`,
  );
  return row;
};
const resolve = (id: string, decision: string, over: Record<string, unknown> = {}, account = 'li') =>
  answerOperator(
    { db: database.db, now },
    {
      id: newId(),
      verb: 'outbound.resolve',
      body: { outboundMessageId: id, decision, reason: 'looked into the room', seen: 0, ...over },
      asked_by: account,
      asked_at: new Date(),
    },
  );
const endings = async () =>
  (
    await database.rows<{ message: BusMessage }>(
      `select message from outbound_sender.outbox where type = 'outbound.settled.v1' order by created_at, id`,
    )
  ).map(({ message }) => {
    const told = busMessageSchema.parse(message);
    return told.type === 'outbound.settled.v1' ? told.body : null;
  });
const audited = () =>
  database.rows<{ kind: string; outcome: string; account: string; reason: string }>(
    `select e.kind, e.outcome, e.detail ->> 'account' as account, d.body ->> 'reason' as reason
     from audit.entry e left join audit.detail d on d.entry_id = e.id
     where e.kind = 'outbound.resolved' and e.subject_id in (select id::text from outbound_sender.outbound_message)`,
  );
const resolutions = () => database.rows('select * from outbound_sender.outbound_resolution');
/** Longer than one part may be, so that it is sent in three. */
const long = 'word '.repeat(6_000);

describe('resolving an outbound message of which nobody knows', () => {
  it('that happened ends it as accepted, tells agent-core so, and names who said it', async () => {
    const id = await recordUnknown();
    expect(await resolve(id, 'happened')).toEqual({ ok: true, text: 'it is accepted now' });
    expect(await statusOf(id)).toMatchObject({ status: 'accepted', reason: 'OPERATOR_HAPPENED', parts_accepted: 1 });
    expect(await endings()).toMatchObject([
      { outboundMessageId: id, ending: 'unknown' },
      { outboundMessageId: id, ending: 'accepted', revised: true },
    ]);
    expect((await endings())[0]).not.toHaveProperty('revised');
    expect(await audited()).toEqual([
      { kind: 'outbound.resolved', outcome: 'happened', account: 'li', reason: 'looked into the room' },
    ]);
    expect(await next()).toBe('idle');
    // What happened in the attempts is evidence and stays.
    expect(await database.rows('select distinct outcome from outbound_sender.delivery_attempt')).toEqual([
      { outcome: 'unknown' },
    ]);
  });

  it('that did not is sent again as if for the first time, and its new ending takes the place of the old', async () => {
    const id = await recordUnknown();
    expect(await resolve(id, 'did_not')).toMatchObject({ ok: true });
    const again = await attempt('accepted');
    expect(again).toMatchObject({ outboundMessageId: id, number: 3, unknownCount: 0, reason: null });
    expect(await statusOf(id)).toMatchObject({ status: 'accepted', reason: null, attempt_count: 3 });
    expect(await endings()).toMatchObject([{ ending: 'unknown' }, { ending: 'accepted', revised: true, attempts: 3 }]);
  });

  it('that is discarded ends it so', async () => {
    const id = await recordUnknown();
    expect(await resolve(id, 'discard')).toEqual({ ok: true, text: 'it is discarded now' });
    expect(await statusOf(id)).toMatchObject({ status: 'discarded', reason: 'OPERATOR_DISCARDED' });
    expect((await endings())[1]).toMatchObject({ ending: 'discarded', revised: true });
  });

  it('keeps those behind it waiting while it is sent again', async () => {
    const id = await recordUnknown();
    await resolve(id, 'did_not');
    const second = await database.record({ after: id });
    const third = await database.record({ after: second });
    const order = [];
    for (let at = 0; at < 3; at += 1) order.push((await attempt('accepted')).outboundMessageId);
    expect(order).toEqual([id, second, third]);
  });

  it('goes on with the parts that were never sent', async () => {
    const id = await recordUnknown({ text: long });
    expect(await resolve(id, 'happened')).toMatchObject({ ok: true, text: expect.stringContaining('part 1 of 3') });
    expect(await attempt('accepted')).toMatchObject({ part: 1, unknownCount: 0 });
    expect(await attempt('accepted')).toMatchObject({ part: 2 });
    expect(await statusOf(id)).toMatchObject({ status: 'accepted', parts_accepted: 3 });
  });

  it('is not given up at once for its age', async () => {
    const id = await recordUnknown();
    await database.rows(`update outbound_sender.outbound_message set recorded_at = now() - interval '3 days'`);
    await resolve(id, 'did_not');
    await attempt('retryable');
    expect(await statusOf(id)).toMatchObject({ status: 'queued' });
  });

  it('is done once, whoever asks again', async () => {
    const id = await recordUnknown();
    await resolve(id, 'did_not');
    const repeated = await resolve(id, 'did_not', {}, 'han');
    expect(repeated).toEqual({ ok: true, text: 'decided already: did not, by li; it is queued now' });
    expect(await resolve(id, 'happened', {}, 'han')).toEqual({ ...repeated, ok: false });
    // Whoever looks first and asks then is told the same.
    expect(await resolve(id, 'did_not', { seen: 1 }, 'han')).toEqual(repeated);
    await attempt('unknown');
    await attempt('unknown');
    // Asked late, for the ending before this one.
    expect(await resolve(id, 'did_not')).toMatchObject({
      ok: true,
      text: expect.stringContaining('it is unknown now'),
    });
    expect(await next()).toBe('idle');
    expect(await resolutions()).toHaveLength(1);
    expect(await resolve(id, 'happened', { seen: 1 })).toMatchObject({ ok: true, text: 'it is accepted now' });
    expect((await audited()).map(({ outcome }) => outcome).sort()).toEqual(['did_not', 'happened']);
  });

  it('is done once, however many ask at the same moment', async () => {
    const id = await recordUnknown();
    const answers = await Promise.all(Array.from({ length: 6 }, () => resolve(id, 'did_not')));
    expect(answers.filter(({ text }) => text === 'it is sent again')).toHaveLength(1);
    expect(await resolutions()).toHaveLength(1);
  });

  it('is refused where nothing waits for a person, and changes nothing', async () => {
    expect(await resolve(newId(), 'happened')).toEqual({ ok: false, text: 'there is no such outbound message' });
    const queued = await database.record();
    expect((await resolve(queued, 'did_not')).text).toMatch(/^it is queued, and nothing/);
    await attempt('accepted');
    expect(await resolve(queued, 'discard')).toEqual({
      ok: false,
      text: 'it is accepted, and nothing about that waits for a person',
    });
    for (const body of [
      { reason: ' ' },
      { reason: 7 },
      { decision: 'approve' },
      { seen: -1 },
      { outboundMessageId: 'x' },
    ])
      expect(await resolve(queued, 'happened', body)).toEqual({ ok: false, text: expect.stringContaining('needs') });
    expect([await resolutions(), await audited()]).toEqual([[], []]);
    const erased = await recordUnknown();
    await database.rows(`update outbound_sender.outbound_message set parts = '[]' where id = '${erased}'`);
    expect(await resolve(erased, 'did_not')).toEqual({ ok: false, text: expect.stringContaining('erased') });
    expect(await resolve(erased, 'happened')).toMatchObject({ ok: true });
  });

  it('of a message that failed has it sent again, or ends it as discarded, and never says that it happened', async () => {
    const id = await database.record();
    await attempt('permanent');
    expect(await statusOf(id)).toMatchObject({ status: 'failed' });
    expect(await resolve(id, 'did_not')).toMatchObject({ ok: false });
    expect(await resolve(id, 'happened', { was: 'failed' })).toMatchObject({ ok: false });
    expect(await resolve(id, 'did_not', { was: 'failed' })).toEqual({ ok: true, text: 'it is sent again' });
    expect(await resolve(id, 'did_not', { was: 'failed' })).toMatchObject({
      ok: true,
      text: expect.stringContaining('decided already'),
    });
    await attempt('permanent');
    expect(await resolve(id, 'discard', { was: 'failed', seen: 1 })).toEqual({ ok: true, text: 'it is discarded now' });
    expect((await endings()).map((ending) => [ending?.ending, ending?.revised])).toEqual([
      ['failed', undefined],
      ['failed', true],
      ['discarded', true],
    ]);
  });

  it('of a call that failed is not sent again: that takes a new request', async () => {
    const id = await database.record();
    await attempt('permanent');
    await database.rows(`set session_replication_role = replica;
      insert into agent_core.tool_attempt (id, tool_call_id, number, turn_attempt, idempotency_key, outbound_message_id)
      values ('${newId()}', '${newId()}', 1, 1, 'x', '${id}'); set session_replication_role = origin`);
    expect(await resolve(id, 'did_not', { was: 'failed' })).toEqual({
      ok: false,
      text: expect.stringContaining('new request'),
    });
    expect(await resolve(id, 'discard', { was: 'failed' })).toMatchObject({ ok: true });
  });

  it('cannot be taken back or altered by this service', async () => {
    const id = await recordUnknown();
    await resolve(id, 'happened');
    const pool = database.connect(1);
    for (const statement of [
      pool.deleteFrom('outbound_resolution'),
      pool.updateTable('outbound_resolution').set({ decision: 'did_not' }),
    ])
      await expect(statement.execute()).rejects.toMatchObject({ code: '42501' });
  });

  it('is asked for in a row that any replica answers, once, and audits', async () => {
    const id = await recordUnknown();
    const request = newId();
    const body = { outboundMessageId: id, decision: 'did_not', reason: 'seen', seen: 0 };
    await database.rows(`insert into outbound_sender.operator_request (id, verb, body, asked_by)
      values ('${request}', 'outbound.resolve', '${JSON.stringify(body)}', 'li'),
        ('${newId()}', 'approvals.deny', '{}', 'li')`);
    const desks = [database.db, database.connect()].map((db) =>
      createOperatorDesk({
        db,
        desk: 'outbound-sender',
        log: silentLog,
        decide: (asked) => answerOperator({ db, now }, asked),
        onAnswered: () => undefined,
      }),
    );
    for (const desk of desks) desk.start();
    const read = () =>
      database.rows<{ verb: string; answer: OperatorAnswer | null }>(
        'select verb, answer from outbound_sender.operator_request order by verb desc',
      );
    await waitUntil(async () => (await read()).every(({ answer }) => answer !== null), {
      timeoutMs: 10_000,
      what: 'the operator to be answered',
    });
    for (const desk of desks) await desk.stop();
    expect(await read()).toEqual([
      { verb: 'outbound.resolve', answer: { ok: true, text: 'it is sent again' } },
      { verb: 'approvals.deny', answer: { ok: false, text: expect.stringContaining('does not know that verb') } },
    ]);
    expect(
      await database.rows(
        `select outcome, detail ->> 'account' as account from audit.entry
         where kind = 'operator.asked' and service = 'outbound-sender' order by outcome`,
      ),
    ).toEqual([
      { outcome: 'done', account: 'li' },
      { outcome: 'refused', account: 'li' },
    ]);
  });
});
