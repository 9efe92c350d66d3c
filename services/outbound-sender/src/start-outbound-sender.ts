import {
  addErrorRoutes,
  coalesce,
  createHttpApp,
  createLifecycle,
  createLoop,
  createMetrics,
  listen,
  type Logger,
  type Metrics,
  type SealKeys,
  type ServeFlags,
  type StewardConfig,
} from '@steward/service-kit';
import type { Bus } from '@steward/bus';
import { createApiClient } from '@steward/dingtalk';
import {
  assertMigrated,
  auditStart,
  createDeadLetterGauge,
  createOperatorDesk,
  createRelay,
  createRetention,
  keepDeadLetter,
  retireInbox,
  type Database,
} from '@steward/postgres';
import { answerOperator } from './answer-operator.ts';
import { answerNextLookup, createLookUp } from './answer-person-lookup.ts';
import { closeAbandoned } from './close-attempt.ts';
import type { SenderTables } from './database.ts';
import { deliverNext, type DeliverContext } from './deliver.ts';
import { measureUnknown } from './measure-unknown.ts';
import { createOutboundRecorder } from './record-outbound.ts';
import { recordPersonLookup } from './record-person-lookup.ts';
import { createCardRegistrar, loadCardRegistrations } from './register-card-callbacks.ts';
import { createOpener, isAnythingDue } from './open-attempt.ts';
import { loadSenderRobots } from './robots.ts';
import { createQuotaWatch, listQuotas } from './quota.ts';
import { createSendLimits } from './send-limits.ts';
import { createSend } from './send-by-path.ts';

export type OutboundSenderOptions = {
  config: StewardConfig;
  secretsDir: string;
  version: string;
  replyKeys: SealKeys;
  database: Database<SenderTables>;
  connectBus: (metrics: Metrics) => Promise<Bus>;
  log: Logger;
  flags: ServeFlags;
};

/** Sends under way at once in this process. */
const concurrency = 4;
/** Endings told together: no person waits for them. */
const endedLingerMs = 50;
/** One lane looks for what a lost wake-up, a spent budget or a retry left for later; the sending ones sleep until woken. */
const tickMs = 100;
const longIdleMs = 30_000;
/** Look-ups under way at once; a look-up of a process that died is found by the tick. */
const lookupConcurrency = 2;
const lookupTickMs = 5_000;
/** Gauges of what waits for people are as old as this at most. */
const measureMs = 10_000;
const repeatMarks = { zh: '（可能重复）', en: '(possibly a repeat)' };

/** Starts outbound-sender: record what is asked for, deliver it, tell how it ended. Resolves when it is serving. */
export async function startOutboundSender(o: OutboundSenderOptions): Promise<{ url: string; stop(): Promise<void> }> {
  const { log, config } = o;
  const { db } = o.database;
  const now = () => new Date();
  const metrics = createMetrics('outbound-sender');
  o.database.countInto(metrics);
  const lifecycle = createLifecycle({ log, graceMs: 12_000 });
  lifecycle.add('database', () => o.database.close());
  try {
    await assertMigrated(db);
    await auditStart(db, 'outbound-sender', { version: o.version, config });
    const bus = await o.connectBus(metrics);
    lifecycle.add('bus', () => bus.close());

    const relay = createRelay({ db, bus, log, metrics });
    relay.start();
    lifecycle.add('relay', () => relay.stop());
    const retention = createRetention({
      table: 'inbox',
      retire: (rows) => retireInbox(db, 'outbound_sender', rows),
      log,
      metrics,
    });
    retention.start();
    lifecycle.add('retention', () => retention.stop());

    const robots = loadSenderRobots(config, o.secretsDir);
    const api = createApiClient(config.dingtalk);
    const breakerOpen = metrics.gauge('steward_breaker_open', '1 while calls are held back', ['name']);
    const onBreakerChange = (name: string, state: string) => {
      breakerOpen.set({ name }, state === 'open' ? 1 : 0);
      log.warn('breaker.changed', { name, state });
    };
    const quotas = listQuotas(config);
    const quotaWatch = createQuotaWatch({ db, quotas, log, metrics });
    quotaWatch.start();
    lifecycle.add('quota', () => quotaWatch.stop());

    const limits = createSendLimits(config);
    const { send, isHeldBack } = createSend({
      api,
      robots,
      replyKeys: o.replyKeys,
      repeatMark: repeatMarks[config.language],
      onBreakerChange,
    });
    const context: DeliverContext = {
      db,
      log,
      metrics,
      now,
      random: Math.random,
      limits,
      open: createOpener({ db, limits, quotas, isHeldBack, now, random: Math.random }),
      send,
      onEnded: coalesce(() => relay.wake(), endedLingerMs),
    };
    const deliveries = createLoop({
      name: 'deliveries',
      idleMs: longIdleMs,
      concurrency,
      log,
      run: () => deliverNext(context),
    });
    deliveries.start();
    lifecycle.add('deliveries', () => deliveries.stop());

    const dueLookout = createLoop({
      name: 'due deliveries',
      idleMs: tickMs,
      log,
      run: async () => {
        if (await isAnythingDue(db)) deliveries.wake();
        return 'idle';
      },
    });
    dueLookout.start();
    lifecycle.add('due lookout', () => dueLookout.stop());

    const takeover = createLoop({
      name: 'abandoned attempts',
      idleMs: 5_000,
      log,
      run: async () => {
        const count = await closeAbandoned(context);
        if (count > 0) {
          log.warn('delivery.abandoned', { count });
          deliveries.wake();
          relay.wake();
        }
        return 'idle';
      },
    });
    takeover.start();
    lifecycle.add('takeover', () => takeover.stop());

    const operators = createOperatorDesk({
      db,
      desk: 'outbound-sender',
      log,
      decide: (request) => answerOperator({ db, now }, request),
      onAnswered: () => {
        relay.wake();
        deliveries.wake();
      },
    });
    const measures = createLoop({
      name: 'measures',
      idleMs: measureMs,
      log,
      run: async () => {
        await measureUnknown({ db, metrics });
        return 'idle';
      },
    });
    measures.start();
    lifecycle.add('measures', () => measures.stop());
    operators.start();
    const deadLetters = createDeadLetterGauge({ db, metrics, log, queues: ['outbound-sender.requests.v1'] });
    deadLetters.start();
    lifecycle.add('dead letters', () => deadLetters.stop());
    lifecycle.add('operator requests', () => operators.stop());

    const lookUp = createLookUp({ api, robots, onBreakerChange });
    const lookups = createLoop({
      name: 'person lookups',
      idleMs: lookupTickMs,
      concurrency: lookupConcurrency,
      log,
      run: () => answerNextLookup({ db, lookUp, log, metrics, onAnswered: () => relay.wake() }),
    });
    lookups.start();
    lifecycle.add('person lookups', () => lookups.stop());

    const registrations = loadCardRegistrations(config, o.secretsDir);
    if (registrations.length > 0) {
      const registrar = createCardRegistrar({ api, robots, registrations, log });
      registrar.start();
      lifecycle.add('card callbacks', () => registrar.stop());
    }

    const recordOutbound = createOutboundRecorder({ db, now });
    await bus.consume(
      'outbound-sender.requests.v1',
      async (message) => {
        if (message.type === 'outbound.requested.v1' || message.type === 'outbound.requested.v2') {
          if (await recordOutbound(message)) deliveries.wake();
          else relay.wake();
        }
        if (message.type === 'person.requested.v1') {
          if ((await recordPersonLookup({ db }, message)) === 'waiting') lookups.wake();
          else relay.wake();
        }
      },
      { onDead: (letter) => keepDeadLetter(db, letter) },
    );

    const readiness = async () => ({
      database: await o.database.check(),
      bus: { ok: bus.isReady() },
    });
    const app = createHttpApp({ log, metrics, readiness });
    addErrorRoutes(app, log);
    const server = await listen(app, o.flags);
    lifecycle.add('http', () => server.close());
    return { url: server.url, stop: () => lifecycle.stop() };
  } catch (error) {
    await lifecycle.stop();
    throw error;
  }
}
