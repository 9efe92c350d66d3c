import { randomBytes } from 'node:crypto';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { inspectContainers, root, run, serviceOf, type Container } from './docker.ts';

/** data/demo.json, as far as the tests read it. */
export type DemoCard = {
  adapterUrl: string;
  simulatorUrl: string;
  services: Record<'adapter' | 'agentCore' | 'outboundSender' | 'auditSealer', string>;
  robots: { name: string; callbackPath: string }[];
  rooms: { id: string; robot: string }[];
  people: { staffId: string }[];
};

export type Stack = Awaited<ReturnType<typeof createStack>>;

const upLimitMs = 10 * 60_000;

/** Containers that do their work once and end. */
export const oneShots = ['secrets', 'roles', 'migrate', 'demo-world'];
/** Containers that a person starts for one command; `up` starts none of them. */
export const onDemand = ['cli', 'ops'];

/**
 * The real compose stack with the demo profile (and others that are named), under a project name, ports, secrets and data of its own, so that it
 * disturbs no other stack of this machine. Nothing runs yet; `remove` leaves nothing behind but the built images.
 */
export async function createStack(o: { profiles?: readonly string[] } = {}) {
  const folder = mkdtempSync(path.join(tmpdir(), 'steward-stack-'));
  const project = `steward-test-${randomBytes(3).toString('hex')}`;
  const [http, simulator, status, prometheus, alertmanager] = await findFreePorts(5);
  const env = {
    COMPOSE_PROJECT_NAME: project,
    COMPOSE_PROFILES: ['demo', ...(o.profiles ?? [])].join(','),
    STEWARD_VERSION: 'stack-test',
    STEWARD_REGISTRY: '',
    STEWARD_DOMAIN: '',
    STEWARD_CONFIG_DIR: './deploy/demo-stack',
    STEWARD_SECRETS_DIR: path.join(folder, 'secrets'),
    STEWARD_DATA_DIR: path.join(folder, 'data'),
    STEWARD_HTTP_BIND: `127.0.0.1:${http}`,
    STEWARD_SIMULATOR_BIND: `127.0.0.1:${simulator}`,
    STEWARD_DEMO_STATUS_BIND: `127.0.0.1:${status}`,
    STEWARD_PROMETHEUS_BIND: `127.0.0.1:${prometheus}`,
    STEWARD_ALERTMANAGER_BIND: `127.0.0.1:${alertmanager}`,
    STEWARD_MONITORING_DIR: path.join(folder, 'monitoring'),
  };
  mkdirSync(env.STEWARD_DATA_DIR);
  writeHurriedMonitoring(env.STEWARD_MONITORING_DIR);
  const compose = (args: readonly string[], o: { timeoutMs?: number; input?: string } = {}) =>
    run('docker', ['compose', '--env-file', '/dev/null', ...args], { env, timeoutMs: upLimitMs, ...o });
  const containers = async (service?: string): Promise<Container[]> => {
    const ids = (await compose(['ps', '--all', '--quiet', ...(service === undefined ? [] : [service])])).split('\n');
    return inspectContainers(ids.filter((id) => id !== ''));
  };
  return {
    project,
    prometheusUrl: `http://${env.STEWARD_PROMETHEUS_BIND}`,
    alertmanagerUrl: `http://${env.STEWARD_ALERTMANAGER_BIND}`,
    compose,
    containers,
    generateSecrets: () => run('deploy/secrets/generate', [], { env }),
    smoke: () => run('deploy/smoke', [], { env, timeoutMs: 120_000 }),
    health: () => run('deploy/health', [], { env }),
    /** Rejects with the last log lines when something does not become healthy. */
    up: async (...args: string[]) => {
      try {
        await compose(['up', '--detach', '--wait', ...args]);
      } catch (error) {
        const logs = await compose(['logs', '--no-color', '--tail', '8']).catch(String);
        throw new Error(`${(error as Error).message}\n${logs}`, { cause: error });
      }
    },
    loadCard: () => JSON.parse(readFileSync(path.join(env.STEWARD_DATA_DIR, 'demo.json'), 'utf8')) as DemoCard,
    /** The secrets folder: file name to content. */
    readSecrets: () => {
      const names = readdirSync(env.STEWARD_SECRETS_DIR);
      return Object.fromEntries(
        names.map((name) => [name, readFileSync(path.join(env.STEWARD_SECRETS_DIR, name), 'utf8').trim()]),
      );
    },
    writeSecret: (name: string, text: string) =>
      writeFileSync(path.join(env.STEWARD_SECRETS_DIR, name), text, { mode: 0o600 }),
    forgetSecrets: (names: readonly string[]) => {
      for (const name of names) rmSync(path.join(env.STEWARD_SECRETS_DIR, name));
    },
    /** Long-running containers, one-shots left out. */
    services: async () => (await containers()).filter((container) => !oneShots.includes(serviceOf(container))),
    sql: (query: string) =>
      compose(['exec', '-T', 'postgres', 'psql', '-U', 'postgres', '-d', 'steward', '-XqAt', '-v', 'ON_ERROR_STOP=1'], {
        input: query,
      }),
    remove: async () => {
      await compose(['down', '--volumes', '--remove-orphans', '--timeout', '5']);
      rmSync(folder, { recursive: true });
    },
  };
}

/** What ships, but looked at every second and told at once: the same rules, without their patience. */
function writeHurriedMonitoring(folder: string): void {
  cpSync(path.join(root, 'deploy/monitoring'), folder, { recursive: true });
  for (const name of ['prometheus.yml', 'alerts.yml', 'alertmanager.yml']) {
    const file = path.join(folder, name);
    const text = readFileSync(file, 'utf8');
    const hurried = text.replaceAll(
      /\b(for|group_wait|(?:group|scrape|evaluation|refresh)_interval): \d+[sm]/g,
      '$1: 1s',
    );
    writeFileSync(file, hurried);
  }
}

async function findFreePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer();
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      return server;
    }),
  );
  return Promise.all(
    servers.map(async (server) => {
      const address = server.address();
      await new Promise((resolve) => server.close(resolve));
      return typeof address === 'object' && address !== null ? address.port : 0;
    }),
  );
}
