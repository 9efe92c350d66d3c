import type { BusMessageType } from './bus-message.ts';

/** The services that speak on the bus. */
export type ServiceName = 'adapter' | 'agent-core' | 'outbound-sender';

/**
 * One direct exchange for each service that publishes, so that the broker itself can refuse a type to whoever does not make it:
 * permissions of RabbitMQ know exchanges, not routing keys. The routing key is the message type.
 */
export const exchangeOf = (service: ServiceName): string => `steward.${service}.v1`;
/** Where refused and exhausted bus messages go, keyed by the queue they died in. */
export const deadExchangeName = 'steward.dead.v1';

/**
 * A delivery that failed this often is poison and goes to the dead queue. Declared on every queue, because RabbitMQ
 * before 4.0 has no limit of its own and 4.x has 20 (docs/quorum-queues): so both behave alike.
 */
export const deliveryLimit = 20;

/** One queue: who reads it and which bus messages it gets. Names carry a version: queue arguments never change. */
export type QueueSpec = { name: string; consumer: ServiceName; types: readonly BusMessageType[] };

export const queues = [
  { name: 'adapter.receipts.v1', consumer: 'adapter', types: ['inbound.settled.v1', 'inbound.missing.v1'] },
  {
    name: 'agent-core.inbound.v1',
    consumer: 'agent-core',
    types: ['inbound.received.v1', 'card.clicked.v1', 'person.changed.v1', 'link.interrupted.v1'],
  },
  {
    name: 'agent-core.outbound.v1',
    consumer: 'agent-core',
    types: ['outbound.recorded.v1', 'outbound.settled.v1', 'person.found.v1'],
  },
  {
    name: 'outbound-sender.requests.v1',
    consumer: 'outbound-sender',
    types: ['outbound.requested.v1', 'outbound.requested.v2', 'person.requested.v1'],
  },
] as const satisfies readonly QueueSpec[];

export type QueueName = (typeof queues)[number]['name'];

/** The dead queue of a queue. */
export const deadQueueName = (queue: QueueName): string => `${queue}.dead`;

/** Who may publish what: the exchanges, the RabbitMQ permissions and the architecture test follow this. */
export const publishers: Record<BusMessageType, ServiceName> = {
  'inbound.received.v1': 'adapter',
  'card.clicked.v1': 'adapter',
  'person.changed.v1': 'adapter',
  'link.interrupted.v1': 'adapter',
  'inbound.settled.v1': 'agent-core',
  'inbound.missing.v1': 'agent-core',
  'outbound.requested.v1': 'agent-core',
  'outbound.requested.v2': 'agent-core',
  'person.requested.v1': 'agent-core',
  'outbound.recorded.v1': 'outbound-sender',
  'outbound.settled.v1': 'outbound-sender',
  'person.found.v1': 'outbound-sender',
};

/**
 * The consumer's answer to each bus message that must not be lost. Until it comes the publisher publishes again.
 * Null: the message is itself a receipt (or a request that is repeated anyway) and is forgotten once confirmed.
 */
export const receiptOf: Record<BusMessageType, BusMessageType | null> = {
  'inbound.received.v1': 'inbound.settled.v1',
  'card.clicked.v1': 'inbound.settled.v1',
  'person.changed.v1': 'inbound.settled.v1',
  'link.interrupted.v1': 'inbound.settled.v1',
  'outbound.requested.v1': 'outbound.settled.v1',
  'outbound.requested.v2': 'outbound.settled.v1',
  'person.requested.v1': 'person.found.v1',
  'inbound.settled.v1': null,
  'inbound.missing.v1': null,
  'outbound.recorded.v1': null,
  'outbound.settled.v1': null,
  'person.found.v1': null,
};
