import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import path from 'node:path';
import pg from 'pg';
import { busPermissionOf, busServices } from '@steward/contracts';
import { createSimulator, type ChatRecord, type Simulator, type SimulatorControl } from '@steward/dingtalk-simulator';
import {
  countFates,
  createTestDatabase,
  createTestVhost,
  toAsked,
  toHeard,
  waitUntil,
  type DatabaseRole,
  type Fates,
  type TestVhost,
} from '@steward/testkit';
import { createBalancer } from './balancer.ts';
import { checkSecrets } from './check-secrets.ts';

import { createReplica, root, type Replica, type ServiceName } from './service-replicas.ts';
import {
  buildSecrets,
  buildWorld,
  writeConfigFolder,
  type ConfigFolder,
  type Governed,
  type ModelSettings,
  type StackSecrets,
} from './stack-config.ts';

export type StackOptions = {
  /** Replicas of each service, 1 unless told. */
  adapters?: number;
  agentCores?: number;
  outboundSenders?: number;
  language?: 'zh' | 'en';
  /** Configured rooms beside one for each robot. */
  extraRooms?: number;
  model?: ModelSettings;
  /** With tools, approvers and a sealed audit log. */
  governed?: Governed;
  /** The second room is where operators are told. */
  operations?: boolean;
  /** Leads a service's way to a server through a proxy of the test. */
  route?: (service: ServiceName, server: 'postgres' | 'rabbit', url: string) => string;
  /** Where the simulator listens and how services reach it, when something stands in front of it. */
  simulator?: { port: number; publicUrl: string };
  /** Further environment of every service. */
  env?: Record<string, string>;
};

/** What a run did, checked against what people said and heard. */
export type CheckOptions = { silent?: readonly string[]; timeoutMs?: number };

/** All of Steward as it runs in production (one process for each replica), DingTalk simulated in this process. */
export type Stack = {
  simulator: Simulator;
  vhost: TestVhost;
  secrets: StackSecrets;
  config: ConfigFolder;
  /** Where `steward` connects. */
  operatorUrl: string;
  adapters: Replica[];
  agentCores: Replica[];
  outboundSenders: Replica[];
  /** Of a governed stack. */
  sealers: Replica[];
  /** What verifies the audit log of a governed stack, and what sealed it. */
  sealKey: { publicPem: string; privatePem: string };
  /** The servers as a service sees them, with its credentials. */
  urls: readonly string[];
  /** As the superuser: a witness reads what the services may not see. */
  sql: <T = Record<string, unknown>>(text: string, values?: readonly unknown[]) => Promise<T[]>;
  /** Locks a table against everything until the returned function is called. */
  lockTable(table: string): Promise<() => Promise<void>>;
  say: (o: Parameters<SimulatorControl['say']>[0]) => ReturnType<SimulatorControl['say']>;
  /** The lines of robots from `since` on that contain the text; waits for `count` of them and rejects without. */
  waitForAnswers(o: {
    contains?: string;
    since?: number;
    count?: number;
    timeoutMs?: number;
    conversationId?: string;
  }): Promise<ChatRecord[]>;
  /** Number of the newest chat line: where a later `since` starts. */
  lastLine(): Promise<number>;
  /** Waits until no service has anything left to do. */
  waitUntilQuiet(o?: { timeoutMs?: number }): Promise<void>;
  /** Rejects when a secret of this run is in a log or an audit entry. */
  checkSecretsKept(): Promise<void>;
  /** Everything acknowledged was answered, once and in order, and no secret is in a log or an audit entry. Else rejects. */
  checkNothingLost(o?: CheckOptions): Promise<Fates>;
  stop(): Promise<void>;
};

const waitMs = 45_000;

/** A question whose answer repeats its name: see `countFates`. */
export const newQuestion = (): string => `/q-${randomBytes(5).toString('hex')}`;

/** Starts everything on a fresh database and vhost. Resolves when every replica is ready. */
export async function startStack(o: StackOptions = {}): Promise<Stack> {
  const [database, vhost] = await Promise.all([createTestDatabase(), createTestVhost()]);
  // Each service works with the rights of its own account, as in a deployment.
  const accounts = new Map<ServiceName, string>();
  for (const service of busServices) accounts.set(service, await vhost.addUser(service, busPermissionOf(service)));
  const urls = [database.url('steward_owner'), vhost.url, ...accounts.values()];
  const secrets = buildSecrets();
  const { extraRooms = 0, language = 'en' } = o;
  const balancer = await createBalancer();
  const { governed } = o;
  const world = buildWorld({ secrets, adapterUrl: balancer.url, extraRooms, governed });
  const simulator = await createSimulator({ world, ...o.simulator });
  // Limits of the platform are a later test's concern; here they would only slow the run down.
  simulator.control.setFaults({ qpsLimit: null, ipCallLimit: null });
  const config = writeConfigFolder({
    secrets,
    simulatorUrl: o.simulator?.publicUrl ?? simulator.url,
    language,
    extraRooms,
    model: o.model,
    governed,
    operations: o.operations,
  });
  const sealKey = newSealKey();
  const route = o.route ?? ((_service, _server, url) => url);

  const replicate = (service: ServiceName, role: DatabaseRole, count = 1) => {
    const env: Record<string, string> = {
      DATABASE_URL: route(service, 'postgres', database.url(role)),
      AMQP_URL: route(service, 'rabbit', accounts.get(service) ?? vhost.url),
      STEWARD_CONFIG: config.configPath,
      STEWARD_SECRETS_DIR: config.secretsDir,
      STEWARD_PROMPTS_DIR: path.join(root, 'config/prompts'),
      STEWARD_POLICY_DIR: config.policyDir,
      STEWARD_TOOLS_DIR: config.toolsDir,
      LOG_LEVEL: 'debug',
      ...o.env,
      ...(service === 'audit-sealer' && { SEAL_KEY: sealKey.privatePem, SEAL_EVERY_MS: '1000' }),
      ...(service !== 'agent-core' && { REPLY_KEY_FILE: path.join(config.secretsDir, 'reply.key') }),
    };
    return Promise.all(Array.from({ length: count }, (_, index) => createReplica({ service, number: index + 1, env })));
  };
  const [adapters, agentCores, outboundSenders, sealers] = await Promise.all([
    replicate('adapter', 'steward_adapter', o.adapters),
    replicate('agent-core', 'steward_agent_core', o.agentCores),
    replicate('outbound-sender', 'steward_outbound_sender', o.outboundSenders),
    governed === undefined ? [] : replicate('audit-sealer', 'steward_sealer'),
  ]);
  const replicas = [...adapters, ...agentCores, ...outboundSenders, ...sealers];
  balancer.setTargets(adapters.map(({ url }) => url));
  const pool = new pg.Pool({ connectionString: database.adminUrl, max: 6, idleTimeoutMillis: 1_000 });
  pool.on('error', () => undefined);
  const sql: Stack['sql'] = async <T>(text: string, values: readonly unknown[] = []) =>
    (await pool.query(text, [...values])).rows as T[];
  await Promise.all(replicas.map((replica) => replica.start()));

  const talk = createTalk(simulator);
  const waitUntilQuiet = createQuietWait(sql);
  const checkSecretsKept = () =>
    checkSecrets({
      ...{ simulator, secrets, sql, urls },
      logs: replicas.map((replica) => replica.output()),
    });
  return {
    ...{
      simulator,
      vhost,
      secrets,
      config,
      operatorUrl: database.url('steward_operator'),
      checkSecretsKept,
      adapters,
      agentCores,
      outboundSenders,
      sealers,
      sealKey,
      urls,
      sql,
      ...talk,
      waitUntilQuiet,
    },
    lockTable: createTableLock(pool),
    checkNothingLost: async ({ silent = [], timeoutMs = waitMs } = {}) => {
      await waitForEveryAnswer(simulator, new Set(silent), timeoutMs);
      const left = await waitUntilQuiet({ timeoutMs }).then(
        () => '',
        (error: unknown) => String(error),
      );
      const fates = await readFates(simulator, new Set(silent));
      process.stdout.write(
        `${Object.entries(fates)
          .map(([name, count]) => `${name} ${count}`)
          .join('  ')}\n`,
      );
      if (fates.lost + fates.duplicated + fates.reordered > 0 || left !== '')
        throw new Error(`a promise was broken: ${JSON.stringify(fates)} ${left}`);
      await checkSecretsKept();
      return fates;
    },
    stop: async () => {
      await Promise.all(replicas.map((replica) => replica.kill('SIGKILL')));
      await Promise.all([simulator.close(), balancer.close()]);
      // The drop takes every session with it, also one that a failed test left with a lock.
      await Promise.all([database.drop(), vhost.drop()]);
      void pool.end();
      rmSync(config.folder, { recursive: true, force: true });
    },
  };
}

function newSealKey(): Stack['sealKey'] {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  return {
    privatePem: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    publicPem: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
  };
}

function createTalk({ control }: Simulator): Pick<Stack, 'say' | 'waitForAnswers' | 'lastLine'> {
  return {
    say: (o) => control.say(o),
    lastLine: async () => (await control.messages()).at(-1)?.n ?? 0,
    waitForAnswers: async ({ contains = '', since = 0, count = 1, timeoutMs = waitMs, conversationId }) => {
      const read = async () => {
        const lines = await control.messages({ since, from: 'robot', conversationId });
        const found = lines.filter(({ text }) => text.includes(contains));
        return found.length >= count ? found : null;
      };
      return waitUntil(read, { timeoutMs, what: `${count} answers with "${contains}"` });
    },
  };
}

async function readFates({ control }: Simulator, silent: ReadonlySet<string>): Promise<Fates> {
  const [sent, lines] = await Promise.all([control.sent({ kind: 'robot' }), control.messages({ from: 'robot' })]);
  return countFates(sent.map(toAsked), lines.map(toHeard), silent);
}

async function waitForEveryAnswer(simulator: Simulator, silent: ReadonlySet<string>, timeoutMs: number): Promise<void> {
  const isComplete = async () => (await readFates(simulator, silent)).lost === 0;
  // A loss is told by the check that follows, with all its figures.
  await waitUntil(isComplete, { timeoutMs, what: 'every answer' }).catch(() => undefined);
}

function createQuietWait(sql: Stack['sql']): Stack['waitUntilQuiet'] {
  return async ({ timeoutMs = waitMs } = {}) => {
    let left = '';
    const isQuiet = async () => {
      const [row] = await sql(`select
        (select count(*)::int from adapter.outbox) as adapter_outbox,
        (select count(*)::int from adapter.inbound_event where settled_at is null) as unsettled,
        (select count(*)::int from agent_core.outbox) as agent_core_outbox,
        (select count(*)::int from agent_core.turn where status in ('queued', 'running')) as open_turns,
        (select count(*)::int from outbound_sender.outbox) as outbound_sender_outbox,
        (select count(*)::int from outbound_sender.outbound_message where ended_at is null) as open_sends`);
      left = JSON.stringify(row);
      return Object.values(row ?? { none: 1 }).every((count) => count === 0);
    };
    await waitUntil(isQuiet, { timeoutMs, what: 'all work to be done' }).catch((error: unknown) => {
      throw new Error(`work is left: ${left}`, { cause: error });
    });
  };
}

function createTableLock(pool: pg.Pool): Stack['lockTable'] {
  return async (table) => {
    const client = await pool.connect();
    client.on('error', () => undefined);
    await client.query('begin');
    // A test that fails before it unlocks must not hold up those that follow.
    await client.query(`set local idle_in_transaction_session_timeout = '30s'`);
    // Names come from the tests themselves.
    await client.query(`lock table ${table} in access exclusive mode`);
    return () =>
      client.query('rollback').then(
        () => client.release(),
        () => client.release(true),
      );
  };
}

/**
 * Waits until a session waits for a lock on the table with a statement that starts so: the witness that a service stands
 * right before this step. Returns the sessions' pids.
 */
export async function waitForBlocked(
  stack: Pick<Stack, 'sql'>,
  o: { table: string; statement: string },
): Promise<number[]> {
  const read = async () => {
    const rows = await stack.sql<{ pid: number }>(
      `select l.pid from pg_locks l join pg_stat_activity a using (pid)
       where not l.granted and l.relation = $1::regclass and a.datname = current_database() and ltrim(a.query, E' \\n') ilike $2`,
      [o.table, `${o.statement}%`],
    );
    return rows.length > 0 ? rows.map(({ pid }) => pid) : null;
  };
  return waitUntil(read, { timeoutMs: 20_000, what: `a session to wait for ${o.table}` });
}
