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
import {
  assertMigrated,
  auditStart,
  createDeadLetterGauge,
  createOperatorDesk,
  createRelay,
  createRetention,
  type Database,
} from '@steward/postgres';
import { answerOperator } from './answer-operator.ts';
import { createClickNote } from './click-note.ts';
import { createRejectionCounter } from './count-rejections.ts';
import type { AdapterTables } from './database.ts';
import { addHttpDoors } from './http-doors.ts';
import type { ReceiveContext } from './receive-robot-message.ts';
import { noteReuse } from './note-reuse.ts';
import { createInboundRecorder, maxPending } from './record-inbound.ts';
import { retireEvents, retireFindings } from './retire-events.ts';
import { loadRobots } from './robots.ts';
import { consumeReceipts } from './settle-inbound.ts';
import { openStreamDoors } from './stream-doors.ts';
import { createLinkWatch } from './watch-links.ts';
import { createSignatureWatch } from './watch-signatures.ts';

export type AdapterOptions = {
  config: StewardConfig;
  secretsDir: string;
  version: string;
  replyKeys: SealKeys;
  database: Database<AdapterTables>;
  connectBus: (metrics: Metrics) => Promise<Bus>;
  /** Proved requests for one robot in a minute before the caller is told to wait. */
  requestsPerMinute: number;
  /** A process that is this late on its own timers takes no more over HTTP until it has caught up. */
  maxLoopDelayMs: number;
  log: Logger;
  flags: ServeFlags;
};

/** The platform sends a message in milliseconds and gives up after some seconds; a body that takes longer is not its own. */
const bodyWithinMs = 5_000;

/** Starts the adapter: doors → ledger → outbox → bus. Resolves when it is serving. */
export async function startAdapter(o: AdapterOptions): Promise<{ url: string; stop(): Promise<void> }> {
  const { log, config } = o;
  const { db } = o.database;
  const metrics = createMetrics('adapter');
  o.database.countInto(metrics);
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
    const loops = {
      'operator requests': createOperatorDesk({
        db,
        desk: 'adapter',
        log,
        decide: (request) => answerOperator(db, request),
        onAnswered: () => relay.wake(),
      }),
      'dead letters': createDeadLetterGauge({ db, metrics, log, queues: ['adapter.receipts.v1'] }),
    };
    for (const [name, loop] of Object.entries(loops)) {
      loop.start();
      lifecycle.add(name, () => loop.stop());
    }

    const altered = metrics.counter('steward_inbound_altered_total', 'Known ids that came again with another body', [
      'kind',
    ]);
    const recorder = createInboundRecorder({
      db,
      onCommitted: () => relay.wake(),
      onAltered: ({ kind, source, sourceId, door, correlationId }, count) => {
        altered.inc({ kind }, count);
        log.warn('security.body.altered', { kind, source, sourceId, door, correlationId, count });
      },
    });
    const rejections = createRejectionCounter({ db, log, metrics });
    rejections.loop.start();
    lifecycle.add('rejections', () => rejections.loop.stop());
    const loopDelay = createLoopDelayGuard({ maxDelayMs: o.maxLoopDelayMs });
    lifecycle.add('loop delay guard', () => Promise.resolve(loopDelay.close()));

    const receive: ReceiveContext = {
      recorder,
      replyKeys: o.replyKeys,
      log,
      now: () => new Date(),
      clickNote: createClickNote(config),
    };
    const streams = openStreamDoors({ ...receive, robots, rejections, apiUrl: config.dingtalk.apiUrl });
    lifecycle.add('stream doors', () => streams.close());
    const linkWatch = createLinkWatch({
      ...{ db, log, metrics, now: receive.now, links: streams.links },
      noticeAfterSeconds: config.dingtalk.linkNoticeAfterSeconds,
      onTold: () => relay.wake(),
    });
    linkWatch.start();
    lifecycle.add('stream links', () => linkWatch.stop());

    const retentions = [
      createRetention({ table: 'inbound_event', retire: (rows) => retireEvents(db, rows), log, metrics }),
      createRetention({ table: 'security_finding', retire: (rows) => retireFindings(db, rows), log, metrics }),
    ];
    for (const retention of retentions) retention.start();
    lifecycle.add('retention', async () => {
      await Promise.all(retentions.map((retention) => retention.stop()));
    });

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
      signatures: createSignatureWatch({ metrics, log, audit: (use) => noteReuse(db, use), now: receive.now }),
      requestsPerMinute: o.requestsPerMinute,
      // Known before a body is read, the same answer costs nothing.
      isOverloaded: () => loopDelay.isOverloaded() || recorder.pending() >= maxPending,
    });
    addErrorRoutes(app, log);
    const server = await listen(app, o.flags, { requestMs: bodyWithinMs });
    lifecycle.add('http', () => server.close());
    return { url: server.url, stop: () => lifecycle.stop() };
  } catch (error) {
    await lifecycle.stop();
    throw error;
  }
}
