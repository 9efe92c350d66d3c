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
import {
  assertMigrated,
  auditStart,
  createDeadLetterGauge,
  createRelay,
  createRetention,
  keepDeadLetter,
  retireInbox,
  type Database,
  type DeadDelivery,
} from '@steward/postgres';
import type { Admission } from './admit-turn.ts';
import { createClickWorker } from './approvals/work-clicks.ts';
import { createApprovalWatch } from './approvals/watch-approvals.ts';
import { createOperatorWorker } from './approvals/work-operator-requests.ts';
import { createAskModel, type AskModel } from './ask-model.ts';
import type { AgentTables } from './database.ts';
import { createDirectoryRefresh, recordPersonChanged, recordPersonFound } from './directory-roles.ts';
import { createSurroundings } from './find-missing.ts';
import type { GateContext } from './gate/gate-context.ts';
import { loadPrompts } from './load-prompts.ts';
import { loadSkills } from './load-skills.ts';
import { openGate } from './open-gate.ts';
import { recordCardClick } from './record-card-click.ts';
import { recordInbound } from './record-inbound.ts';
import { createOutboundReceipts } from './settle-outbound.ts';
import { createCheckpointWatch } from './watch-checkpoint.ts';
import { createGapWatch } from './watch-gaps.ts';
import { tellInterruption } from './tell-interruption.ts';
import { createMessageWatch } from './watch-messages.ts';
import { createUnknownWatch } from './watch-unknown.ts';
import { createTurnWorker } from './work-turns.ts';

export type AgentCoreOptions = {
  config: StewardConfig;
  secretsDir: string;
  /** What an operator edits: prompts, policies, HTTP tools, skills. */
  promptsDir: string;
  policyDir: string;
  toolsDir: string;
  skillsDir: string;
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
  o.database.countInto(metrics);
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
    const retention = createRetention({
      table: 'inbox',
      retire: (rows) => retireInbox(db, 'agent_core', rows),
      log,
      metrics,
    });
    retention.start();
    lifecycle.add('retention', () => retention.stop());

    const gate = await openGate({ ...o, db, metrics, now, onTold: () => relay.wake() });
    const { skills, problems } = loadUsableSkills(o, gate);
    const messagesPerMonth = config.dingtalk.messagesPerMonth ?? null;
    const worker = createTurnWorker({
      ...gate,
      askModel: createModel(o, now),
      facts: {
        version: o.version,
        timeZone: config.timeZone,
        modelName: config.model?.name ?? null,
        apiCallsPerMonth: config.dingtalk.apiCallsPerMonth ?? null,
        messagesPerMonth,
        now,
      },
      skills,
      skillProblems: problems,
      onEnded: () => relay.wake(),
    });
    const clicks = createClickWorker(gate);
    const loops = {
      'turn worker': worker,
      'card clicks': clicks,
      approvals: createApprovalWatch(gate, () => worker.wake()),
      'operator requests': createOperatorWorker(gate),
      directory: createDirectoryRefresh({ db, log, config, onTold: gate.onTold }),
      checkpoint: createCheckpointWatch(gate),
      'unknown outcomes': createUnknownWatch(gate),
      'messages of the month': createMessageWatch({ ...gate, robots: config.robots, messagesPerMonth }),
      'dead letters': createDeadLetterGauge({
        db,
        metrics,
        log,
        queues: ['agent-core.inbound.v1', 'agent-core.outbound.v1'],
      }),
    };
    for (const [name, loop] of Object.entries(loops)) {
      loop.start();
      lifecycle.add(name, () => loop.stop());
    }
    lifecycle.add(
      'policy reload',
      reloadOnHangup(() => gate.policy.reload()),
    );

    const gapWatch = createGapWatch({ db, log, metrics, wake: () => relay.wake() });
    gapWatch.start();
    lifecycle.add('gap watch', () => gapWatch.stop());

    const notRun = metrics.counter('steward_turn_not_run_total', 'Turns that were recorded and not run', ['outcome']);
    const admission: Admission = {
      fairness: config.fairness,
      directory: gate.directory,
      language: config.language,
      onNotRun: (outcome) => notRun.inc({ outcome }),
    };
    const onDead = (letter: DeadDelivery) => keepDeadLetter(db, letter);
    await bus.consume(
      'agent-core.inbound.v1',
      async (message) => {
        if (message.type === 'inbound.received.v1') {
          const lane = await recordInbound({ db, now, admission }, message);
          worker.wake(lane);
          // The receipt of a turn that will be worked on leaves with its answer, or with the relay's next look.
          if (lane !== undefined) return;
        }
        if (message.type === 'card.clicked.v1' && (await recordCardClick({ db, now }, message))) clicks.wake();
        if (message.type === 'link.interrupted.v1') await tellInterruption({ ...gate, now }, message);
        if (message.type === 'person.changed.v1') {
          await recordPersonChanged({ db, now, config }, message);
          worker.wake();
        }
        relay.wake();
      },
      { onDead },
    );
    const receipts = createOutboundReceipts(gate);
    await bus.consume(
      'agent-core.outbound.v1',
      async (message) => {
        if (message.type === 'outbound.recorded.v1') await receipts.postpone(message);
        if (message.type === 'outbound.settled.v1' && (await receipts.settle(message))) worker.wake();
        if (message.type === 'person.found.v1') {
          await recordPersonFound(db, config, message);
          worker.wake();
        }
      },
      { onDead },
    );

    const readiness = async () => ({
      database: await o.database.check(),
      bus: { ok: bus.isReady() },
      policy: gate.policy.check(),
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
    prompts: loadPrompts({ folder: o.promptsDir }),
    timeZone: o.config.timeZone,
    now,
  });
}

/** The skills that can be used here: what they need is there, the tools that they name among it. */
function loadUsableSkills(o: AgentCoreOptions, gate: GateContext): ReturnType<typeof loadSkills> {
  const surroundings = createSurroundings({ config: o.config, env: process.env, platform: process.platform });
  const loaded = loadSkills({ folder: o.skillsDir, surroundings });
  const lacking = (tools: readonly string[]) => tools.filter((name) => !gate.tools.has(name));
  const problems = [
    ...loaded.problems,
    ...loaded.skills
      .filter(({ tools }) => lacking(tools).length > 0)
      .map(({ name, tools }) => ({ where: name, text: `needs tools that are not here: ${lacking(tools).join(', ')}` })),
  ];
  for (const problem of problems) o.log.warn('skill.skipped', problem);
  return { skills: loaded.skills.filter(({ tools }) => lacking(tools).length === 0), problems };
}

/** SIGHUP means "read your policies again", as it does for daemons everywhere. Returns what stops listening. */
function reloadOnHangup(reload: () => Promise<void>): () => Promise<void> {
  const listen = () => void reload();
  process.on('SIGHUP', listen);
  return () => Promise.resolve(void process.off('SIGHUP', listen));
}
