import { randomBytes } from 'node:crypto';
import { accessSync, chownSync, constants, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { answersManagement, findFreePorts, isPostgresSuperuser, speaksAmqp } from './probe-servers.ts';
import type { Account } from './run-command.ts';
import { runCommand } from './run-command.ts';
import type { ServerFolder } from './server-folder.ts';
import { startServer, type OwnServer } from './start-server.ts';

/**
 * A running server: where it is and how to end it. `managementUrl` (with credentials) is RabbitMQ's HTTP API; `pid` is
 * there when it is a process of our own.
 */
export type PostgresServer = { url: string; pid?: number; stop: () => Promise<void>; power?: ServerPower };
export type RabbitServer = {
  url: string;
  pid?: number;
  managementUrl?: string;
  stop: () => Promise<void>;
  power?: ServerPower;
  /** Runs `rabbitmqctl` against this broker; rejects when it says no. */
  control?: (...args: string[]) => Promise<string>;
};
/** For a server of our own process: a crash, and the same server again with its data. Resolves when it answers. */
export type ServerPower = { crash: () => Promise<void>; restart: () => Promise<void> };
/** `durable`: a commit is on disk when it is answered, as in production. Tests need no such thing and are faster without. */
export type PostgresDurability = { durable: boolean };
/** What a throw-away cluster of tests leaves out. */
const notDurable = { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off' };

/** The folder with initdb and postgres: the newest of Debian's, else the PATH; undefined when not installed. */
export function findPostgresBinaries(): string | undefined {
  const debian = '/usr/lib/postgresql';
  const versions = listFolder(debian).sort((a, b) => Number(b) - Number(a));
  const folders = [...versions.map((version) => join(debian, version, 'bin')), ...pathFolders()];
  return folders.find((folder) => isProgram(join(folder, 'initdb')) && isProgram(join(folder, 'postgres')));
}

/** The rabbitmq-server script itself (not Debian's wrapper, which insists on the system's folders); undefined when not installed. */
export function findRabbitProgram(): string | undefined {
  if (!pathFolders().some((folder) => isProgram(join(folder, 'epmd')))) return undefined;
  const folders = ['/usr/lib/rabbitmq/bin', '/opt/rabbitmq/sbin', '/opt/homebrew/sbin', '/usr/local/sbin'];
  return folders.map((folder) => join(folder, 'rabbitmq-server')).find(isProgram);
}

/** Makes and starts a throw-away cluster: password log-in, loopback only, fsync off unless it must be durable. */
export async function startInstalledPostgres(
  folder: ServerFolder,
  binaries: string,
  { durable }: PostgresDurability,
): Promise<PostgresServer> {
  const account = accountForServer('postgres');
  const home = folder.makeFolder('postgres', account);
  const password = randomBytes(16).toString('hex');
  const passwordFile = writeOwned(join(home, 'password'), password, account);
  const cluster = join(home, 'data');
  const made = await runCommand(
    join(binaries, 'initdb'),
    // prettier-ignore
    ['-D', cluster, '-U', 'steward_test', '-A', 'scram-sha-256', '--pwfile', passwordFile, '-E', 'UTF8', '--locale', 'C.UTF-8', '--no-sync'],
    { timeoutMs: 60_000, env: serverEnvironment(home), account, cwd: '/' },
  );
  if (made.code !== 0) throw new Error(`initdb failed: ${made.stderr}`);
  const [port = 0] = await findFreePorts(1);
  const settings = {
    port,
    listen_addresses: '127.0.0.1',
    unix_socket_directories: home,
    max_connections: 300,
    max_wal_size: '2GB',
    ...(durable ? {} : notDurable),
  };
  const launch = () =>
    startServer(folder, {
      name: 'postgres',
      command: join(binaries, 'postgres'),
      args: ['-D', cluster, ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])],
      env: serverEnvironment(home),
      account,
      stopSignal: 'SIGQUIT',
    });
  const url = `postgres://steward_test:${password}@127.0.0.1:${port}/postgres`;
  return { url, ...(await keepRunning(launch, () => isPostgresSuperuser(url), 30_000)) };
}

/** Starts a throw-away broker with its own node name, ports, folders, cookie and port mapper (epmd). */
export async function startInstalledRabbit(folder: ServerFolder, program: string): Promise<RabbitServer> {
  const account = accountForServer('rabbitmq');
  const home = folder.makeFolder('rabbitmq', account);
  const password = randomBytes(16).toString('hex');
  const [port = 0, managementPort = 0, distributionPort = 0, epmdPort = 0] = await findFreePorts(4);
  const file = (name: string, lines: string[]) => writeOwned(join(home, name), `${lines.join('\n')}\n`, account);
  const env = {
    ...serverEnvironment(home),
    ERL_EPMD_PORT: String(epmdPort),
    ERL_EPMD_ADDRESS: '127.0.0.1',
    RABBITMQ_NODENAME: `${folder.name}@localhost`,
    RABBITMQ_DIST_PORT: String(distributionPort),
    RABBITMQ_CONF_ENV_FILE: file('rabbitmq-env.conf', []),
    RABBITMQ_CONFIG_FILE: file('rabbitmq.conf', [
      `listeners.tcp.default = 127.0.0.1:${port}`,
      'management.tcp.ip = 127.0.0.1',
      `management.tcp.port = ${managementPort}`,
      'default_user = steward_test',
      `default_pass = ${password}`,
      'disk_free_limit.absolute = 50MB',
    ]),
    RABBITMQ_ENABLED_PLUGINS_FILE: file('enabled_plugins', ['[rabbitmq_management].']),
    RABBITMQ_MNESIA_BASE: join(home, 'mnesia'),
    RABBITMQ_LOG_BASE: join(home, 'log'),
    RABBITMQ_PLUGINS_EXPAND_DIR: join(home, 'plugins'),
    RABBITMQ_PID_FILE: join(home, 'pid'),
    RABBITMQ_GENERATED_CONFIG_DIR: join(home, 'generated'),
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: '-kernel inet_dist_use_interface {127,0,0,1}',
  };
  const epmd = startServer(folder, { name: 'epmd', command: 'epmd', args: [], env, account, stopSignal: 'SIGKILL' });
  const launch = () =>
    startServer(folder, { name: 'rabbitmq', command: program, args: [], env, account, stopSignal: 'SIGKILL' });
  const url = `amqp://steward_test:${password}@127.0.0.1:${port}`;
  const managementUrl = `http://steward_test:${password}@127.0.0.1:${managementPort}`;
  const isReady = async () => (await speaksAmqp(url)) && (await answersManagement(managementUrl));
  const server = await keepRunning(launch, isReady, 90_000).catch(async (error: unknown) => {
    await epmd.stop();
    throw error;
  });
  const stop = async () => {
    await server.stop();
    await epmd.stop();
  };
  const control = async (...args: string[]) => {
    const result = await runCommand(join(dirname(program), 'rabbitmqctl'), args, {
      timeoutMs: 60_000,
      env,
      account,
      cwd: '/',
    });
    if (result.code !== 0) throw new Error(`rabbitmqctl ${args.join(' ')} failed: ${result.stderr}`);
    return result.stdout;
  };
  return { url, managementUrl, control, ...server, stop };
}

/** Starts a server and keeps the way to crash it and to start it again in the same place. */
async function keepRunning(
  launch: () => OwnServer,
  isReady: () => Promise<boolean>,
  timeoutMs: number,
): Promise<{ pid?: number; stop: () => Promise<void>; power: ServerPower }> {
  let server = launch();
  const waitOrStop = async () => {
    try {
      await server.waitUntilReady(isReady, timeoutMs);
    } catch (error) {
      await server.stop();
      throw error;
    }
  };
  await waitOrStop();
  const restart = async () => {
    // A server that crashed may leave children that hold its memory or port for a moment: the next start then ends at once.
    for (let attempt = 1; ; attempt += 1) {
      server = launch();
      try {
        await waitOrStop();
        return;
      } catch (error) {
        if (attempt === 10) throw error;
        await delay(500);
      }
    }
  };
  return { pid: server.pid, stop: () => server.stop(), power: { crash: () => server.crash(), restart } };
}

/** Postgres refuses to run as root: then the package's own account is taken. Otherwise servers run as we do. */
function accountForServer(name: string): Account | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const line = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .find((entry) => entry.startsWith(`${name}:`));
  const [, , uid, gid] = line?.split(':') ?? [];
  if (uid === undefined || gid === undefined) throw new Error(`There is no account ${name} to run its server as`);
  return { uid: Number(uid), gid: Number(gid) };
}

/** Servers see no setting of the person's shell (PGHOST, RABBITMQ_…), only a path, a home and a locale that exists. */
function serverEnvironment(home: string): NodeJS.ProcessEnv {
  return { PATH: `${process.env.PATH ?? ''}:/usr/sbin:/usr/bin:/sbin:/bin`, HOME: home, LC_ALL: 'C.UTF-8' };
}

function writeOwned(path: string, text: string, account: Account | undefined): string {
  writeFileSync(path, text, { mode: 0o600 });
  if (account) chownSync(path, account.uid, account.gid);
  return path;
}

const pathFolders = (): string[] => (process.env.PATH ?? '').split(delimiter).filter((folder) => folder !== '');

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function listFolder(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}
