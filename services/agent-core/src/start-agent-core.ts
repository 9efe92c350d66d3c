import path from 'node:path';
import {
  createHttpApp,
  createLifecycle,
  createMetrics,
  listen,
  readSecretFile,
  addErrorRoutes,
  type Logger,
  type ServeFlags,
  type StewardConfig,
} from '@steward/service-kit';
import type { Bus } from '@steward/bus';
import { assertMigrated, auditStart, createRelay, type Database } from '@steward/postgres';
import { createAskModel, type AskModel } from './ask-model.ts';
import type { AgentTables } from './database.ts';
import { buildDirectory } from './judge-access.ts';
import { recordCardClick } from './record-card-click.ts';
import { recordInbound } from './record-inbound.ts';
import { postponeOutbound, settleOutbound } from './settle-outbound.ts';
import { createGapWatch } from './watch-gaps.ts';
import { createTurnWorker } from './work-turns.ts';

export type AgentCoreOptions = {
  config: StewardConfig;
  secretsDir: string;
  promptsDir: string;
  version: string;
  database: Database<AgentTables>;
  connectBus: (metrics: ReturnType<typeof createMetrics>) => Promise<Bus>;
  log: Logger;
  flags: ServeFlags;
};

/** Starts agent-core: record what arrives, work on turns, tell what came of them. Resolves when it is serving. */
export async function startAgentCore(o: AgentCoreOptions): Promise<{ url: string; stop(): Promise<void> }> {
  const { log, config } = o;
  const { db } = o.database;
  const now = () => new Date();
  const metrics = createMetrics('agent-core');
  const lifecycle = createLifecycle({ log, graceMs: 10_000 });
  lifecycle.add('database', () => o.database.close());
  try {
    await assertMigrated(db);
    await auditStart(db, 'agent-core', { version: o.version, config });
    const bus = await o.connectBus(metrics);
    lifecycle.add('bus', () => bus.close());

    const relay = createRelay({ db, bus, log, metrics });
    relay.start();
    lifecycle.add('relay', () => relay.stop());

    const worker = createTurnWorker({
      db,
      log,
      metrics,
      now,
      directory: buildDirectory(config),
      language: config.language,
      askModel: createModel(o, now),
      facts: { version: o.version, timeZone: config.timeZone, modelName: config.model?.name ?? null, now },
      onEnded: () => relay.wake(),
    });
    worker.start();
    lifecycle.add('turn worker', () => worker.stop());

    const gapWatch = createGapWatch({ db, log, metrics, wake: () => relay.wake() });
    gapWatch.start();
    lifecycle.add('gap watch', () => gapWatch.stop());

    await bus.consume('agent-core.inbound.v1', async (message) => {
      if (message.type === 'inbound.received.v1') await recordInbound({ db, now }, message);
      if (message.type === 'card.clicked.v1') await recordCardClick({ db, now }, message);
      worker.wake();
      relay.wake();
    });
    await bus.consume('agent-core.outbound.v1', async (message) => {
      if (message.type === 'outbound.recorded.v1') await postponeOutbound(db, message);
      if (message.type === 'outbound.settled.v1') await settleOutbound({ db, log, metrics }, message);
    });

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

function createModel(o: AgentCoreOptions, now: () => Date): AskModel | null {
  const { model } = o.config;
  if (model === undefined) return null;
  return createAskModel({
    db: o.database.db,
    config: model,
    // Local endpoints often want no key, but the client insists on one.
    apiKey: model.apiKeyFile === undefined ? 'none' : readSecretFile(o.secretsDir, model.apiKeyFile),
    systemPromptPath: path.join(o.promptsDir, 'system.md'),
    timeZone: o.config.timeZone,
    now,
  });
}
