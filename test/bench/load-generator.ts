// Closed-loop load on the robot door, in a process of its own: as many requests as fit into a time, over keep-alive
// connections with one request in flight each. Prints one JSON line. Sockets instead of an HTTP client, because on a
// small machine what the generator burns is missing on the side that is measured.
import { createHmac } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { buildPayload, roomId } from './bench-world.ts';
import { percentile } from './statistics.ts';

export type LoadOrder = {
  url: string;
  path: string;
  appSecret: string;
  connections: number;
  conversations: number;
  durationMs: number;
  /** Makes the message ids of this run its own. */
  prefix: string;
};
export type LoadResult = { answered: number; perSecond: number; p50Ms: number; p99Ms: number; maxMs: number };

const order = JSON.parse(process.argv[2] ?? '{}') as LoadOrder; // written by measure-ingress.ts
process.stdout.write(`${JSON.stringify(await run(order))}\n`);

async function run(o: LoadOrder): Promise<LoadResult> {
  const nextRequest = createRequests(o);
  const latencies: number[] = [];
  const startedAt = performance.now();
  const sockets = await Promise.all(Array.from({ length: o.connections }, () => open(new URL(o.url))));
  await Promise.all(sockets.map((socket) => ask(socket, nextRequest, startedAt + o.durationMs, latencies)));
  const seconds = (performance.now() - startedAt) / 1_000;
  for (const socket of sockets) socket.destroy();
  return {
    answered: latencies.length,
    perSecond: latencies.length / seconds,
    p50Ms: percentile(latencies, 0.5),
    p99Ms: percentile(latencies, 0.99),
    maxMs: Math.max(...latencies),
  };
}

/** Signed once: the platform's signature covers the time only. Each request has its own message id. */
function createRequests(o: LoadOrder): () => string {
  const nowMs = Date.now();
  const sign = createHmac('sha256', o.appSecret).update(`${nowMs}\n${o.appSecret}`).digest('base64');
  const head = `POST ${o.path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json; charset=utf-8\r\ntimestamp: ${nowMs}\r\nsign: ${sign}\r\nContent-Length: `;
  const bodies = Array.from({ length: o.conversations }, (_, number) =>
    JSON.stringify(buildPayload({ msgId: 'MSG-ID', conversationId: roomId(number), nowMs })).split('MSG-ID'),
  );
  let count = 0;
  return () => {
    count += 1;
    const [before = '', after = ''] = bodies[count % bodies.length] ?? [];
    const body = `${before}${o.prefix}-${count}${after}`;
    return `${head}${Buffer.byteLength(body)}\r\n\r\n${body}`;
  };
}

function open({ hostname, port }: URL): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: hostname, port: Number(port), noDelay: true });
    socket.once('error', reject).once('connect', () => resolve(socket));
  });
}

/** One request after the other until the time is over. Rejects on any answer that is not 200. */
function ask(socket: Socket, nextRequest: () => string, until: number, latencies: number[]): Promise<void> {
  return new Promise((resolve, reject) => {
    let received = '';
    let askedAt = 0;
    const next = () => {
      askedAt = performance.now();
      if (askedAt >= until) return resolve();
      socket.write(nextRequest());
    };
    socket.on('data', (chunk) => {
      received += chunk.toString('latin1');
      const headEnd = received.indexOf('\r\n\r\n');
      if (headEnd < 0) return;
      const length = Number(/content-length: (\d+)/i.exec(received)?.[1]);
      if (received.length < headEnd + 4 + length) return;
      if (!received.startsWith('HTTP/1.1 200 ')) return reject(new Error(`answered ${received.slice(0, 200)}`));
      latencies.push(performance.now() - askedAt);
      received = '';
      next();
    });
    socket.on('error', reject).on('close', () => reject(new Error('the connection was closed')));
    next();
  });
}
