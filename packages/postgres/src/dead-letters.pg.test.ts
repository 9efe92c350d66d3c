import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { sql } from 'kysely';
import { createMetrics, newId } from '@steward/service-kit';
import type { BusMessage } from '@steward/contracts';
import { createTestDatabase, waitUntil, type TestDatabase } from '@steward/testkit';
import {
  createDeadLetterGauge,
  createOperatorDesk,
  createPostgres,
  decideDeadLetter,
  keepDeadLetter,
  type Database,
  type DeadDelivery,
  type OperatorDesk,
  type OutboxTables,
} from './index.ts';
import { buildTold, silentLog } from './testing.ts';

let testDatabase: TestDatabase;
let core: Database<OutboxTables>;
let admin: Database<unknown>;
beforeAll(async () => {
  testDatabase = await createTestDatabase();
  const url = testDatabase.url('steward_agent_core');
  core = createPostgres<OutboxTables>({ url, schema: 'agent_core', poolSize: 6, log: silentLog });
  admin = createPostgres<unknown>({ url: testDatabase.adminUrl, poolSize: 2, log: silentLog });
});
beforeEach(() =>
  sql`truncate agent_core.dead_letter, agent_core.outbox, agent_core.operator_request`.execute(admin.db),
);
afterAll(async () => {
  await core.close();
  await admin.close();
  await testDatabase.drop();
});

const queue = 'agent-core.outbound.v1';
const build = (message: BusMessage | string | Buffer, over: Partial<DeadDelivery> = {}): DeadDelivery => ({
  queue,
  code: 'BUS_ROW_REFUSED',
  body: Buffer.isBuffer(message)
    ? message
    : Buffer.from(typeof message === 'string' ? message : JSON.stringify(message)),
  type: 'outbound.recorded.v1',
  messageId: 'm',
  correlationId: 'c',
  ...over,
});
const letters = async () =>
  (
    await sql<{
      id: string;
      state: string;
      code: string;
      died_count: number;
      decided_by: string | null;
      bytes: number;
    }>`
      select id, state, code, died_count, decided_by, bytes from agent_core.dead_letter order by first_died_at`.execute(
      admin.db,
    )
  ).rows;
const onlyLetter = async () => {
  const [letter, ...more] = await letters();
  if (letter === undefined || more.length > 0) throw new Error('expected one letter');
  return letter;
};
const outbox = async () =>
  (
    await sql<{ id: string; needs_receipt: boolean; message: BusMessage }>`
      select id, needs_receipt, message from agent_core.outbox`.execute(admin.db)
  ).rows;
const decide = async (verb: 'dead.redrive' | 'dead.discard', over: Record<string, unknown> = {}, account = 'li') => {
  const { id } = await onlyLetter();
  const body = { id, reason: 'mended', seen: 0, ...over };
  return decideDeadLetter({ db: core.db, desk: 'agent-core' }, { id: newId(), verb, body, asked_by: account });
};
const audited = async () =>
  (
    await sql<{ outcome: string; account: string; reason: string }>`
      select e.outcome, e.detail ->> 'account' as account, d.body ->> 'reason' as reason
      from audit.entry e join audit.detail d on d.entry_id = e.id
      where e.kind = 'dead.decided' and e.subject_id in (select id::text from agent_core.dead_letter)
      order by e.transaction_id`.execute(admin.db)
  ).rows;

describe('a dead bus message', () => {
  it('is one row however often it dies', async () => {
    const { message } = buildTold(false);
    for (const code of ['FIRST', 'SECOND']) await keepDeadLetter(core.db, build(message, { code }));
    expect(await onlyLetter()).toMatchObject({ state: 'open', code: 'SECOND', died_count: 2 });
    await keepDeadLetter(core.db, build(message, { queue: 'agent-core.inbound.v1' }));
    expect(await letters()).toHaveLength(2);
  });

  it('is kept whatever its bytes and names are', async () => {
    const ugly = build(Buffer.from([0, 0xff, 0xfe, 0xd8, 0x22]), {
      type: 'a\0b\ud800'.padEnd(5_000, 'x'),
      messageId: null,
      correlationId: '\0',
      code: '\0',
    });
    await keepDeadLetter(core.db, ugly);
    await keepDeadLetter(core.db, build(Buffer.alloc(400_000, 'x')));
    expect((await letters()).map(({ bytes }) => bytes)).toEqual([5, 400_000]);
  });

  it('goes its way once more by the outbox, as it was, and waits for no receipt', async () => {
    const { message } = buildTold(true);
    await keepDeadLetter(core.db, build(message));
    expect(await decide('dead.redrive')).toEqual({ ok: true, text: `it goes to ${queue} once more` });
    expect(await outbox()).toEqual([{ id: message.id, needs_receipt: false, message }]);
    expect(await onlyLetter()).toMatchObject({ state: 'redriven', decided_by: 'li' });
    expect(await audited()).toEqual([{ outcome: 'redriven', account: 'li', reason: 'mended' }]);
  });

  it('is decided about once, whoever asks again, until it dies again', async () => {
    const { message } = buildTold(false);
    await keepDeadLetter(core.db, build(message));
    const answers = await Promise.all(Array.from({ length: 5 }, () => decide('dead.redrive')));
    expect(answers.filter(({ text }) => text.includes('once more'))).toHaveLength(1);
    expect(await outbox()).toHaveLength(1);
    await sql`delete from agent_core.outbox`.execute(admin.db);
    expect(await decide('dead.redrive', {}, 'han')).toEqual({ ok: true, text: 'decided already: redriven, by li' });
    expect(await decide('dead.redrive', { seen: 1 }, 'han')).toMatchObject({ ok: true });
    expect(await decide('dead.discard', {}, 'han')).toEqual({ ok: false, text: 'decided already: redriven, by li' });
    expect(await outbox()).toEqual([]);
    await keepDeadLetter(core.db, build(message));
    expect(await onlyLetter()).toMatchObject({ state: 'open' });
    // Asked late, for the death before this one.
    expect((await decide('dead.redrive')).text).toContain('decided already');
    expect(await decide('dead.redrive', { seen: 1 })).toMatchObject({ ok: true });
    expect(await audited()).toHaveLength(2);
  });

  it('rests when it is discarded, however often it dies again', async () => {
    const { message } = buildTold(false);
    await keepDeadLetter(core.db, build(message));
    expect(await decide('dead.discard')).toEqual({ ok: true, text: 'it rests' });
    await keepDeadLetter(core.db, build(message));
    expect(await onlyLetter()).toMatchObject({ state: 'discarded', died_count: 2 });
    expect(await outbox()).toEqual([]);
  });

  it('is not redriven when this version cannot read it', async () => {
    await keepDeadLetter(core.db, build('{"type": "outbound.recorded.v9"}'));
    expect(await decide('dead.redrive')).toEqual({ ok: false, text: expect.stringContaining('does not understand') });
    expect(await onlyLetter()).toMatchObject({ state: 'open' });
    for (const over of [{ reason: '' }, { seen: -1 }, { id: 'x' }])
      expect(await decide('dead.discard', over)).toEqual({ ok: false, text: expect.stringContaining('needs') });
    expect(await decide('dead.discard', { id: newId() })).toMatchObject({
      ok: false,
      text: 'there is no such dead letter',
    });
    expect(await audited()).toEqual([]);
  });

  it('is counted by its queue until somebody decided', async () => {
    const metrics = createMetrics('test');
    const gauge = createDeadLetterGauge({
      db: core.db,
      metrics,
      log: silentLog,
      queues: [queue, 'agent-core.inbound.v1'],
    });
    await keepDeadLetter(core.db, build(buildTold(false).message));
    await keepDeadLetter(core.db, build(buildTold(false).message));
    gauge.start();
    const read = () => metrics.registry.metrics();
    await waitUntil(async () => /steward_dead_letters_open\{[^}]*outbound[^}]*\} 2$/m.test(await read()), {
      timeoutMs: 5_000,
      what: 'the gauge',
    });
    await gauge.stop();
    expect(await read()).toMatch(/steward_dead_letters_open\{[^}]*inbound[^}]*\} 0$/m);
  });

  it.each<[OperatorDesk, 'steward_adapter' | 'steward_agent_core' | 'steward_outbound_sender', string]>([
    ['adapter', 'steward_adapter', 'adapter'],
    ['agent-core', 'steward_agent_core', 'agent_core'],
    ['outbound-sender', 'steward_outbound_sender', 'outbound_sender'],
  ])('of %s is kept, and decided about at its desk', async (desk, role, schema) => {
    const service = createPostgres<OutboxTables>({
      url: testDatabase.url(role),
      schema,
      poolSize: 2,
      log: silentLog,
    });
    const { db } = service;
    await keepDeadLetter(db, build(buildTold(false).message));
    const { rows } = await sql<{ id: string }>`select id from ${sql.table(`${schema}.dead_letter`)}`.execute(admin.db);
    const body = JSON.stringify({ id: rows[0]?.id, reason: 'mended', seen: 0 });
    await sql`insert into ${sql.table(`${schema}.operator_request`)} (id, verb, body, asked_by)
      values (${newId()}, 'dead.redrive', ${body}, 'li')`.execute(admin.db);
    const loop = createOperatorDesk({
      db,
      desk,
      log: silentLog,
      decide: (request) => decideDeadLetter({ db, desk }, request),
      onAnswered: () => undefined,
    });
    loop.start();
    const answers = () =>
      sql<{ answer: object | null }>`select answer from ${sql.table(`${schema}.operator_request`)}`.execute(admin.db);
    await waitUntil(async () => (await answers()).rows[0]?.answer !== null, { timeoutMs: 5_000, what: 'the answer' });
    await loop.stop();
    expect((await answers()).rows).toEqual([{ answer: { ok: true, text: `it goes to ${queue} once more` } }]);
    await service.close();
  });
});
