import pg from 'pg';
import { createLogger } from '@steward/service-kit';
import { createRabbitBus } from '@steward/bus';
import { createTestDatabase, createTestVhost, type TestDatabase, type TestVhost } from '@steward/testkit';
import { pause, type ServiceName } from './bench-process.ts';

const roles = {
  adapter: 'steward_adapter',
  'agent-core': 'steward_agent_core',
  'outbound-sender': 'steward_outbound_sender',
} as const;

/** A fresh database and vhost on the provisioned servers. */
export type BenchServers = {
  database: TestDatabase;
  vhost: TestVhost;
  envOf(service: ServiceName): Record<string, string>;
  sql: <T extends pg.QueryResultRow>(text: string) => Promise<T[]>;
  /** Takes whatever lies in the queue of inbound events out of it; resolves when nothing has come for half a second. */
  drainInbound(): Promise<void>;
  drop(): Promise<void>;
};

const quietMs = 500;
const drainLimitMs = 60_000;

export async function createBenchServers(): Promise<BenchServers> {
  const [database, vhost] = await Promise.all([createTestDatabase(), createTestVhost()]);
  const pool = new pg.Pool({ connectionString: database.adminUrl, max: 2, idleTimeoutMillis: 1_000 });
  pool.on('error', () => undefined);
  return {
    database,
    vhost,
    envOf: (service) => ({ DATABASE_URL: database.url(roles[service]), AMQP_URL: vhost.url }),
    sql: async <T extends pg.QueryResultRow>(text: string) => (await pool.query<T>(text)).rows,
    drainInbound: () => drainInbound(vhost.url),
    drop: async () => {
      await pool.end();
      await Promise.all([database.drop(), vhost.drop()]);
    },
  };
}

async function drainInbound(url: string): Promise<void> {
  const log = createLogger({ service: 'bench', level: 'error' });
  const bus = await createRabbitBus({ url, service: 'agent-core', log });
  let lastAt = performance.now();
  const seen = () => {
    lastAt = performance.now();
    return Promise.resolve();
  };
  const limit = performance.now() + drainLimitMs;
  await bus.consume('agent-core.inbound.v1', seen, { prefetch: 1_000 });
  while (performance.now() - lastAt < quietMs) {
    if (performance.now() > limit) throw new Error('the queue of inbound events does not become empty');
    await pause(50);
  }
  await bus.close();
}
