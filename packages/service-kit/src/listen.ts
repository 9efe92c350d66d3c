import { createServer, type RequestListener, type Server, type ServerResponse } from 'node:http';
import { AppError } from './errors.ts';

/** A listening server. `close` finishes the requests in hand, at most 5 s, and drops idle connections at once. */
export type Listening = { url: string; port: number; close(): Promise<void> };

const CLOSE_LIMIT_MS = 5_000;

/** How long a client may take to send a request, and how many may be connected; what is above is hung up on. */
export type ListenLimits = { requestMs?: number; connections?: number };

const REQUEST_MS = 20_000;
const HEADERS_MS = 10_000;
/** Far more than a reverse proxy keeps open, and far less than what costs memory worth speaking of. */
const CONNECTIONS = 2_000;

/**
 * Starts to listen; port 0 takes a free one. Slow or silent clients are cut off: 10 s for headers, 20 s (or as told) for a
 * whole request, 75 s for an idle connection (longer than a reverse proxy keeps its own, so that it closes first).
 * Rejects with LISTEN_FAILED when the address cannot be had.
 */
export async function listen(
  app: RequestListener,
  address: { host: string; port: number },
  { requestMs = REQUEST_MS, connections = CONNECTIONS }: ListenLimits = {},
): Promise<Listening> {
  const server = createServer(
    {
      headersTimeout: Math.min(HEADERS_MS, requestMs),
      requestTimeout: requestMs,
      keepAliveTimeout: 75_000,
      connectionsCheckingInterval: Math.min(2_000, requestMs / 2),
    },
    app,
  );
  server.maxConnections = connections;
  const close = createClose(server);
  await bind(server, address);
  const bound = server.address();
  const port = typeof bound === 'object' && bound !== null ? bound.port : address.port;
  return { url: `http://${reachableHost(address.host)}:${port}`, port, close };
}

function bind(server: Server, { host, port }: { host: string; port: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause) => {
      reject(new AppError('LISTEN_FAILED', `cannot listen on ${host} port ${port}`, { retryable: false, cause }));
    });
    server.listen({ host, port }, resolve);
  });
}

function createClose(server: Server): () => Promise<void> {
  const inHand = new Set<ServerResponse>();
  let closed: Promise<void> | undefined;
  server.prependListener('request', (_request, response: ServerResponse) => {
    if (closed !== undefined) response.setHeader('connection', 'close');
    inHand.add(response);
    response.once('close', () => {
      inHand.delete(response);
      if (closed !== undefined) server.closeIdleConnections();
    });
  });
  return () => {
    closed ??= new Promise((resolve) => {
      const limit = setTimeout(() => server.closeAllConnections(), CLOSE_LIMIT_MS);
      server.close(() => {
        clearTimeout(limit);
        resolve();
      });
      // Their clients learn that this connection ends with the answer.
      for (const response of inHand) if (!response.headersSent) response.setHeader('connection', 'close');
      server.closeIdleConnections();
    });
    return closed;
  };
}

/** "Any address" is where one listens, not where one connects to. */
function reachableHost(host: string): string {
  if (host === '0.0.0.0' || host === '::' || host === '') return '127.0.0.1';
  return host.includes(':') ? `[${host}]` : host;
}
