import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { newId } from '@steward/service-kit';
import type { BusMessage } from '@steward/contracts';
import type { BusHandler } from '@steward/bus';
import { receivePlatformEvent } from './receive-platform-event.ts';
import { createInboundRecorder } from './record-inbound.ts';
import { consumeReceipts } from './settle-inbound.ts';
import { buildInbound, buildRobot, openTestDatabase, replyKeys, silentLog } from './testing.ts';

let database: Awaited<ReturnType<typeof openTestDatabase>>;
let receive: (message: BusMessage) => Promise<void>;
let woken = 0;
beforeAll(async () => {
  database = await openTestDatabase();
  let handler: BusHandler | undefined;
  const bus = {
    publish: () => Promise.resolve([]),
    isReady: () => true,
    close: () => Promise.resolve(),
    consume: (queue: string, given: BusHandler) => {
      expect(queue).toBe('adapter.receipts.v1');
      handler = given;
      return Promise.resolve();
    },
  };
  await consumeReceipts({ bus, db: database.db, wake: () => (woken += 1) });
  receive = (message) => handler?.(message, { redelivered: false, deliveryCount: 0 }) ?? Promise.reject(new Error());
});
afterAll(() => database.close());

const envelope = () => ({
  id: newId(),
  correlationId: newId(),
  causationId: newId(),
  occurredAt: new Date().toISOString(),
});
const settled = (inboundEventId: string): BusMessage => ({
  type: 'inbound.settled.v1',
  ...envelope(),
  body: { inboundEventId },
});
const record = async (count: number, conversationId = 'cid-1') => {
  const source = `robot-${newId()}`;
  const recorder = createInboundRecorder({ db: database.db, onCommitted: () => undefined, onAltered: () => undefined });
  const inbound = Array.from({ length: count }, () => buildInbound({ source, conversationId }));
  await Promise.all(inbound.map((one) => recorder.record(one)));
  return { source, ids: inbound.map(({ id }) => id) };
};
const state = (source: string) =>
  database.rows<{ id: string; settled_at: Date | null; told: boolean; due: boolean }>(
    `select e.id, e.settled_at, o.id is not null as told, coalesce(o.next_publish_at <= now(), false) as due
     from adapter.inbound_event e left join adapter.outbox o on o.subject_id = e.id
     where e.source = '${source}' order by e.sequence`,
  );

describe('receipts of agent-core', () => {
  it('close the ledger row and its outbox row, and are harmless to repeat', async () => {
    const { source, ids } = await record(2);
    const [first = '', second = ''] = ids;
    await receive(settled(first));
    const [closed, open] = await state(source);
    expect(closed).toMatchObject({ id: first, told: false });
    expect(closed?.settled_at).not.toBeNull();
    expect(open).toMatchObject({ id: second, told: true, settled_at: null });
    await receive(settled(first));
    await receive(settled(newId()));
    expect(await state(source)).toEqual([closed, open]);
  });

  it('close a changed person too, told once however often the platform pushes it', async () => {
    const recorder = createInboundRecorder({
      db: database.db,
      onCommitted: () => undefined,
      onAltered: () => undefined,
    });
    const context = { recorder, replyKeys, log: silentLog, now: () => new Date(), clickNote: () => 'received' };
    const robot = buildRobot({ appKey: `app-${newId()}` });
    const left = {
      eventId: 'e-1',
      eventType: 'user_leave_org',
      corpId: 'corp-1',
      bornAtMs: null,
      hadInvalidText: false,
    };
    for (let n = 0; n < 2; n += 1) {
      const door = { door: 'stream' as const, transportId: `frame-${n}`, correlationId: newId() };
      await receivePlatformEvent(context, robot, { ...left, payload: { userId: ['staff-9'] } }, door);
    }
    const told = await state(robot.appKey);
    expect(told).toMatchObject([{ told: true, settled_at: null }]);
    await receive(settled(told[0]?.id ?? ''));
    expect(await state(robot.appKey)).toMatchObject([{ told: false, settled_at: expect.any(Date) }]);
  });

  it('that ask for missing numbers make exactly those due at once, and wake the relay', async () => {
    const { source } = await record(5);
    const other = await record(2);
    await database.rows(`update adapter.outbox set next_publish_at = now() + interval '10 min'`);
    const before = woken;
    const range = { robotCode: source, conversationId: 'cid-1', fromSequence: 2, toSequence: 3 };
    await receive({ type: 'inbound.missing.v1', ...envelope(), body: range });
    expect((await state(source)).map(({ due }) => due)).toEqual([false, true, true, false, false]);
    expect((await state(other.source)).map(({ due }) => due)).toEqual([false, false]);
    expect(woken).toBe(before + 1);
    await receive({ type: 'inbound.missing.v1', ...envelope(), body: { ...range, fromSequence: 90, toSequence: 99 } });
    expect((await state(source)).map(({ due }) => due)).toEqual([false, true, true, false, false]);
  });
});
