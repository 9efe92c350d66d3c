import {
  addErrorRoutes,
  createHttpApp,
  createLifecycle,
  createLoopDelayGuard,
  createMetrics,
  listen,
  type Logger,
  type Metrics,
  type SealKeys,
  type ServeFlags,
  type StewardConfig,
} from '@steward/service-kit';
import type { Bus } from '@steward/bus';
import { assertMigrated, auditStart, createRelay, type Database } from '@steward/postgres';
import { createRejectionCounter } from './count-rejections.ts';
import type { AdapterTables } from './database.ts';
import { addHttpDoors } from './http-doors.ts';
import type { ReceiveContext } from './receive-robot-message.ts';
import { createInboundRecorder } from './record-inbound.ts';
import { loadRobots } from './robots.ts';
import { consumeReceipts } from './settle-inbound.ts';
import { openStreamDoors } from './stream-doors.ts';

export type AdapterOptions = {
  config: StewardConfig;
  secretsDir: string;
  version: string;
  replyKeys: SealKeys;
  database: Database<AdapterTables>;
  connectBus: (metrics: Metrics) => Promise<Bus>;
  /** Requests from one address in a minute before it is told to wait. */
  requestsPerMinute: number;
  /** A process that is this late on its own timers takes no more over HTTP until it has caught up. */
  maxLoopDelayMs: number;
  log: Logger;
  flags: ServeFlags;
};

/** Starts the adapter: doors → ledger → outbox → bus. Resolves when it is serving. */
export async function startAdapter(o: AdapterOptions): Promise<{ url: string; stop(): Promise<void> }> {
  const { log, config } = o;
  const { db } = o.database;
  const metrics = createMetrics('adapter');
  const lifecycle = createLifecycle({ log, graceMs: 12_000 });
  lifecycle.add('database', () => o.database.close());
  try {
    await assertMigrated(db);
    await auditStart(db, 'adapter', { version: o.version, config });
    const robots = loadRobots(config, o.secretsDir);
    const bus = await o.connectBus(metrics);
    lifecycle.add('bus', () => bus.close());

    const relay = createRelay({ db, bus, log, metrics });
    relay.start();
    lifecycle.add('relay', () => relay.stop());
    await consumeReceipts({ bus, db, wake: () => relay.wake() });

    const recorder = createInboundRecorder({ db, onCommitted: () => relay.wake() });
    const rejections = createRejectionCounter({ db, log, metrics });
    rejections.loop.start();
    lifecycle.add('rejections', () => rejections.loop.stop());
    const loopDelay = createLoopDelayGuard({ maxDelayMs: o.maxLoopDelayMs });
    lifecycle.add('loop delay guard', () => Promise.resolve(loopDelay.close()));

    const receive: ReceiveContext = { recorder, replyKeys: o.replyKeys, log, now: () => new Date() };
    const streams = openStreamDoors({ ...receive, robots, rejections, apiUrl: config.dingtalk.apiUrl });
    lifecycle.add('stream doors', () => streams.close());

    const readiness = async () => ({
      database: await o.database.check(),
      bus: { ok: bus.isReady() },
      ...streams.checks(),
    });
    const app = createHttpApp({ log, metrics, readiness });
    addHttpDoors(app, {
      ...receive,
      robots,
      rejections,
      requestsPerMinute: o.requestsPerMinute,
      isOverloaded: () => loopDelay.isOverloaded(),
    });
    addErrorRoutes(app, log);
    const server = await listen(app, o.flags);
    lifecycle.add('http', () => server.close());
    return { url: server.url, stop: () => lifecycle.stop() };
  } catch (error) {
    await lifecycle.stop();
    throw error;
  }
}
