import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { startAdapter, type AdapterTables } from '@steward/adapter';
import { startAgentCore, type AgentTables } from '@steward/agent-core';
import { generateSealKey, publicKeyPemOf } from '@steward/audit';
import { startAuditSealer, type SealerTables } from '@steward/audit-sealer';
import { createInProcessBus } from '@steward/bus';
import { createSimulator, type Simulator } from '@steward/dingtalk-simulator';
import { startOutboundSender, type SenderTables } from '@steward/outbound-sender';
import { createEmbedded, migrate, serveOperatorSocket } from '@steward/postgres';
import { AppError, createLogger, loadStewardConfig, parseSealKeys, type StewardConfig } from '@steward/service-kit';
import { buildDemoCard, buildDemoWorld } from '@steward/stack-setup';
import { lockFolder } from './lock-folder.ts';

export type Demo = {
  card: ReturnType<typeof buildDemoCard>;
  simulator: Simulator;
  folder: string;
  timeZone: string;
  stop(): Promise<void>;
};

export type DemoOptions = {
  /** Where the database, the secrets and demo.json live. */
  folder: string;
  configPath: string;
  /** Prompts, policies and skills as they are shipped. */
  settingsDir: string;
  toolsDir: string;
  /** 0 takes any free port. */
  ports: { adapter: number; agentCore: number; outboundSender: number; auditSealer: number; simulator: number };
  writeLog: (line: string) => void;
};

/**
 * All of Steward in this process: the three services on PGlite and the in-process bus, and a simulator in DingTalk's
 * place. The services are the ones that production runs; only their database and bus are other ones.
 * Rejects with DEMO_RUNNING when another process has the folder: two would corrupt it.
 */
export async function startDemo(o: DemoOptions): Promise<Demo> {
  for (const name of ['secrets', 'checkpoints']) mkdirSync(path.join(o.folder, name), { recursive: true, mode: 0o700 });
  const unlock = lockFolder(o.folder);
  const closers: (() => Promise<unknown>)[] = [() => Promise.resolve(unlock())];
  const stop = async () => {
    for (const close of closers.reverse()) await close();
  };
  try {
    return await startParts(o, closers, stop);
  } catch (error) {
    await stop();
    throw error;
  }
}

async function startParts(
  o: DemoOptions,
  closers: (() => Promise<unknown>)[],
  stop: () => Promise<void>,
): Promise<Demo> {
  const logOf = (service: string) => createLogger({ service, write: o.writeLog });
  const secretsDir = path.join(o.folder, 'secrets');
  const settings = loadStewardConfig({ path: o.configPath });
  const find = (name: string) => readOrMakeSecret(secretsDir, name);
  for (const robot of settings.robots) find(robot.appSecretFile);

  const simulator = await createSimulator({
    port: o.ports.simulator,
    world: buildDemoWorld({ config: settings, find, callbackUrl: 'http://127.0.0.1:1' }),
  });
  closers.push(() => simulator.close());
  const config = pointAtSimulator(settings, simulator.url);

  const embedded = await createEmbedded({ folder: path.join(o.folder, 'postgres') });
  closers.push(() => embedded.close());
  await migrate({ db: embedded.database<unknown>({ role: null }).db, log: logOf('migrate') });
  const bus = createInProcessBus({ log: logOf('bus') });
  closers.push(() => bus.close());
  // Each service closes what it was given; the bus is everybody's, so it stays open until all have stopped.
  const connectBus = () => Promise.resolve({ ...bus, close: () => Promise.resolve() });
  const replyKeys = parseSealKeys(
    readOrMakeSecret(secretsDir, 'reply.key', () => `demo:${randomBytes(32).toString('base64')}`),
  );
  const version = 'demo';
  const flags = (port: number) => ({ host: '127.0.0.1', port, logToolCalls: true });

  const outboundSender = await startOutboundSender({
    config,
    secretsDir,
    version,
    replyKeys,
    connectBus,
    log: logOf('outbound-sender'),
    database: embedded.database<SenderTables>({ schema: 'outbound_sender', role: 'steward_outbound_sender' }),
    flags: flags(o.ports.outboundSender),
  });
  closers.push(() => outboundSender.stop());
  // The log is sealed before anything is judged: a destructive call counts only on a record that stands up.
  const sealKey = readOrMakeSecret(secretsDir, 'audit-seal.key', () => generateSealKey().privateKeyPem.trim());
  writeFileSync(path.join(o.folder, 'audit-seal.pub'), publicKeyPemOf(sealKey));
  const auditSealer = await startAuditSealer({
    sealKey,
    checkpointFolder: path.join(o.folder, 'checkpoints'),
    version,
    log: logOf('audit-sealer'),
    database: embedded.database<SealerTables>({ schema: 'audit', role: 'steward_sealer' }),
    flags: flags(o.ports.auditSealer),
  });
  closers.push(() => auditSealer.stop());
  const agentCore = await startAgentCore({
    config,
    secretsDir,
    promptsDir: path.join(o.settingsDir, 'prompts'),
    policyDir: path.join(o.settingsDir, 'policy'),
    skillsDir: path.join(o.settingsDir, 'skills'),
    toolsDir: o.toolsDir,
    version,
    connectBus,
    log: logOf('agent-core'),
    database: embedded.database<AgentTables>({ schema: 'agent_core', role: 'steward_agent_core' }),
    flags: flags(o.ports.agentCore),
  });
  closers.push(() => agentCore.stop());
  const adapter = await startAdapter({
    config,
    secretsDir,
    replyKeys,
    connectBus,
    version,
    requestsPerMinute: 6_000,
    // The embedded database computes in this very process, so being late is normal here.
    maxLoopDelayMs: 5_000,
    log: logOf('adapter'),
    database: embedded.database<AdapterTables>({ schema: 'adapter', role: 'steward_adapter' }),
    flags: flags(o.ports.adapter),
  });
  closers.push(() => adapter.stop());

  const operatorSocket = await serveOperatorSocket({
    embedded,
    socketPath: path.join(o.folder, 'steward.sock'),
    role: 'steward_operator',
    log: logOf('operator'),
  });
  closers.push(() => operatorSocket.close());

  simulator.control.setWorld({ apps: buildDemoWorld({ config, find, callbackUrl: adapter.url }).apps });
  await untilReady(adapter.url);
  const services = {
    adapter: adapter.url,
    agentCore: agentCore.url,
    outboundSender: outboundSender.url,
    auditSealer: auditSealer.url,
  };
  const urls = { adapterUrl: adapter.url, simulatorUrl: simulator.url, services };
  const card = buildDemoCard({ config, find, mode: 'embedded', urls });
  writeFileSync(path.join(o.folder, 'demo.json'), `${JSON.stringify(card, null, 2)}\n`, { mode: 0o600 });
  return { card, simulator, folder: o.folder, timeZone: config.timeZone, stop };
}

/** Waits until the Stream socket is open too: what is said before would find no door. */
async function untilReady(url: string): Promise<void> {
  const giveUpAt = performance.now() + 30_000;
  for (;;) {
    const { ok } = await fetch(`${url}/readyz`);
    if (ok) return;
    if (performance.now() > giveUpAt) {
      throw new AppError('DEMO_NOT_READY', `${url}/readyz did not become ready in 30 s`, { retryable: true });
    }
    await setTimeout(100);
  }
}

function pointAtSimulator(config: StewardConfig, url: string): StewardConfig {
  const { host } = new URL(url);
  return {
    ...config,
    dingtalk: { ...config.dingtalk, apiUrl: url, oapiUrl: url, sessionWebhookHosts: [host] },
    tools: {
      ...config.tools,
      hosts: config.tools.hosts.map((tool) => (tool.name === 'systems' ? { ...tool, host } : tool)),
    },
  };
}

function readOrMakeSecret(folder: string, name: string, make = () => randomBytes(24).toString('hex')): string {
  const file = path.join(folder, path.basename(name));
  if (!existsSync(file)) writeFileSync(file, `${make()}\n`, { mode: 0o600 });
  return readFileSync(file, 'utf8').trim();
}
