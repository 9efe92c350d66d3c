import { type BusMessage, type BusMessageType, type QueueName, deliveryLimit, queues } from '@steward/contracts';
import { AppError, type Logger, type Metrics } from '@steward/service-kit';
import {
  type Bus,
  type BusHandler,
  type ConsumeOptions,
  type DeadDelivery,
  type PublishOutcome,
  closeTimeoutMs,
  deadCodes,
  defaultPrefetch,
} from './bus.ts';
import { parseBusBody, toBusBody } from './bus-body.ts';
import { createBusCounters } from './bus-counters.ts';
import { allSettledWithin } from './all-settled-within.ts';
import { keepDead } from './keep-dead.ts';
import { type Ending, type RetryLimits, defaultRetryLimits, toLogFields, tryInHand } from './try-in-hand.ts';

/** A body that was refused or failed too often, and the code that tells why. */
export type DeadLetter = { queue: QueueName; code: string; body: string };

export type InProcessBus = Bus & {
  /** The newest dead letters, oldest first, at most 100. */
  dead(): readonly DeadLetter[];
};

const maxDead = 100;

type Letter = { body: Buffer; deliveryCount: number };
type Reader = {
  queue: QueueName;
  handler: BusHandler;
  prefetch: number;
  onDead: ((letter: DeadDelivery) => Promise<void>) | undefined;
  waiting: Letter[];
  inHand: Set<Promise<void>>;
};

/**
 * The bus of the embedded mode: all services in one process, nothing survives it. The database schedules and publishes
 * again, so a lossy bus loses nothing. A queue exists from its consumer on and holds `maxQueueLength`, 2,000 unless told.
 */
export function createInProcessBus(o: {
  log: Logger;
  metrics?: Metrics;
  maxQueueLength?: number;
  retry?: RetryLimits;
}): InProcessBus {
  const { log, maxQueueLength = 2_000, retry = defaultRetryLimits } = o;
  const readers = new Map<QueueName, Reader>();
  const deadLetters: DeadLetter[] = [];
  const handingOver = new Set<Promise<void>>();
  const closing = new AbortController();
  const counters = createBusCounters(o.metrics);

  function publishOne(message: BusMessage): PublishOutcome {
    if (closing.signal.aborted) return 'failed';
    const body = toBusBody(message);
    if (body === null) {
      log.error('bus.publish.refused', { ...toLogFields(message), code: deadCodes.bodyTooLarge });
      return 'failed';
    }
    const wanting = queuesOf(message.type).flatMap((queue) => readers.get(queue) ?? []);
    if (wanting.length === 0) return 'unroutable';
    if (wanting.some((reader) => reader.waiting.length >= maxQueueLength)) return 'failed';
    for (const reader of wanting) {
      reader.waiting.push({ body, deliveryCount: 0 });
      deliverSoon(reader);
    }
    return 'confirmed';
  }

  /** Never inside the publisher's stack: its transaction is not the place where another service runs. */
  function deliverSoon(reader: Reader): void {
    setImmediate(() => {
      while (!closing.signal.aborted && reader.inHand.size < reader.prefetch) {
        const letter = reader.waiting.shift();
        if (!letter) return;
        const run = deliver(reader, letter).finally(() => {
          reader.inHand.delete(run);
          counters.inHand(reader.queue, reader.inHand.size);
          if (reader.waiting.length > 0) deliverSoon(reader);
        });
        reader.inHand.add(run);
        counters.inHand(reader.queue, reader.inHand.size);
      }
    });
  }

  async function deliver(reader: Reader, letter: Letter): Promise<void> {
    const parsed = parseBusBody(letter.body);
    if (parsed.kind === 'refused') return settle(reader, letter, { kind: 'dead', code: parsed.code });
    const delivery = { redelivered: letter.deliveryCount > 0, deliveryCount: letter.deliveryCount };
    const deps = { handler: reader.handler, limits: retry, signal: closing.signal, log };
    const ending = await tryInHand(deps, parsed.message, delivery);
    const exhausted = ending.kind === 'returned' && letter.deliveryCount >= deliveryLimit;
    settle(reader, letter, exhausted ? { kind: 'dead', code: deadCodes.deliveryLimit } : ending);
  }

  function settle(reader: Reader, letter: Letter, ending: Ending): void {
    counters.consumed(reader.queue, ending.kind);
    if (ending.kind === 'returned') reader.waiting.unshift({ ...letter, deliveryCount: letter.deliveryCount + 1 });
    if (ending.kind !== 'dead') return;
    log.error('bus.delivery.dead', { queue: reader.queue, code: ending.code });
    if (reader.onDead !== undefined) return handOver(reader, reader.onDead, letter, ending.code);
    deadLetters.push({ queue: reader.queue, code: ending.code, body: letter.body.toString('utf8') });
    if (deadLetters.length > maxDead) deadLetters.shift();
  }

  /** Beside the deliveries in hand, and like them waited for when the bus closes. */
  function handOver(reader: Reader, onDead: NonNullable<Reader['onDead']>, { body }: Letter, code: string): void {
    const parsed = parseBusBody(body);
    const said = parsed.kind === 'valid' ? parsed.message : null;
    const run = keepDead(
      { onDead, limits: retry, signal: closing.signal, log },
      {
        queue: reader.queue,
        code,
        body,
        type: said?.type ?? null,
        messageId: said?.id ?? null,
        correlationId: said?.correlationId ?? null,
      },
    ).then(() => void handingOver.delete(run));
    handingOver.add(run);
  }

  function consume(queue: QueueName, handler: BusHandler, options: ConsumeOptions): void {
    if (closing.signal.aborted) throw new AppError('BUS_CLOSED', 'the bus is closed', { retryable: false });
    if (readers.has(queue)) throw new AppError('BUS_CONSUMER_EXISTS', `${queue} has its handler`, { retryable: false });
    const { prefetch = defaultPrefetch, onDead } = options;
    readers.set(queue, { queue, handler, prefetch, onDead, waiting: [], inHand: new Set() });
  }

  return {
    publish: (messages) => {
      const outcomes = messages.map(publishOne);
      for (const outcome of outcomes) counters.published(outcome);
      return Promise.resolve(outcomes);
    },
    consume: async (queue, handler, options) => {
      await Promise.resolve();
      consume(queue, handler, options ?? {});
    },
    isReady: () => !closing.signal.aborted,
    dead: () => [...deadLetters],
    close: async () => {
      closing.abort();
      await allSettledWithin(
        [...[...readers.values()].flatMap((reader) => [...reader.inHand]), ...handingOver],
        closeTimeoutMs,
      );
    },
  };
}

function queuesOf(type: BusMessageType): QueueName[] {
  return queues.filter((spec) => spec.types.some((wanted) => wanted === type)).map((spec) => spec.name);
}
