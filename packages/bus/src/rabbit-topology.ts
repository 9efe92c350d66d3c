import type { Channel } from 'amqplib';
import {
  type QueueName,
  type ServiceName,
  deadExchangeName,
  deadQueueName,
  deliveryLimit,
  exchangeOf,
  publishers,
  queues,
} from '@steward/contracts';

/** More than this is not a backlog but a standstill; the publisher's outbox keeps the rest. */
const maxQueueLength = 100_000;
/** The oldest dead letters make room: their truth is in the ledgers, which publish again without a receipt. */
const maxDeadLength = 10_000;
/** Looking at a dead letter and putting it back must not be what destroys it (RabbitMQ 4 limits every queue to 20). */
const deadDeliveryLimit = 1_000_000;

/** Makes sure of what a publisher needs: its own exchange. Harmless to repeat. */
export async function assertPublishing(channel: Channel, service: ServiceName): Promise<void> {
  await channel.assertExchange(exchangeOf(service), 'direct', { durable: true });
}

/**
 * Makes sure of a queue, its bindings, the exchanges it is bound to, and its dead queue. Harmless to repeat.
 * Quorum queues: confirmed means fsynced by a majority. Dead lettering is at-least-once, which RabbitMQ from 3.10 on
 * grants only together with `reject-publish` (guide "Quorum queues"): a full queue says so to the publisher
 * instead of dropping its oldest. Queue arguments never change; a change needs a new queue name.
 */
export async function assertConsuming(channel: Channel, queue: QueueName): Promise<void> {
  await channel.assertExchange(deadExchangeName, 'direct', { durable: true });
  await channel.assertQueue(deadQueueName(queue), {
    durable: true,
    arguments: { 'x-queue-type': 'quorum', 'x-max-length': maxDeadLength, 'x-delivery-limit': deadDeliveryLimit },
  });
  await channel.bindQueue(deadQueueName(queue), deadExchangeName, queue);
  await channel.assertQueue(queue, {
    durable: true,
    arguments: {
      'x-queue-type': 'quorum',
      'x-delivery-limit': deliveryLimit,
      'x-max-length': maxQueueLength,
      'x-overflow': 'reject-publish',
      'x-dead-letter-exchange': deadExchangeName,
      'x-dead-letter-routing-key': queue,
      'x-dead-letter-strategy': 'at-least-once',
    },
  });
  const types = queues.find((spec) => spec.name === queue)?.types ?? [];
  for (const service of new Set(types.map((type) => publishers[type]))) await assertPublishing(channel, service);
  for (const type of types) await channel.bindQueue(queue, exchangeOf(publishers[type]), type);
}
