import { connect, createServer as createTcpServer, type Socket } from 'node:net';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { EgressRequest } from './egress.ts';
import type { Network } from './egress-socket.ts';

/** A public address that no test reaches: sockets that are opened to it end at a server of the test on 127.0.0.1. */
export const publicAddress = '93.184.216.34';

/** Names and sockets as a test wants them. No packet leaves 127.0.0.1: every socket goes to `port` there. */
export function createTestNetwork(o: { port: number; names?: Record<string, readonly string[][]> }) {
  const looked: string[] = [];
  const opened: { hostname: string; port: number; addresses: readonly string[] }[] = [];
  const network: Network = {
    lookup: (hostname) => {
      const answers = o.names?.[hostname] ?? [[publicAddress]];
      const answer = answers[Math.min(looked.filter((name) => name === hostname).length, answers.length - 1)];
      looked.push(hostname);
      if (answer !== undefined) return Promise.resolve(answer);
      return Promise.reject(Object.assign(new Error('no such name'), { code: 'ENOTFOUND' }));
    },
    openSocket: (wanted) => {
      opened.push(wanted);
      return connect({ host: '127.0.0.1', port: o.port });
    },
  };
  return { network, looked, opened };
}

/** A server on 127.0.0.1 that answers as the listener does, or, given a function of the socket, in raw bytes. */
export async function startServer(answer: { http: RequestListener } | { raw: (socket: Socket) => void }) {
  const sockets = new Set<Socket>();
  const server = 'http' in answer ? createServer(answer.http) : createTcpServer(answer.raw);
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined).on('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo; // a TCP server has one
  const close = async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  };
  return { port, sockets, close };
}

/** A call of a public host over plain http, with what matters to a test changed. */
export function buildRequest(changes: Partial<EgressRequest> = {}): EgressRequest {
  return {
    target: { host: 'api.example.com', http: true, private: false },
    method: 'GET',
    path: '/',
    headers: {},
    body: null,
    maxBytes: 65_536,
    timeoutMs: 5_000,
    signal: new AbortController().signal,
    ...changes,
  };
}
