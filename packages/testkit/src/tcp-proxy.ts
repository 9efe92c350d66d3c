import type { Socket } from 'node:net';
import { connect, createServer } from 'node:net';

/**
 * A TCP door in front of a server, whose faults a test switches while clients use it.
 * `passing`: bytes flow. `stalled`: connections stay open and no byte moves in either direction (a black hole; what was
 * sent arrives once passing again, as TCP would repeat it). `mute`: the server hears everything and its answers are held
 * back: what it did, the client does not learn. `refusing`: new connections are reset.
 */
export type ProxyMode = 'passing' | 'stalled' | 'mute' | 'refusing';
export type TcpProxy = {
  port: number;
  /** The same URL with host and port of the proxy. */
  url: (serverUrl: string) => string;
  set: (mode: ProxyMode) => void;
  /** Holds every chunk back by this long, in each direction. */
  setLatencyMs: (latencyMs: number) => void;
  /** Resets every connection at once; new ones are served according to the mode. Returns how many were cut. */
  cut: () => number;
  /** How many client connections are open: the witness that a fault had somebody to hit. */
  connections: () => number;
  close: () => Promise<void>;
};

/** Opens a proxy on a free port of 127.0.0.1 before the server at `serverUrl` (any URL with host and port). */
export async function createTcpProxy(serverUrl: string): Promise<TcpProxy> {
  const { hostname: host, port } = new URL(serverUrl);
  let mode: ProxyMode = 'passing';
  let latencyMs = 0;
  // One gate for each direction; a closed one opens when the mode next changes.
  const gates = { up: openGate(), down: openGate() };
  const pairs = new Set<readonly [Socket, Socket]>();

  /** Carries one direction, one chunk at a time: order is kept while latency and mode change. */
  const carry = async (direction: 'up' | 'down', from: Socket, to: Socket): Promise<void> => {
    try {
      for await (const chunk of from) {
        if (latencyMs > 0) await new Promise((resolve) => setTimeout(resolve, latencyMs));
        while (gates[direction].isClosed) await gates[direction].opened;
        if (!to.write(chunk as Buffer) && !to.destroyed) await drained(to);
      }
      to.end();
    } catch {
      to.destroy();
    }
  };
  const server = createServer({ allowHalfOpen: true }, (client) => {
    client.on('error', () => undefined);
    if (mode === 'refusing') return void client.resetAndDestroy();
    const upstream = connect({ host, port: Number(port), allowHalfOpen: true });
    upstream.on('error', () => client.destroy());
    const pair = [client, upstream] as const;
    pairs.add(pair);
    client.once('close', () => {
      pairs.delete(pair);
      upstream.destroy();
    });
    void carry('up', client, upstream);
    void carry('down', upstream, client);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const ownPort = address !== null && typeof address === 'object' ? address.port : 0;

  const cut = () => {
    const count = pairs.size;
    for (const [client, upstream] of pairs) {
      client.resetAndDestroy();
      upstream.destroy();
    }
    return count;
  };
  const set: TcpProxy['set'] = (next) => {
    mode = next;
    const before = { ...gates };
    gates.up = next === 'stalled' ? closedGate() : openGate();
    gates.down = next === 'stalled' || next === 'mute' ? closedGate() : openGate();
    before.up.open();
    before.down.open();
  };
  return {
    port: ownPort,
    url: (original) => {
      const url = new URL(original);
      url.hostname = '127.0.0.1';
      url.port = String(ownPort);
      return url.href;
    },
    set,
    setLatencyMs: (next) => (latencyMs = next),
    cut,
    connections: () => pairs.size,
    close: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      set('passing');
      cut();
      await closed;
    },
  };
}

type Gate = { isClosed: boolean; opened: Promise<unknown>; open: () => void };

const openGate = (): Gate => ({ isClosed: false, opened: Promise.resolve(), open: () => undefined });

function closedGate(): Gate {
  const { promise, resolve } = Promise.withResolvers<undefined>();
  return { isClosed: true, opened: promise, open: () => resolve(undefined) };
}

/** Runs `use` with a proxy and closes it afterwards, whatever happened. */
export async function withTcpProxy<T>(serverUrl: string, use: (proxy: TcpProxy) => Promise<T>): Promise<T> {
  const proxy = await createTcpProxy(serverUrl);
  try {
    return await use(proxy);
  } finally {
    await proxy.close();
  }
}

function drained(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    const settle = () => {
      socket.off('drain', settle).off('close', settle);
      resolve();
    };
    socket.on('drain', settle).on('close', settle);
  });
}
