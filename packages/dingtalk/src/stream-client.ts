import { backoffMs } from '@steward/service-kit';
import type { Logger } from '@steward/service-kit';
import { openStreamConnection } from './open-stream-connection.ts';
import { createPushDesk } from './push-desk.ts';
import type { PushDesk, StreamReceivers } from './push-desk.ts';
import { dialStreamSocket } from './stream-socket.ts';
import type { StreamLimits, StreamSocket } from './stream-socket.ts';
import { repeatEvery, systemTimers, withinMs } from './stream-timers.ts';
import type { StreamTimers } from './stream-timers.ts';

export type StreamStatus = {
  /** There is a socket on which pushes can arrive. */
  connected: boolean;
  /** Since when nothing could arrive, ms since the epoch; null while connected, and before the first connection. */
  deafSinceMs: number | null;
  /** When the last frame of any kind came in, pongs included; ms since the epoch. */
  lastFrameAtMs: number | null;
  /** The platform's ids of our open sockets, as far as frames told them. */
  connectionIds: string[];
  /** Connections opened after the first, planned replacements included. */
  reconnects: number;
};

/** Keeps one Stream connection to DingTalk open, for as long as it runs. */
export type StreamClient = {
  start(): void;
  status(): StreamStatus;
  /** Takes no more pushes, answers those in hand (at most 10 s), closes the sockets. */
  close(): Promise<void>;
};

export type StreamClientOptions = {
  apiUrl: string;
  clientId: string;
  clientSecret: string;
  receivers: StreamReceivers;
  log: Logger;
  /** Pushes in hand at a time; more stay unacked. Default 200. */
  maxInHand?: number;
  limits?: Partial<StreamLimits>;
  timers?: StreamTimers;
  /** 0 <= n < 1. */
  random?: () => number;
};

const defaultLimits: StreamLimits = { pingEveryMs: 30_000, deadAfterMs: 95_000, quietAfterMs: 600_000 };
const openTimeoutMs = 10_000;
/** Robots of one host that start together do not connect in the same instant. */
const staggerMs = 500;
/** How long a replaced socket may still deliver acks; the server itself closes after 10 s. */
const retireMs = 15_000;
const closeInHandMs = 10_000;
const closeSocketsMs = 2_000;
const tickMs = 5_000;
/** A tick this late means that the machine slept: sockets that look open are dead. */
const sleptMs = 30_000;
/** A connection that lived so long was a good one, even if it never pushed anything. */
const goodLifeMs = 60_000;

/**
 * A Stream client for one app. Connects with backoff (full jitter, at most 60 s), asks for a new ticket each time,
 * replaces a socket before the server closes it, and answers a push only after its receiver resolved. Nothing that
 * happens to the connection is an error of the caller: see `status()`.
 */
export function createStreamClient(options: StreamClientOptions): StreamClient {
  return new StreamSupervisor(options);
}

class StreamSupervisor implements StreamClient {
  readonly #options: StreamClientOptions;
  readonly #timers: StreamTimers;
  readonly #desk: PushDesk;
  readonly #aborter = new AbortController();
  readonly #sockets = new Set<StreamSocket>();
  readonly #cancels = new Set<() => void>();
  #current: StreamSocket | null = null;
  /** From the decision to connect until the socket is open or has failed: at most one at a time. */
  #attempting = false;
  /** Attempts since a connection last proved good. */
  #attempt = 0;
  #opened = 0;
  #lastFrameAtMs: number | null = null;
  #deafSinceMs: number | null = null;
  #started = false;
  #closed = false;
  #onEmpty = () => {};

  constructor(options: StreamClientOptions) {
    this.#options = options;
    this.#timers = options.timers ?? systemTimers;
    this.#desk = createPushDesk({
      receivers: options.receivers,
      maxInHand: options.maxInHand ?? 200,
      timers: this.#timers,
      log: options.log,
    });
  }

  start(): void {
    if (this.#started) return;
    this.#started = true;
    this.#watchClock();
    this.#connect();
  }

  status(): StreamStatus {
    return {
      connected: this.#isConnected(),
      deafSinceMs: this.#isConnected() ? null : this.#deafSinceMs,
      lastFrameAtMs: this.#lastFrameAtMs,
      connectionIds: [...this.#sockets].flatMap((socket) => socket.connectionId ?? []),
      reconnects: Math.max(0, this.#opened - 1),
    };
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const cancel of this.#cancels) cancel();
    this.#aborter.abort();
    await withinMs(this.#timers, closeInHandMs, this.#desk.close());
    const empty = new Promise<void>((resolve) => (this.#onEmpty = resolve));
    for (const socket of this.#sockets) socket.close();
    if (this.#sockets.size > 0) await withinMs(this.#timers, closeSocketsMs, empty);
    for (const socket of this.#sockets) socket.terminate();
  }

  #isConnected(): boolean {
    return this.#current !== null && !this.#current.goneAway;
  }

  #connect(): void {
    if (this.#closed || this.#attempting) return;
    this.#attempting = true;
    const random = this.#options.random ?? Math.random;
    const delayMs =
      this.#attempt === 0
        ? Math.floor(random() * staggerMs)
        : backoffMs(this.#attempt, { baseMs: 1_000, capMs: 60_000, random });
    this.#attempt += 1;
    this.#after(delayMs, () => void this.#open());
  }

  async #open(): Promise<void> {
    const { apiUrl, clientId, clientSecret, receivers, log } = this.#options;
    const opened = await openStreamConnection({
      apiUrl,
      clientId,
      clientSecret,
      topics: {
        robotMessages: receivers.robotMessage !== undefined,
        cardCallbacks: receivers.cardCallback !== undefined,
        platformEvents: receivers.platformEvent !== undefined,
      },
      timeoutMs: openTimeoutMs,
      signal: this.#aborter.signal,
    });
    if (this.#closed) return;
    if (opened.ok) return this.#dial(opened.address);
    log.warn('stream.refused', { code: opened.code, hint: opened.hint, attempt: this.#attempt });
    this.#attempting = false;
    this.#connect();
  }

  #dial(address: string): void {
    const socket = dialStreamSocket({
      address,
      limits: { ...defaultLimits, ...this.#options.limits },
      timers: this.#timers,
      story: {
        opened: (opened) => this.#adopt(opened),
        alive: (atMs) => (this.#lastFrameAtMs = atMs),
        pushed: (from, frame) => {
          this.#attempt = 0;
          this.#desk.take(frame, (ack) => from.send(ack));
        },
        goingAway: (leaving, reason) => {
          this.#options.log.info('stream.replacing', { reason, connectionId: leaving.connectionId });
          if (leaving !== this.#current) return;
          this.#deafSinceMs = this.#timers.now();
          this.#connect();
        },
        closed: (gone, code) => this.#bury(gone, code),
      },
    });
    this.#sockets.add(socket);
  }

  #adopt(socket: StreamSocket): void {
    this.#attempting = false;
    this.#opened += 1;
    const older = [...this.#sockets].filter((other) => other !== socket);
    this.#current = socket;
    this.#options.log.info('stream.connected', { reconnects: this.status().reconnects });
    // Acks of pushes in hand still leave by the socket they came on.
    if (older.length > 0) this.#after(retireMs, () => older.forEach((other) => other.close()));
  }

  #bury(socket: StreamSocket, code: string): void {
    this.#sockets.delete(socket);
    if (socket === this.#current) {
      // A socket that fell silent was deaf long before we gave it up; one that was going away is accounted for.
      if (!socket.goneAway) this.#deafSinceMs = code === 'SILENT' ? this.#lastFrameAtMs : this.#timers.now();
      this.#current = null;
    }
    if (this.#sockets.size === 0) this.#onEmpty();
    if (socket.openedAtMs === null) this.#attempting = false;
    else if (this.#timers.now() - socket.openedAtMs > goodLifeMs) this.#attempt = 0;
    if (this.#closed) return;
    this.#options.log.info('stream.closed', { code, connectionId: socket.connectionId, planned: socket.goneAway });
    if (this.#current === null || this.#current.goneAway) this.#connect();
  }

  /** A laptop that slept, a paused virtual machine: timers stood still, the server gave us up. */
  #watchClock(): void {
    let lastTickMs = this.#timers.now();
    const stop = repeatEvery(this.#timers, tickMs, () => {
      const sleptForMs = this.#timers.now() - lastTickMs - tickMs;
      lastTickMs = this.#timers.now();
      if (sleptForMs < sleptMs) return;
      this.#options.log.warn('stream.slept', { sleptForMs });
      for (const socket of this.#sockets) socket.terminate('SILENT');
    });
    this.#cancels.add(stop);
  }

  #after(delayMs: number, run: () => void): void {
    const cancel = this.#timers.after(delayMs, () => {
      this.#cancels.delete(cancel);
      run();
    });
    this.#cancels.add(cancel);
  }
}
