import { type ServiceName, exchangeOf } from '@steward/contracts';
import { onDemand, type Stack } from './stack.ts';

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
        await channel.checkExchange('${exchangeOf(service)}');
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
      'publish what it makes': await attempt((channel) => { channel.publish('${exchangeOf(service)}', 'no.such.type', Buffer.from('{}')); }),
      'publish what another makes': await attempt((channel) => { channel.publish('${exchangeOf(next(service))}', 'no.such.type', Buffer.from('{}')); }),
      'publish past the exchanges': await attempt((channel) => { channel.sendToQueue('${foreign}', Buffer.from('{}')); }),
    }));
    await connection.close();`;
  return evaluate(stack, service, '/app/packages/bus', script);
}

/** Tries statements in the database as a container's own account, each by itself: `allowed`, or Postgres' code. */
export async function trySql(stack: Stack, service: string, statements: Record<string, string>): Promise<unknown> {
  const script = `
    import { readFileSync } from 'node:fs';
    import pg from 'pg';
    const url = readFileSync('/run/steward/secrets/database-url', 'utf8').trim();
    const attempt = async ({ sql, database }) => {
      const client = new pg.Client({ connectionString: url.replace(/steward$/, database) });
      try {
        await client.connect();
        await client.query(sql);
        return 'allowed';
      } catch (error) {
        return error.code;
      } finally {
        await client.end();
      }
    };
    const seen = {};
    for (const [what, sql] of Object.entries(${JSON.stringify(statements)})) seen[what] = await attempt({ sql, database: 'steward' });
    seen['another database'] = await attempt({ sql: 'select 1', database: 'postgres' });
    console.log(JSON.stringify(seen));`;
  return evaluate(stack, service, '/app/packages/postgres', script);
}

/** The same as ops_reader, in the container that people ask as that role. */
export async function trySqlAsOpsReader(stack: Stack, statements: Record<string, string>): Promise<unknown> {
  const lines = Object.entries(statements).map(([what, sql]) => `${sql} \\g /dev/null\n\\echo ${what}: :SQLSTATE`);
  const input = ['set default_transaction_read_only = off;', ...lines].join('\n');
  const output = await stack.compose(['run', '--rm', '-T', 'ops', '--quiet', '--tuples-only'], { input });
  const seen = output.split('\n').flatMap((line) => /^(.+): (\w{5})$/.exec(line)?.slice(1, 3) ?? []);
  return Object.fromEntries(
    seen.flatMap((what, at) => (at % 2 === 0 ? [[what, seen[at + 1] === '00000' ? 'allowed' : seen[at + 1]]] : [])),
  );
}

/** What a service may and may not do in the database, tried as that service. */
export function tryForeignTables(stack: Stack, service: ServiceName): Promise<unknown> {
  const schemaOf = (name: ServiceName) => name.replace('-', '_');
  return trySql(stack, service, {
    'its own schema': `select count(*) from ${schemaOf(service)}.outbox`,
    "another's schema": `select count(*) from ${schemaOf(next(service))}.outbox`,
    'reading the audit log': 'select count(*) from audit.entry',
    'sealing it': 'insert into audit.block (number) values (1)',
    'making a table': 'create table public.mine (id int)',
  });
}

/** Runs a script inside the container of a service, with its mounts and its user; of one for people, in a new one. */
async function evaluate(stack: Stack, service: string, folder: string, script: string): Promise<unknown> {
  const node = ['--input-type=module', '--eval', script];
  const output = await stack.compose(
    onDemand.includes(service)
      ? ['run', '--rm', '-T', '--workdir', folder, '--entrypoint', 'node', service, ...node]
      : ['exec', '-T', '--workdir', folder, service, 'node', ...node],
  );
  return JSON.parse(output) as unknown;
}
