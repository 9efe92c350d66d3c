import { type Channel, connect } from 'amqplib';
import type { BusMessage } from '@steward/contracts';
import { createLogger } from '@steward/service-kit';
import { type TestVhost, createTestVhost, waitUntil } from '@steward/testkit';
import type { Bus } from './bus.ts';
import { quickRetry } from './bus-contract.ts';
import { type RabbitBusOptions, createRabbitBus } from './rabbit-bus.ts';

export const queue = 'adapter.receipts.v1';
export const wait = { timeoutMs: 30_000 };
const link = { connectTimeoutMs: 5_000, baseMs: 20, capMs: 200 };

/** A vhost with its buses, their log, and an administrator who does harm. */
export type RabbitBench = {
  vhost: TestVhost;
  url: string;
  /** A bus of agent-core unless told otherwise. */
  open: (options?: Partial<RabbitBusOptions>) => Promise<Bus>;
  /** A consumer of `queue` that remembers the ids it was given. */
  openConsumer: (options?: Partial<RabbitBusOptions>) => Promise<{ bus: Bus; seen: string[] }>;
  asAdministrator: <T>(use: (channel: Channel) => Promise<T>) => Promise<T>;
  /** The witness of a fault: how often a connection of that name was lost. */
  lost: (name: string) => number;
  close: () => Promise<void>;
};

export async function createRabbitBench(): Promise<RabbitBench> {
  const vhost = await createTestVhost();
  const lines: string[] = [];
  const buses: Bus[] = [];
  const log = createLogger({ service: 'bus-test', write: (line) => lines.push(line) });

  async function open(options: Partial<RabbitBusOptions> = {}): Promise<Bus> {
    const bus = await createRabbitBus({
      url: vhost.url,
      service: 'agent-core',
      log,
      retry: quickRetry,
      link,
      ...options,
    });
    buses.push(bus);
    return bus;
  }

  return {
    vhost,
    url: vhost.url,
    open,
    openConsumer: async (options = {}) => {
      const seen: string[] = [];
      const bus = await open({ service: 'adapter', ...options });
      await bus.consume(queue, (message) => Promise.resolve(void seen.push(message.id)));
      return { bus, seen };
    },
    asAdministrator: async (use) => {
      const model = await connect(vhost.url);
      try {
        return await use(await model.createChannel());
      } finally {
        await model.close();
      }
    },
    lost: (name) => lines.filter((line) => line.includes('bus.link.lost') && line.includes(name)).length,
    close: async () => {
      await Promise.all(buses.map((bus) => bus.close()));
      await vhost.drop();
    },
  };
}

export async function readyAgain(bus: Bus): Promise<void> {
  await waitUntil(() => bus.isReady(), { ...wait, what: 'readiness' });
}

export async function arrived(seen: readonly string[], messages: readonly BusMessage[]): Promise<void> {
  await waitUntil(() => messages.every(({ id }) => seen.includes(id)), { ...wait, what: 'every delivery' });
}

/** What an outbox does: publishes again until it is confirmed. */
export async function publishUntilConfirmed(bus: Bus, messages: readonly BusMessage[]): Promise<void> {
  let open = [...messages];
  const allConfirmed = async () => {
    const outcomes = await bus.publish(open);
    open = open.filter((_message, index) => outcomes[index] !== 'confirmed');
    return open.length === 0;
  };
  await waitUntil(allConfirmed, { ...wait, what: 'the confirmation of all' });
}
