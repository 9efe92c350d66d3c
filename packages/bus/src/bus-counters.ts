import type { Metrics } from '@steward/service-kit';
import type { QueueName } from '@steward/contracts';
import type { PublishOutcome } from './bus.ts';
import type { Ending } from './try-in-hand.ts';

/** What the bus counts. Without metrics every call is a no-op. */
export type BusCounters = {
  published: (outcome: PublishOutcome) => void;
  consumed: (queue: QueueName, ending: Ending['kind']) => void;
  inHand: (queue: QueueName, count: number) => void;
  reconnected: (side: 'publish' | 'consume') => void;
};

/** Registers the bus metrics once for each bus. Deliveries that went to the dead queue are `ending="dead"`. */
export function createBusCounters(metrics: Metrics | undefined): BusCounters {
  const published = metrics?.counter('steward_bus_published_total', 'Bus messages published, by outcome', ['outcome']);
  const consumed = metrics?.counter('steward_bus_consumed_total', 'Deliveries by how they ended', ['queue', 'ending']);
  const inHand = metrics?.gauge('steward_bus_in_hand', 'Deliveries a handler has in hand', ['queue']);
  const lost = metrics?.counter('steward_bus_reconnects_total', 'Connections to RabbitMQ that were replaced', ['side']);
  return {
    published: (outcome) => published?.inc({ outcome }),
    consumed: (queue, ending) => consumed?.inc({ queue, ending }),
    inHand: (queue, count) => inHand?.set({ queue }, count),
    reconnected: (side) => lost?.inc({ side }),
  };
}
