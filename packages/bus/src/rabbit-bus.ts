import { type ServiceName, queues } from '@steward/contracts';
import { AppError, type Logger, type Metrics } from '@steward/service-kit';
import type { Bus } from './bus.ts';
import { createBusCounters } from './bus-counters.ts';
import { createRabbitConsumer } from './rabbit-consumer.ts';
import { type LinkLimits, defaultLinkLimits } from './rabbit-link.ts';
import { createRabbitPublisher } from './rabbit-publisher.ts';
import { type RetryLimits, defaultRetryLimits } from './try-in-hand.ts';

export type RabbitBusOptions = {
  /** amqp:// or amqps://, with credentials and vhost. */
  url: string;
  service: ServiceName;
  log: Logger;
  metrics?: Metrics;
  /** The most that `publish` takes, 10 s unless told. */
  confirmTimeoutMs?: number;
  /** How failing handlers are retried in hand. */
  retry?: RetryLimits;
  /** How connections are made and made again. */
  link?: LinkLimits;
  /** How often exchanges, queues and bindings are made sure of, 30 s unless told. */
  reassertMs?: number;
};

/**
 * The bus over RabbitMQ (3.10 or newer). Resolves after the first attempt to connect, whether it worked or not: a
 * service starts without its broker, says so in its readiness, and the connections come up when they can.
 * Rejects only for an address that can never work (AppError AMQP_URL_INVALID).
 */
export async function createRabbitBus(o: RabbitBusOptions): Promise<Bus> {
  const {
    url,
    service,
    log,
    confirmTimeoutMs = 10_000,
    retry = defaultRetryLimits,
    link: limits = defaultLinkLimits,
  } = o;
  const counters = createBusCounters(o.metrics);
  const publisher = createRabbitPublisher({ url, service, log, counters, confirmTimeoutMs, limits });
  const { reassertMs = 30_000 } = o;
  const consumer = createRabbitConsumer({ url, service, log, counters, publisher, retry, limits, reassertMs });
  await Promise.all([publisher.attempted, consumer.attempted]);
  return {
    publish: publisher.publish,
    consume: async (queue, handler, options) => {
      const owner = queues.find((spec) => spec.name === queue)?.consumer;
      if (owner !== service) {
        throw new AppError('BUS_QUEUE_FOREIGN', `${queue} belongs to another service`, { retryable: false });
      }
      await consumer.consume(queue, handler, options);
    },
    isReady: () => publisher.isReady() && consumer.isReady(),
    close: async () => {
      // Handlers in hand may still publish, so the publisher goes last.
      await consumer.close();
      await publisher.close();
    },
  };
}
