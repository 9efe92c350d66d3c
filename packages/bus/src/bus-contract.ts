import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { type BusMessage, type QueueName, type ServiceName, deliveryLimit } from '@steward/contracts';
import { AppError } from '@steward/service-kit';
import { waitUntil } from '@steward/testkit';
import { type Bus, type BusHandler, type DeadDelivery, type Delivery, deadCodes, maxBodyBytes } from './bus.ts';
import type { DeadLetter } from './in-process-bus.ts';
import type { RetryLimits } from './try-in-hand.ts';

/** A place where buses meet. Everything opened is closed with it. */
export type BusPlace = {
  open(service: ServiceName, retry?: RetryLimits): Promise<Bus>;
  dead(queue: QueueName): Promise<readonly Pick<DeadLetter, 'code' | 'body'>[]>;
  close(): Promise<void>;
};

/** Fast enough for tests, long enough that a busy machine does not use up the budget by itself. */
export const quickRetry: RetryLimits = { baseMs: 5, capMs: 20, budgetMs: 30_000 };
/** Gives a failing delivery back at once. */
export const noRetry: RetryLimits = { baseMs: 5, capMs: 20, budgetMs: 0 };

/** A receipt of the adapter's queue: the smallest bus message there is. */
export function buildReceipt(): BusMessage {
  const occurredAt = new Date().toISOString();
  const ids = { id: randomUUID(), correlationId: randomUUID(), causationId: randomUUID() };
  return { type: 'inbound.settled.v1', ...ids, occurredAt, body: { inboundEventId: randomUUID() } };
}

/** An outbound ending, for the other queue of agent-core. */
export function buildRecorded(): BusMessage {
  return { ...buildReceipt(), type: 'outbound.recorded.v1', body: { outboundMessageId: randomUUID() } };
}

/** What every bus promises; run against each implementation. */
export function describeBusContract(name: string, createPlace: () => Promise<BusPlace>): void {
  describe(`${name} keeps the bus contract`, () => {
    let place: BusPlace;
    const queue = 'adapter.receipts.v1';
    const wait = { timeoutMs: 15_000 };

    /** A consumer and a publisher; what the handler saw is in `seen`. */
    async function open(handler: BusHandler = () => Promise.resolve(), retry = quickRetry, prefetch?: number) {
      const adapter = await place.open('adapter', retry);
      const agent = await place.open('agent-core', retry);
      const seen: { message: BusMessage; delivery: Delivery }[] = [];
      const watched: BusHandler = async (message, delivery) => {
        seen.push({ message, delivery });
        await handler(message, delivery);
      };
      await adapter.consume(queue, watched, { prefetch });
      return { adapter, agent, seen };
    }
    const sawAtLeast = (seen: readonly unknown[], count: number) =>
      waitUntil(() => seen.length >= count, { ...wait, what: `${count} deliveries` });
    const deadLetters = () =>
      waitUntil(
        async () => {
          const letters = await place.dead(queue);
          return letters.length > 0 ? letters : undefined;
        },
        { ...wait, what: 'a dead letter' },
      );

    beforeEach(async () => {
      place = await createPlace();
    });
    afterEach(() => place.close());

    it('carries a bus message unchanged', async () => {
      const { agent, seen } = await open();
      const message = buildReceipt();
      expect(await agent.publish([message])).toEqual(['confirmed']);
      await sawAtLeast(seen, 1);
      expect(seen).toEqual([{ message, delivery: { redelivered: false, deliveryCount: 0 } }]);
    });

    it('is ready once it is open', async () => {
      const { adapter, agent } = await open();
      expect([adapter.isReady(), agent.isReady()]).toEqual([true, true]);
    });

    it('calls a bus message unroutable while nobody consumes its type', async () => {
      const agent = await place.open('agent-core');
      expect(await agent.publish([buildReceipt(), buildReceipt()])).toEqual(['unroutable', 'unroutable']);
    });

    it('answers for each bus message in the order given', async () => {
      const { agent, seen } = await open();
      const large = { ...buildReceipt(), padding: 'x'.repeat(maxBodyBytes) };
      const twice = buildReceipt();
      const batch = [twice, buildRecorded(), large, twice, buildReceipt()];
      expect(await agent.publish(batch)).toEqual(['confirmed', 'unroutable', 'failed', 'confirmed', 'confirmed']);
      await sawAtLeast(seen, 3);
    });

    it('publishes nothing for nothing', async () => {
      const { agent } = await open();
      expect(await agent.publish([])).toEqual([]);
    });

    it('never delivers inside the publisher', async () => {
      let publishing = false;
      let overlap = false;
      const { agent, seen } = await open(() => {
        overlap ||= publishing;
        return Promise.resolve();
      });
      publishing = true;
      const published = agent.publish([buildReceipt()]);
      publishing = false;
      await published;
      await sawAtLeast(seen, 1);
      expect(overlap).toBe(false);
    });

    it('retries a failing handler while holding the delivery', async () => {
      let failures = 3;
      const { agent, seen } = await open(() => {
        failures -= 1;
        if (failures >= 0) throw new Error('the database is away');
        return Promise.resolve();
      });
      await agent.publish([buildReceipt()]);
      await sawAtLeast(seen, 4);
      expect(seen.map(({ delivery }) => delivery.deliveryCount)).toEqual([0, 0, 0, 0]);
      expect(await place.dead(queue)).toEqual([]);
    });

    it('returns a delivery whose retry budget is used up, and counts that', async () => {
      let failures = 2;
      const { agent, seen } = await open(() => {
        failures -= 1;
        return failures >= 0 ? Promise.reject(new Error('still away')) : Promise.resolve();
      }, noRetry);
      await agent.publish([buildReceipt()]);
      await sawAtLeast(seen, 3);
      expect(seen.map(({ delivery }) => delivery)).toEqual([
        { redelivered: false, deliveryCount: 0 },
        { redelivered: true, deliveryCount: 1 },
        { redelivered: true, deliveryCount: 2 },
      ]);
    });

    it('buries a delivery that came back too often', async () => {
      const { agent, seen } = await open(() => Promise.reject(new Error('never works')), noRetry);
      const message = buildReceipt();
      await agent.publish([message]);
      const [letter] = await deadLetters();
      expect(letter?.code).toBe(deadCodes.deliveryLimit);
      expect(JSON.parse(letter?.body ?? '')).toEqual(message);
      expect(seen).toHaveLength(deliveryLimit + 1);
    });

    it('buries what the handler refuses, with the code, and goes on with the next', async () => {
      const poison = buildReceipt();
      const { agent, seen } = await open((message) =>
        message.id === poison.id
          ? Promise.reject(new AppError('REFUSED_HERE', 'no', { retryable: false }))
          : Promise.resolve(),
      );
      await agent.publish([poison, buildReceipt()]);
      expect(await deadLetters()).toEqual([{ code: 'REFUSED_HERE', body: JSON.stringify(poison) }]);
      await sawAtLeast(seen, 2);
    });

    it('buries what a database refuses twice, and lets a race have its second look', async () => {
      const poison = buildReceipt();
      let races = 1;
      const { agent, seen } = await open((message) => {
        const refuse = (sqlState: string) => Promise.reject(Object.assign(new Error('no'), { code: sqlState }));
        if (message.id === poison.id) return refuse('22P05');
        races -= 1;
        return races >= 0 ? refuse('23505') : Promise.resolve();
      });
      await agent.publish([poison, buildReceipt()]);
      expect(await deadLetters()).toEqual([{ code: deadCodes.rowRefused, body: JSON.stringify(poison) }]);
      await sawAtLeast(seen, 4);
      expect(await place.dead(queue)).toHaveLength(1);
    });

    it('buries a body that is not in the contract, unseen by the handler', async () => {
      const { agent, seen } = await open();
      const broken = { ...buildReceipt(), id: 'not a uuid' };
      await agent.publish([broken, buildReceipt()]);
      expect(await deadLetters()).toEqual([{ code: deadCodes.bodyInvalid, body: JSON.stringify(broken) }]);
      await sawAtLeast(seen, 1);
      expect(seen).toHaveLength(1);
    });

    it('hands over what died, until that works, and forgets it then', async () => {
      const adapter = await place.open('adapter');
      const agent = await place.open('agent-core');
      const kept: DeadDelivery[] = [];
      let failures = 2;
      const refuse = () => Promise.reject(new AppError('REFUSED_HERE', 'no', { retryable: false }));
      const onDead = (letter: DeadDelivery) => {
        failures -= 1;
        if (failures >= 0) return Promise.reject(new Error('the database is away'));
        kept.push(letter);
        return Promise.resolve();
      };
      await adapter.consume(queue, refuse, { onDead });
      const message = buildReceipt();
      await agent.publish([message, { ...buildReceipt(), id: 'not a uuid' }]);
      await waitUntil(() => kept.length >= 2, { ...wait, what: 'two letters' });
      const letter = kept.find(({ code }) => code === 'REFUSED_HERE');
      expect(letter).toMatchObject({
        queue,
        type: message.type,
        messageId: message.id,
        correlationId: message.correlationId,
      });
      expect(JSON.parse(letter?.body.toString('utf8') ?? '')).toEqual(message);
      expect(kept.map(({ code }) => code).sort()).toEqual([deadCodes.bodyInvalid, 'REFUSED_HERE']);
      await adapter.close();
      expect(await place.dead(queue)).toEqual([]);
    });

    it('hands over what came back too often, with that as the reason', async () => {
      const adapter = await place.open('adapter', noRetry);
      const agent = await place.open('agent-core');
      const kept: DeadDelivery[] = [];
      const onDead = (letter: DeadDelivery) => Promise.resolve(void kept.push(letter));
      await adapter.consume(queue, () => Promise.reject(new Error('never works')), { onDead });
      const message = buildReceipt();
      await agent.publish([message]);
      await waitUntil(() => kept.length >= 1, { ...wait, what: 'a letter' });
      expect(kept).toMatchObject([{ code: deadCodes.deliveryLimit, messageId: message.id }]);
    });

    it('keeps what nobody took over yet when it closes', async () => {
      const adapter = await place.open('adapter');
      const agent = await place.open('agent-core');
      let tries = 0;
      const onDead = () => Promise.reject(new Error(`away ${(tries += 1)}`));
      const refuse = () => Promise.reject(new AppError('REFUSED_HERE', 'no', { retryable: false }));
      await adapter.consume(queue, refuse, { onDead });
      await agent.publish([buildReceipt()]);
      await waitUntil(() => tries >= 2, { ...wait, what: 'two tries' });
      await adapter.close();
      const before = tries;
      await new Promise((resolve) => setImmediate(resolve));
      expect(tries).toBe(before);
    });

    it('gives out no more than the prefetch at once', async () => {
      let atOnce = 0;
      let most = 0;
      const { agent, seen } = await open(
        async () => {
          atOnce += 1;
          most = Math.max(most, atOnce);
          await new Promise((resolve) => setImmediate(resolve));
          atOnce -= 1;
        },
        quickRetry,
        3,
      );
      await agent.publish(Array.from({ length: 30 }, buildReceipt));
      await sawAtLeast(seen, 30);
      expect(most).toBeLessThanOrEqual(3);
    });

    it('carries a thousand in one call, each once and in order', async () => {
      const { agent, seen } = await open();
      const batch = Array.from({ length: 1_000 }, buildReceipt);
      expect(new Set(await agent.publish(batch))).toEqual(new Set(['confirmed']));
      await sawAtLeast(seen, 1_000);
      expect(seen.map(({ message }) => message.id)).toEqual(batch.map(({ id }) => id));
    });

    it('has one handler for a queue', async () => {
      const { adapter } = await open();
      await expect(adapter.consume(queue, () => Promise.resolve())).rejects.toThrow('has its handler');
    });

    it('waits for the handlers in hand when it closes, and begins nothing new', async () => {
      const gate = Promise.withResolvers<undefined>();
      let ended = 0;
      const { adapter, agent, seen } = await open(
        async () => {
          await gate.promise;
          ended += 1;
        },
        quickRetry,
        2,
      );
      await agent.publish(Array.from({ length: 5 }, buildReceipt));
      await sawAtLeast(seen, 2);
      const closed = adapter.close();
      expect(adapter.isReady()).toBe(false);
      gate.resolve(undefined);
      await closed;
      expect([ended, seen.length]).toEqual([2, 2]);
    });

    it('does nothing once it is closed', async () => {
      const { adapter } = await open();
      await adapter.close();
      await adapter.close();
      expect(adapter.isReady()).toBe(false);
      expect(await adapter.publish([buildReceipt()])).toEqual(['failed']);
      await expect(adapter.consume('adapter.receipts.v1', () => Promise.resolve())).rejects.toThrow('closed');
    });
  });
}
