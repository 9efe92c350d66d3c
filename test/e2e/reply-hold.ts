import { connect, createServer, type Socket } from 'node:net';

/** A door in front of a server that lets everything in and, while it holds, lets nothing out: the caller never learns. */
export type ReplyHold = { url(serverUrl: string): string; hold(): void; release(): void; close(): Promise<void> };

export async function createReplyHold(serverUrl: string): Promise<ReplyHold> {
  const { hostname: host, port } = new URL(serverUrl);
  const pairs = new Set<{ client: Socket; upstream: Socket }>();
  let isHolding = false;
  const server = createServer((client) => {
    const upstream = connect({ host, port: Number(port) });
    const pair = { client, upstream };
    pairs.add(pair);
    client.pipe(upstream);
    if (!isHolding) upstream.pipe(client);
    for (const socket of [client, upstream]) socket.on('error', () => undefined);
    client.once('close', () => upstream.destroy());
    upstream.once('close', () => {
      client.destroy();
      pairs.delete(pair);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const ownPort = address !== null && typeof address === 'object' ? address.port : 0;
  return {
    url: (original) => {
      const url = new URL(original);
      url.host = `127.0.0.1:${ownPort}`;
      return url.href;
    },
    hold: () => {
      isHolding = true;
      for (const { client, upstream } of pairs) upstream.unpipe(client).pause();
    },
    release: () => {
      isHolding = false;
      for (const { client, upstream } of pairs) upstream.pipe(client);
    },
    close: () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const { client } of pairs) client.destroy();
      return closed;
    },
  };
}
