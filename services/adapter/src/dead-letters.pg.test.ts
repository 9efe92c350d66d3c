import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { createMetrics, newId } from '@steward/service-kit';
import type { BusMessage } from '@steward/contracts';
import { createInProcessBus } from '@steward/bus';
import { createRelay, keepDeadLetter } from '@steward/postgres';
import { waitUntil } from '@steward/testkit';
import { answerOperator } from './answer-operator.ts';
import { createInboundRecorder } from './record-inbound.ts';
import { consumeReceipts } from './settle-inbound.ts';
import { buildInbound, openTestDatabase, silentLog } from './testing.ts';

let database: Awaited<ReturnType<typeof openTestDatabase>>;
beforeAll(async () => {
  database = await openTestDatabase();
});
afterAll(() => database.close());

const letters = () =>
  database.rows<{ id: string; code: string; state: string; body: string }>(
    `select id, code, state, convert_from(body, 'utf8') as body from adapter.dead_letter`,
  );
const wait = (what: string) => ({ timeoutMs: 10_000, what });

it('keeps what dies in its queue, and works on it when it is redriven', async () => {
  const bus = createInProcessBus({ log: silentLog });
  await consumeReceipts({ bus, db: database.db, wake: () => undefined });
  const broken = { type: 'inbound.settled.v1', id: 'x' } as unknown as BusMessage;
  await bus.publish([broken]);
  await waitUntil(async () => (await letters()).length === 1, wait('the letter'));
  expect(await letters()).toMatchObject([{ code: 'BUS_BODY_INVALID', state: 'open', body: JSON.stringify(broken) }]);
  expect(bus.dead()).toEqual([]);

  // A receipt that died while the database could not take it; now it can.
  const recorder = createInboundRecorder({ db: database.db, onCommitted: () => undefined, onAltered: () => undefined });
  const inbound = buildInbound();
  await recorder.record(inbound);
  await database.rows('delete from adapter.outbox');
  const receipt: BusMessage = {
    type: 'inbound.settled.v1',
    id: newId(),
    correlationId: inbound.correlationId,
    causationId: newId(),
    occurredAt: new Date().toISOString(),
    body: { inboundEventId: inbound.id },
  };
  const said = { type: receipt.type, messageId: receipt.id, correlationId: receipt.correlationId };
  const body = Buffer.from(JSON.stringify(receipt));
  await keepDeadLetter(database.db, { queue: 'adapter.receipts.v1', code: 'BUS_ROW_REFUSED', body, ...said });
  const letter = (await letters()).find(({ code }) => code === 'BUS_ROW_REFUSED');
  const answer = await answerOperator(database.db, {
    id: newId(),
    verb: 'dead.redrive',
    body: { id: letter?.id, reason: 'mended', seen: 0 },
    asked_by: 'li',
    asked_at: new Date(),
  });
  expect(answer).toEqual({ ok: true, text: 'it goes to adapter.receipts.v1 once more' });
  const relay = createRelay({ db: database.db, bus, log: silentLog, metrics: createMetrics('test') });
  relay.start();
  await waitUntil(
    async () =>
      (await database.rows(`select from adapter.inbound_event where id = '${inbound.id}' and settled_at is not null`))
        .length === 1,
    wait('the receipt to be worked on'),
  );
  await relay.stop();
  await bus.close();
  expect(await database.rows('select from adapter.outbox')).toEqual([]);
});
