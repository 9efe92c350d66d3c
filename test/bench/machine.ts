import { connect } from 'node:net';
import { cpus, loadavg, totalmem } from 'node:os';
import type { BenchServers } from './bench-servers.ts';
import { readMachineSeconds } from './proc-figures.ts';

export type Machine = {
  date: string;
  cpu: string;
  cores: number;
  memoryGb: number;
  node: string;
  postgres: string;
  /** Whether a commit is on disk when it is answered. */
  durability: string;
  rabbitmq: string;
  loadBefore: number;
  /** Share of all CPU time that the host of this virtual machine took away during the run. */
  stolenShare: number;
};

export type ServerFacts = Pick<Machine, 'postgres' | 'durability' | 'rabbitmq'>;

export function describeMachine(): Pick<Machine, 'date' | 'cpu' | 'cores' | 'memoryGb' | 'node'> {
  const [first] = cpus();
  return {
    date: new Date().toISOString().slice(0, 10),
    cpu: first?.model.trim() ?? 'unknown',
    cores: cpus().length,
    memoryGb: Math.round(totalmem() / 2 ** 30),
    node: process.version,
  };
}

/** Versions and settings, asked of the servers themselves. */
export async function readServerFacts({ sql, vhost }: BenchServers): Promise<ServerFacts> {
  const [row] = await sql<{ version: string; settings: string }>(`select current_setting('server_version') as version,
    (select string_agg(name || ' ' || setting, ', ' order by name) from pg_settings
     where name in ('fsync', 'synchronous_commit', 'full_page_writes')) as settings`);
  return {
    postgres: row?.version.split(' ')[0] ?? 'unknown',
    durability: row?.settings ?? 'unknown',
    rabbitmq: await readRabbitVersion(vhost.url),
  };
}

/** Watches how undisturbed the run was. */
export function watchNoise(): { stop(): Pick<Machine, 'loadBefore' | 'stolenShare'> } {
  const [loadBefore = Number.NaN] = loadavg();
  const before = readMachineSeconds();
  return {
    stop: () => {
      const after = readMachineSeconds();
      return { loadBefore, stolenShare: (after.stolen - before.stolen) / (after.total - before.total) };
    },
  };
}

/** RabbitMQ greets with its version, as a long string (AMQP 0-9-1, connection.start): `version` `S` length text. */
function readRabbitVersion(amqpUrl: string): Promise<string> {
  const { hostname, port } = new URL(amqpUrl);
  const field = Buffer.from('\u0007versionS');
  return new Promise((resolve) => {
    const socket = connect({ host: hostname, port: port === '' ? 5672 : Number(port) });
    const settle = (version: string) => {
      socket.destroy();
      resolve(version);
    };
    socket.setTimeout(3_000, () => settle('unknown'));
    socket.once('error', () => settle('unknown'));
    socket.once('connect', () => socket.write(Buffer.from('AMQP\0\0\u0009\u0001', 'latin1')));
    socket.once('data', (greeting) => {
      const at = greeting.indexOf(field);
      if (at < 0) return settle('unknown');
      const start = at + field.length + 4;
      settle(greeting.toString('latin1', start, start + greeting.readUInt32BE(start - 4)));
    });
  });
}
