import { randomBytes } from 'node:crypto';
import type { PostgresDurability, PostgresServer, RabbitServer } from './installed-servers.ts';
import { answersManagement, isPostgresSuperuser, speaksAmqp } from './probe-servers.ts';
import { lastLines, runCommand } from './run-command.ts';
import type { ServerFolder } from './server-folder.ts';
import { containerLabel, removeContainers } from './server-folder.ts';
import { waitUntil } from './wait-until.ts';

type Refusal = { refusal: string };

/** A throw-away Postgres container on a random port of 127.0.0.1; refuses where Docker or the image is out of reach. */
export async function startContainerPostgres(
  folder: ServerFolder,
  image: string,
  { durable }: PostgresDurability,
): Promise<PostgresServer | Refusal> {
  const refusal = await imageRefusal(image);
  if (refusal !== undefined) return { refusal };
  const password = randomBytes(16).toString('hex');
  const haste = durable ? [] : ['-c', 'fsync=off', '-c', 'synchronous_commit=off'];
  const container = await runContainer(folder, {
    image,
    ports: [5432],
    env: { POSTGRES_PASSWORD: password },
    command: ['postgres', ...haste, '-c', 'max_connections=300'],
  });
  const url = `postgres://postgres:${password}@127.0.0.1:${container.portOf(5432)}/postgres`;
  await container.waitUntilReady(() => isPostgresSuperuser(url));
  return { url, stop: container.stop };
}

/** A throw-away RabbitMQ container with management, on random ports of 127.0.0.1; refuses like the one above. */
export async function startContainerRabbit(folder: ServerFolder, image: string): Promise<RabbitServer | Refusal> {
  const refusal = await imageRefusal(image);
  if (refusal !== undefined) return { refusal };
  const password = randomBytes(16).toString('hex');
  const container = await runContainer(folder, {
    image,
    ports: [5672, 15672],
    env: { RABBITMQ_DEFAULT_USER: 'steward_test', RABBITMQ_DEFAULT_PASS: password },
    command: [],
  });
  const url = `amqp://steward_test:${password}@127.0.0.1:${container.portOf(5672)}`;
  const managementUrl = `http://steward_test:${password}@127.0.0.1:${container.portOf(15672)}`;
  await container.waitUntilReady(async () => (await speaksAmqp(url)) && (await answersManagement(managementUrl)));
  return { url, managementUrl, stop: container.stop };
}

async function imageRefusal(image: string): Promise<string | undefined> {
  const engine = await runCommand('docker', ['version', '--format', '{{.Server.Version}}'], { timeoutMs: 15_000 });
  if (engine.code !== 0) return 'no Docker Engine answers';
  const there = await runCommand('docker', ['image', 'inspect', image], { timeoutMs: 15_000 });
  if (there.code === 0) return undefined;
  const pulled = await runCommand('docker', ['pull', '-q', image], { timeoutMs: 300_000 });
  return pulled.code === 0 ? undefined : `image ${image} cannot be pulled: ${lastLines(pulled.stderr, 1)}`;
}

type Container = {
  portOf: (port: number) => string;
  waitUntilReady: (isReady: () => Promise<boolean>) => Promise<void>;
  stop: () => Promise<void>;
};

/** Secrets go by the environment of the docker command (`--env NAME`), never on a command line others can read. */
async function runContainer(
  folder: ServerFolder,
  o: { image: string; ports: number[]; env: Record<string, string>; command: string[] },
): Promise<Container> {
  folder.noteContainers();
  const flags = ['--label', `${containerLabel}=${folder.name}`];
  for (const port of o.ports) flags.push('--publish', `127.0.0.1::${port}`);
  for (const name of Object.keys(o.env)) flags.push('--env', name);
  const started = await runCommand('docker', ['run', '--detach', ...flags, o.image, ...o.command], {
    timeoutMs: 60_000,
    env: { ...process.env, ...o.env },
  });
  const stop = () => removeContainers(folder.name);
  if (started.code !== 0) {
    await stop();
    throw new Error(`docker run ${o.image} failed: ${lastLines(started.stderr, 5)}`);
  }
  const id = started.stdout.trim();
  const published = new Map<number, string>();
  for (const port of o.ports) {
    const { stdout } = await runCommand('docker', ['port', id, `${port}/tcp`], { timeoutMs: 15_000 });
    published.set(port, /:(\d+)/.exec(stdout)?.[1] ?? '0');
  }
  return {
    portOf: (port) => published.get(port) ?? '0',
    stop,
    waitUntilReady: async (isReady) => {
      try {
        await waitUntil(isReady, { timeoutMs: 120_000, what: `container ${o.image} to answer` });
      } catch (error) {
        const logs = await runCommand('docker', ['logs', '--tail', '15', id], { timeoutMs: 15_000 });
        await stop();
        throw new Error(`${(error as Error).message}; its last lines:\n${logs.stdout}${logs.stderr}`, { cause: error });
      }
    },
  };
}
