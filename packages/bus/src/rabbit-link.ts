import { setTimeout as sleep } from 'node:timers/promises';
import { type ChannelModel, connect } from 'amqplib';
import { AppError, backoffMs, describeError, type Logger, withinLimit } from '@steward/service-kit';

/** One connection's life. `signal` aborts when it is over; `end` says that it shall be. */
export type Session = { model: ChannelModel; signal: AbortSignal; end: (reason: string) => void };

/** A connection that is replaced whenever it is lost. */
export type RabbitLink<T> = {
  /** What `setUp` made on the present connection; undefined while there is none. */
  current: () => T | undefined;
  /** Resolves when the first attempt to connect has succeeded or failed. */
  attempted: Promise<unknown>;
  close: () => Promise<void>;
};

export type LinkLimits = { connectTimeoutMs: number; baseMs: number; capMs: number };
export const defaultLinkLimits: LinkLimits = { connectTimeoutMs: 10_000, baseMs: 200, capMs: 5_000 };

/** Vendor's advice is 5 to 20 s (RabbitMQ guide "Heartbeats"). amqplib gives up after two silent intervals. */
const heartbeatSeconds = 10;
/** A connection that lived this long was a good one: the next backoff starts small again. */
const stableMs = 10_000;
/** How long an orderly goodbye may take before the socket is destroyed. */
const goodbyeMs = 1_000;

/**
 * Keeps one connection up: a single loop connects, sets up, waits for the end, backs off with jitter, and begins again,
 * so there are never two attempts at once. Trouble of a channel ends the whole connection: one way back, walked often.
 * (amqplib's own `recovery` neither repairs channels nor lets go of a socket whose server has gone silent.)
 */
export function createRabbitLink<T>(o: {
  url: string;
  name: string;
  log: Logger;
  limits: LinkLimits;
  onReplaced: () => void;
  setUp: (session: Session) => Promise<T>;
}): RabbitLink<T> {
  const { name, log, limits } = o;
  const address = toAddress(o.url);
  const closing = new AbortController();
  const isClosing = () => closing.signal.aborted;
  const attempted = Promise.withResolvers<undefined>();
  let current: T | undefined;

  async function keepUp(): Promise<void> {
    for (let attempt = 1; !isClosing(); attempt += 1) {
      const startedAt = performance.now();
      const reason = await liveOnce().catch(toReason);
      attempted.resolve(undefined);
      if (isClosing()) return;
      log.warn('bus.link.lost', { link: name, reason, attempt });
      o.onReplaced();
      if (performance.now() - startedAt > stableMs) attempt = 1;
      const waitMs = backoffMs(attempt, { ...limits, random: Math.random });
      await sleep(waitMs, undefined, { signal: closing.signal }).catch(() => undefined);
    }
  }

  /** One connection from its first to its last moment. Resolves with the reason for its end; rejects if it never came up. */
  async function liveOnce(): Promise<string> {
    const socket = new AbortController();
    const over = new AbortController();
    const ended = Promise.withResolvers<string>();
    const end = (reason: string) => {
      over.abort();
      ended.resolve(reason);
    };
    closing.signal.addEventListener('abort', () => end('closing'), { signal: over.signal });
    let model: ChannelModel | undefined;
    try {
      const opened = openModel(address, name, socket.signal, end);
      model = await withinLimit(opened, limits.connectTimeoutMs, `connecting ${name}`);
      const setUp = o.setUp({ model, signal: over.signal, end });
      current = await withinLimit(setUp, limits.connectTimeoutMs, `setting up ${name}`);
      if (!over.signal.aborted) log.info('bus.link.up', { link: name });
      attempted.resolve(undefined);
      return await ended.promise;
    } finally {
      current = undefined;
      over.abort();
      if (model) await withinLimit(model.close(), goodbyeMs, `closing ${name}`).catch(() => undefined);
      // Whatever happened before: no socket outlives its session, not even one whose other side has gone silent.
      socket.abort();
    }
  }

  const running = keepUp();
  return {
    current: () => current,
    attempted: attempted.promise,
    close: async () => {
      closing.abort();
      await running;
    },
  };
}

async function openModel(
  address: string,
  name: string,
  signal: AbortSignal,
  end: (reason: string) => void,
): Promise<ChannelModel> {
  // Node destroys a socket when the signal among its options aborts (net.Socket, tls.connect).
  const socketOptions = { noDelay: true, keepAlive: true, signal, clientProperties: { connection_name: name } };
  const model = await connect(address, socketOptions);
  // An emitter without these listeners throws; neither of ours can.
  model.on('error', (error: Error) => end(toReason(error)));
  model.on('close', (error?: Error) => end(error ? toReason(error) : 'closed'));
  return model;
}

/** One line for the log; some errors have only a code (a refused connection), some only a text. */
export function toReason(error: unknown): string {
  const { code, text } = describeError(error);
  return `${code}: ${text}`;
}

/** The address with our heartbeat. The URL holds a password, so a bad one is not quoted. */
function toAddress(url: string): string {
  const address = URL.canParse(url) ? new URL(url) : undefined;
  if (address?.protocol !== 'amqp:' && address?.protocol !== 'amqps:') {
    throw new AppError('AMQP_URL_INVALID', 'the RabbitMQ address is not an amqp:// or amqps:// URL', {
      retryable: false,
    });
  }
  address.searchParams.set('heartbeat', String(heartbeatSeconds));
  return address.href;
}
