import { randomBytes } from 'node:crypto';
import { splitCredentials } from './probe-servers.ts';
import { lastLines, runCommand } from './run-command.ts';
import { requireServerUrl, testRunId } from './test-run.ts';

/** A virtual host of one test file: a broker of its own as far as queues and exchanges go. */
export type TestVhost = {
  name: string;
  url: string;
  /** How many messages lie in a queue; undefined while the queue does not exist. */
  queueLength(queue: string): Promise<number | undefined>;
  /** Deletes the vhost and makes it again, empty: what a wiped broker volume looks like. Connections are closed by the server. */
  wipe(): Promise<void>;
  /** Makes an account with these permissions here and for this vhost alone, which a wipe leaves it; gives its URL. */
  addUser(name: string, permission: Permission): Promise<string>;
  /** Closes every connection to the vhost from the server's side. */
  closeConnections(): Promise<void>;
  drop(): Promise<void>;
};

/** The regular expressions that RabbitMQ matches names with. */
type Permission = { configure: string; write: string; read: string };

/**
 * A fresh vhost on the server of AMQP_URL, with full rights for its user. It is made over the management API
 * (RABBITMQ_MANAGEMENT_URL, by default port 15672 of the same host with the same credentials), or, when that does not
 * answer, by `rabbitmqctl`. Default queue type is classic, as on a fresh server; tests declare what they need.
 */
export async function createTestVhost(): Promise<TestVhost> {
  const amqpUrl = requireServerUrl('AMQP_URL');
  const admin = await findBrokerAdmin(amqpUrl);
  const name = `${vhostPrefix()}${randomBytes(6).toString('hex')}`;
  const user = decodeURIComponent(new URL(amqpUrl).username) || 'guest';
  const everything: Permission = { configure: '.*', write: '.*', read: '.*' };
  const users = new Map([[user, everything]]);
  const create = async () => {
    await admin.createVhost(name);
    for (const [account, permission] of users) await admin.permit(name, account, permission);
  };
  await create();
  const url = new URL(amqpUrl);
  url.pathname = `/${encodeURIComponent(name)}`;
  return {
    name,
    url: url.href,
    queueLength: (queue) => admin.queueLength(name, queue),
    wipe: async () => {
      await admin.deleteVhost(name);
      await create();
    },
    addUser: async (service, permission) => {
      const account = `${name}-${service}`;
      const password = randomBytes(12).toString('hex');
      users.set(account, permission);
      await admin.putUser(account, password);
      await admin.permit(name, account, permission);
      const theirs = new URL(url);
      theirs.username = account;
      theirs.password = password;
      return theirs.href;
    },
    closeConnections: () => admin.closeConnections(name),
    drop: async () => {
      await admin.deleteVhost(name);
      for (const account of users.keys()) if (account !== user) await admin.deleteUser(account);
    },
  };
}

/** Deletes every vhost of this run and its accounts: the runner's last act on a server that it did not start itself. */
export async function dropVhostsOfRun(): Promise<void> {
  const admin = await findBrokerAdmin(requireServerUrl('AMQP_URL'));
  for (const name of await admin.listVhosts()) if (name.startsWith(vhostPrefix())) await admin.deleteVhost(name);
  for (const name of await admin.listUsers()) if (name.startsWith(vhostPrefix())) await admin.deleteUser(name);
}

const vhostPrefix = () => `steward-test-${testRunId()}-`;

type BrokerAdmin = {
  createVhost(name: string): Promise<void>;
  putUser(name: string, password: string): Promise<void>;
  deleteUser(name: string): Promise<void>;
  listUsers(): Promise<string[]>;
  permit(vhost: string, user: string, permission: Permission): Promise<void>;
  deleteVhost(name: string): Promise<void>;
  listVhosts(): Promise<string[]>;
  queueLength(vhost: string, queue: string): Promise<number | undefined>;
  closeConnections(vhost: string): Promise<void>;
};

async function findBrokerAdmin(amqpUrl: string): Promise<BrokerAdmin> {
  // AMQP's own defaults: without credentials a client is guest.
  const { username, password, hostname } = new URL(amqpUrl);
  const credentials = username === '' ? 'guest:guest' : `${username}:${password}`;
  const managementUrl = process.env.RABBITMQ_MANAGEMENT_URL ?? `http://${credentials}@${hostname}:15672`;
  const overHttp = createHttpAdmin(managementUrl);
  const refusal = await overHttp.listVhosts().then(
    () => undefined,
    (error: unknown) => String(error),
  );
  if (refusal === undefined) return overHttp;
  const byCommand = createCommandAdmin();
  const commandRefusal = await byCommand.listVhosts().then(
    () => undefined,
    (error: unknown) => String(error),
  );
  if (commandRefusal === undefined) return byCommand;
  throw new Error(
    'No way to make a vhost: set RABBITMQ_MANAGEMENT_URL (http://user:password@host:15672) of the server in AMQP_URL, ' +
      `or let rabbitmqctl reach it. HTTP: ${refusal}. rabbitmqctl: ${commandRefusal}`,
  );
}

function createHttpAdmin(managementUrl: string): BrokerAdmin {
  const { url, headers } = splitCredentials(managementUrl);
  const call = async (method: string, path: string, body?: unknown): Promise<unknown> => {
    const response = await fetch(`${url}/api/${path}`, {
      method,
      headers: { ...headers, 'content-type': 'application/json' },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.timeout(20_000),
    });
    const text = await response.text();
    if (response.status === 404) return undefined;
    if (!response.ok) throw new Error(`${method} /api/${path} answered ${response.status}`);
    return text === '' ? undefined : JSON.parse(text);
  };
  const at = encodeURIComponent;
  return {
    createVhost: async (name) => {
      await call('PUT', `vhosts/${at(name)}`, {});
    },
    putUser: async (name, password) => {
      await call('PUT', `users/${at(name)}`, { password, tags: '' });
    },
    deleteUser: async (name) => {
      await call('DELETE', `users/${at(name)}`);
    },
    listUsers: async () => ((await call('GET', 'users?columns=name')) as { name: string }[]).map((row) => row.name),
    permit: async (vhost, user, permission) => {
      await call('PUT', `permissions/${at(vhost)}/${at(user)}`, permission);
    },
    deleteVhost: async (name) => {
      await call('DELETE', `vhosts/${at(name)}`);
    },
    listVhosts: async () => ((await call('GET', 'vhosts?columns=name')) as { name: string }[]).map((row) => row.name),
    queueLength: async (vhost, queue) => {
      const answer = (await call('GET', `queues/${at(vhost)}/${at(queue)}`)) as { messages?: number } | undefined;
      return answer === undefined ? undefined : (answer.messages ?? 0);
    },
    closeConnections: async (vhost) => {
      const rows = (await call('GET', `vhosts/${at(vhost)}/connections`)) as { name: string }[] | undefined;
      for (const row of rows ?? []) await call('DELETE', `connections/${at(row.name)}`);
    },
  };
}

function createCommandAdmin(): BrokerAdmin {
  const call = async (...args: string[]): Promise<string[][]> => {
    const result = await runCommand('rabbitmqctl', ['-q', ...args], { timeoutMs: 60_000 });
    if (result.code !== 0) throw new Error(`rabbitmqctl ${args[0]} failed: ${lastLines(result.stderr, 3)}`);
    const lines = result.stdout.split('\n').filter((line) => line !== '');
    return lines.map((line) => line.split('\t'));
  };
  return {
    createVhost: async (name) => {
      await call('add_vhost', name);
    },
    putUser: async (name, password) => {
      await call('delete_user', name).catch(() => undefined);
      await call('add_user', name, password);
    },
    deleteUser: async (name) => {
      await call('delete_user', name);
    },
    listUsers: async () => (await call('list_users', '--no-table-headers')).map((row) => row[0] ?? ''),
    permit: async (vhost, user, { configure, write, read }) => {
      await call('set_permissions', '-p', vhost, user, configure, write, read);
    },
    deleteVhost: async (name) => {
      await call('delete_vhost', name);
    },
    listVhosts: async () => (await call('list_vhosts', '--no-table-headers')).map((row) => row[0] ?? ''),
    queueLength: async (vhost, queue) => {
      const rows = await call('list_queues', '--no-table-headers', '-p', vhost, 'name', 'messages');
      const row = rows.find((entry) => entry[0] === queue);
      return row === undefined ? undefined : Number(row[1]);
    },
    closeConnections: async (vhost) => {
      await call('close_all_connections', '-p', vhost, 'closed by a test');
    },
  };
}
