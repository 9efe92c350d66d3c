import { connect, createServer, type Socket } from 'node:net';

export type Balancer = { url: string; close(): Promise<void> };

/** What stands in front of several adapters: each new connection goes to the next of them that answers. */
export async function createBalancer(): Promise<Balancer & { setTargets(urls: readonly string[]): void }> {
  let targets: { host: string; port: number }[] = [];
  let next = 0;
  const clients = new Set<Socket>();
  const server = createServer((client) => {
    clients.add(client);
    client.on('error', () => undefined).once('close', () => clients.delete(client));
    const tryTarget = (left: number) => {
      const target = targets[next++ % Math.max(1, targets.length)];
      if (target === undefined || left === 0) return void client.destroy();
      const upstream = connect(target);
      let connected = false;
      upstream.once('connect', () => {
        connected = true;
        client.pipe(upstream).pipe(client);
        client.once('close', () => upstream.destroy());
      });
      upstream.on('error', () => (connected ? client.destroy() : tryTarget(left - 1)));
    };
    tryTarget(targets.length);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = address !== null && typeof address === 'object' ? address.port : 0;
  return {
    url: `http://127.0.0.1:${port}`,
    setTargets: (urls) => {
      targets = urls.map((url) => ({ host: '127.0.0.1', port: Number(new URL(url).port) }));
    },
    close: () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const client of clients) client.destroy();
      return closed;
    },
  };
}
