import { describe, expect, it } from '@jest/globals';
import { AppError, createLogger, createMetrics } from '@steward/service-kit';
import { waitUntil } from '@steward/testkit';
import { buildReceipt, describeBusContract, quickRetry } from './bus-contract.ts';
import { type InProcessBus, createInProcessBus } from './in-process-bus.ts';

const log = createLogger({ service: 'bus-test', write: () => undefined });
const queue = 'adapter.receipts.v1';

describeBusContract('the in-process bus', () => {
  let bus: InProcessBus | undefined;
  return Promise.resolve({
    // One process, one bus: every service gets the same.
    open: (_service, retry = quickRetry) => {
      bus ??= createInProcessBus({ log, retry });
      return Promise.resolve(bus);
    },
    dead: () => Promise.resolve((bus?.dead() ?? []).map(({ code, body }) => ({ code, body }))),
    close: () => bus?.close() ?? Promise.resolve(),
  });
});

describe('createInProcessBus', () => {
  it('answers failed while the queue is full, and takes more once there is room', async () => {
    const bus = createInProcessBus({ log, maxQueueLength: 2 });
    await bus.consume(queue, () => Promise.resolve());
    const batch = [buildReceipt(), buildReceipt(), buildReceipt()];
    expect(await bus.publish(batch)).toEqual(['confirmed', 'confirmed', 'failed']);
    await waitUntil(async () => (await bus.publish([buildReceipt()]))[0] === 'confirmed', {
      timeoutMs: 5_000,
      what: 'room in the queue',
    });
    await bus.close();
  });

  it('keeps the newest hundred dead letters', async () => {
    const bus = createInProcessBus({ log });
    await bus.consume(queue, () => Promise.reject(new AppError('NO', 'no', { retryable: false })));
    const batch = Array.from({ length: 130 }, buildReceipt);
    await bus.publish(batch);
    const isLast = () => bus.dead().at(-1)?.body === JSON.stringify(batch.at(-1));
    await waitUntil(isLast, { timeoutMs: 5_000, what: 'the last dead letter' });
    expect(bus.dead().map(({ body }) => body)).toEqual(batch.slice(-100).map((message) => JSON.stringify(message)));
    await bus.close();
  });

  it('counts what it publishes and how deliveries end', async () => {
    const metrics = createMetrics('bus-test');
    const bus = createInProcessBus({ log, metrics });
    await bus.publish([buildReceipt()]);
    await bus.consume(queue, () => Promise.resolve());
    await bus.publish([buildReceipt()]);
    await waitUntil(async () => (await metrics.registry.metrics()).includes('ending="done"'), {
      timeoutMs: 5_000,
      what: 'a delivery',
    });
    const text = await metrics.registry.metrics();
    expect(text).toMatch(/steward_bus_published_total\{outcome="unroutable".*\} 1/);
    expect(text).toMatch(/steward_bus_published_total\{outcome="confirmed".*\} 1/);
    expect(text).toMatch(/steward_bus_in_hand\{queue="adapter.receipts.v1".*\} 0/);
    await bus.close();
  });
});
