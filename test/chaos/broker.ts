import { type BusMessageType, exchangeOf, publishers, queues } from '@steward/contracts';

/** RabbitMQ as its administrator sees it, in the vhost of the run. */
export type Broker = {
  deleteQueue: (queue: string) => Promise<void>;
  deleteExchange: (exchange: string) => Promise<void>;
  /** Publishes what no service of ours would. True: it was routed to a queue. */
  publish: (type: BusMessageType, body: string) => Promise<boolean>;
  isAlarmed: () => Promise<boolean>;
  /** Copies every bus message from now on aside, for `readTap`; harmless to repeat, needed again after a wipe. */
  tap: () => Promise<void>;
  /** The bodies that were copied since the last call. */
  readTap: () => Promise<string[]>;
};

const tapQueue = 'chaos-tap';

export function createBroker(managementUrl: string, vhost: string): Broker {
  const url = new URL(managementUrl);
  const authorization = `Basic ${Buffer.from(`${url.username}:${url.password}`).toString('base64')}`;
  const at = encodeURIComponent;
  const call = async (method: string, path: string, body?: unknown): Promise<unknown> => {
    const response = await fetch(`http://${url.host}/api/${path}`, {
      method,
      headers: { authorization, 'content-type': 'application/json' },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.timeout(20_000),
    });
    const text = await response.text();
    if (response.status === 404) return undefined;
    if (!response.ok) throw new Error(`${method} /api/${path} answered ${response.status}: ${text.slice(0, 200)}`);
    return text === '' ? undefined : JSON.parse(text);
  };
  const types = queues.flatMap((queue): readonly BusMessageType[] => queue.types);
  const exchangeFor = (type: BusMessageType) => at(exchangeOf(publishers[type]));
  return {
    deleteQueue: async (queue) => {
      await call('DELETE', `queues/${at(vhost)}/${at(queue)}`);
    },
    deleteExchange: async (exchange) => {
      await call('DELETE', `exchanges/${at(vhost)}/${at(exchange)}`);
    },
    publish: async (type, payload) => {
      const answer = (await call('POST', `exchanges/${at(vhost)}/${exchangeFor(type)}/publish`, {
        ...{ properties: { delivery_mode: 2, type }, routing_key: type, payload, payload_encoding: 'string' },
      })) as { routed?: boolean } | undefined;
      return answer?.routed ?? false;
    },
    isAlarmed: async () => ((await call('GET', 'nodes')) as { mem_alarm?: boolean }[]).some((node) => node.mem_alarm),
    tap: async () => {
      for (const exchange of new Set(types.map(exchangeFor)))
        await call('PUT', `exchanges/${at(vhost)}/${exchange}`, { type: 'direct', durable: true });
      await call('PUT', `queues/${at(vhost)}/${tapQueue}`, { durable: true, arguments: { 'x-max-length': 50_000 } });
      for (const type of types)
        await call('POST', `bindings/${at(vhost)}/e/${exchangeFor(type)}/q/${tapQueue}`, { routing_key: type });
    },
    readTap: async () => {
      const got = await call('POST', `queues/${at(vhost)}/${tapQueue}/get`, {
        ...{ count: 50_000, ackmode: 'ack_requeue_false', encoding: 'auto' },
      });
      return ((got as { payload: string }[] | undefined) ?? []).map(({ payload }) => payload);
    },
  };
}
