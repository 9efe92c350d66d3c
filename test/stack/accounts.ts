import type { ServiceName } from '@steward/contracts';
import type { Stack } from './stack.ts';

export const serviceNames: ServiceName[] = ['adapter', 'agent-core', 'outbound-sender'];
const ownQueue: Record<ServiceName, string> = {
  adapter: 'adapter.receipts.v1',
  'agent-core': 'agent-core.inbound.v1',
  'outbound-sender': 'outbound-sender.requests.v1',
};
const next = (service: ServiceName): ServiceName => serviceNames[(serviceNames.indexOf(service) + 1) % 3] ?? 'adapter';

/** Who and what is on the broker, by its own word. */
export async function readBroker(stack: Stack): Promise<{ users: string[]; vhosts: string[]; queues: string[] }> {
  const list = async (...args: string[]) => {
    const lines = await stack.compose([
      'exec',
      '-T',
      'rabbitmq',
      'rabbitmqctl',
      '--quiet',
      '--no-table-headers',
      ...args,
    ]);
    return lines
      .trim()
      .split('\n')
      .map((line) => line.replace('\t', ' '))
      .sort();
  };
  return {
    users: (await list('list_users')).map((line) => line.split(' ')[0] ?? ''),
    vhosts: await list('list_vhosts', 'name'),
    queues: await list('--vhost', 'steward', 'list_queues', 'name', 'type'),
  };
}

/** Tries things on the bus as the service, inside its container with its own credentials: `allowed`, or AMQP's code. */
export async function tryForeignBusWork(stack: Stack, service: ServiceName): Promise<unknown> {
  const foreign = ownQueue[next(service)];
  const script = `
    import { readFileSync } from 'node:fs';
    import amqp from 'amqplib';
    const connection = await amqp.connect(readFileSync('/run/steward/secrets/amqp-url', 'utf8').trim());
    const attempt = async (work) => {
      const channel = await connection.createChannel();
      const refused = new Promise((resolve) => channel.on('error', (error) => resolve(error.code)));
      try {
        await work(channel);
        await channel.checkExchange('steward.v1');
        await channel.close();
        return 'allowed';
      } catch {
        return refused;
      }
    };
    const quorum = { durable: true, arguments: { 'x-queue-type': 'quorum' } };
    console.log(JSON.stringify({
      'read its own queue': await attempt((channel) => channel.checkQueue('${ownQueue[service]}')),
      "read another's queue": await attempt((channel) => channel.get('${foreign}')),
      "declare another's queue": await attempt((channel) => channel.assertQueue('${foreign}', quorum)),
      'declare a queue of its own liking': await attempt((channel) => channel.assertQueue('${service}.mine', quorum)),
      'publish past the exchanges': await attempt((channel) => { channel.sendToQueue('${foreign}', Buffer.from('{}')); }),
    }));
    await connection.close();`;
  return evaluate(stack, service, '/app/packages/bus', script);
}

/** Tries things in the database as the service: `allowed`, or Postgres' code. */
export async function tryForeignTables(stack: Stack, service: ServiceName): Promise<unknown> {
  const schemaOf = (name: ServiceName) => name.replace('-', '_');
  const script = `
    import { readFileSync } from 'node:fs';
    import pg from 'pg';
    const url = readFileSync('/run/steward/secrets/database-url', 'utf8').trim();
    const attempt = async (query, connectionString = url) => {
      const client = new pg.Client({ connectionString });
      try {
        await client.connect();
        await client.query(query);
        return 'allowed';
      } catch (error) {
        return error.code;
      } finally {
        await client.end();
      }
    };
    console.log(JSON.stringify({
      'its own schema': await attempt('select count(*) from ${schemaOf(service)}.outbox'),
      "another's schema": await attempt('select count(*) from ${schemaOf(next(service))}.outbox'),
      'reading the audit log': await attempt('select count(*) from audit.entry'),
      'making a table': await attempt('create table public.mine (id int)'),
      'another database': await attempt('select 1', url.replace(/\\/steward$/, '/postgres')),
    }));`;
  return evaluate(stack, service, '/app/packages/postgres', script);
}

async function evaluate(stack: Stack, service: ServiceName, folder: string, script: string): Promise<unknown> {
  const output = await stack.compose([
    'exec',
    '-T',
    '--workdir',
    folder,
    service,
    'node',
    '--input-type=module',
    '--eval',
    script,
  ]);
  return JSON.parse(output) as unknown;
}
