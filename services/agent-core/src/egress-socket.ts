import { lookup as lookupName } from 'node:dns/promises';
import { connect as connectTcp, isIP, type LookupFunction, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { AppError, judgeAddress } from '@steward/service-kit';

/** Every address of a host name, as text. Rejects when there is none. */
export type Lookup = (hostname: string) => Promise<readonly string[]>;
/** Begins to connect to one of exactly these addresses. */
export type OpenSocket = (o: { hostname: string; port: number; addresses: readonly string[] }) => Socket;
export type Network = { lookup: Lookup; openSocket: OpenSocket };

/** A name with more addresses than this is no service that a tool calls. */
const maxAddresses = 32;
/** As many are tried, in the order of the name server. */
const triedAddresses = 6;

export const realNetwork: Network = {
  lookup: async (hostname) => (await lookupName(hostname, { all: true, order: 'verbatim' })).map((one) => one.address),
  openSocket: ({ hostname, port, addresses }) =>
    connectTcp({ host: hostname, port, lookup: toPinned(addresses), autoSelectFamily: true, noDelay: true }),
};

/**
 * A connected socket to where the URL points, through TLS for https. The name is resolved once, every address of it must
 * be permitted, and the connection is made to those very addresses: no second look-up can change them. Rejects with an
 * error whose `code` says why; then nothing was written. Ends when `signal` does.
 */
export async function openCheckedSocket(
  network: Network,
  o: { url: URL; private: boolean },
  signal: AbortSignal,
): Promise<Socket> {
  const hostname = o.url.hostname.replace(/^\[|\]$/g, '');
  const addresses = isIP(hostname) === 0 ? await within(signal, network.lookup(hostname)) : [hostname];
  const isPermitted = addresses.every((address) => judgeAddress(address, o) === 'allow');
  // One forbidden address among good ones is how a name is turned against its caller: then none is used.
  if (addresses.length === 0 || addresses.length > maxAddresses || !isPermitted)
    throw new AppError('ADDRESS_REFUSED', 'the host has an address that tools may not reach', { retryable: false });
  signal.throwIfAborted();
  const isTls = o.url.protocol === 'https:';
  const port = o.url.port === '' ? (isTls ? 443 : 80) : Number(o.url.port);
  const socket = network.openSocket({ hostname, port, addresses: addresses.slice(0, triedAddresses) });
  await untilReady(socket, 'connect', signal);
  return isTls ? secure(socket, hostname, signal) : socket;
}

/** Certificates are checked whatever the environment says; Node adds the authorities of NODE_EXTRA_CA_CERTS. */
async function secure(socket: Socket, hostname: string, signal: AbortSignal): Promise<Socket> {
  const tls = connectTls({
    socket,
    host: hostname,
    servername: isIP(hostname) === 0 ? hostname : '',
    rejectUnauthorized: true,
    ALPNProtocols: ['http/1.1'],
  });
  await untilReady(tls, 'secureConnect', signal);
  return tls;
}

/** Resolves at the occasion; destroys the socket and rejects when it fails, closes or is out of time before. */
async function untilReady(socket: Socket, occasion: 'connect' | 'secureConnect', signal: AbortSignal): Promise<void> {
  // For its whole life: an error of a socket that nobody listens to would end the process.
  socket.on('error', () => undefined);
  const ready = new Promise<void>((resolve, reject) => {
    socket.once(occasion, resolve);
    socket.once('error', reject);
    socket.once('close', () =>
      reject(new AppError('CONNECTION_CLOSED', 'closed while connecting', { retryable: true })),
    );
  });
  try {
    await within(signal, ready);
  } catch (error) {
    socket.destroy();
    throw error;
  }
}

/** The promise, or the reason of the signal if that ends first. */
async function within<T>(signal: AbortSignal, promise: Promise<T>): Promise<T> {
  const ended = Promise.withResolvers<never>();
  const end = () => ended.reject(signal.reason);
  if (signal.aborted) end();
  signal.addEventListener('abort', end, { once: true });
  // Whichever loses is nobody's failure any more.
  promise.catch(() => undefined);
  ended.promise.catch(() => undefined);
  try {
    return await Promise.race([promise, ended.promise]);
  } finally {
    signal.removeEventListener('abort', end);
  }
}

/** A look-up that knows one answer. */
function toPinned(addresses: readonly string[]): LookupFunction {
  const pinned = addresses.map((address) => ({ address, family: isIP(address) }));
  return (_hostname, options, answer) => {
    const [first] = pinned;
    if (options.all === true) answer(null, pinned);
    else answer(null, first?.address ?? '', first?.family);
  };
}
