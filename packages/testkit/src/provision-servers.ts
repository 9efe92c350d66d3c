import { installPackages } from './apt-install.ts';
import { startContainerPostgres, startContainerRabbit } from './container-servers.ts';
import { findLocalPostgres, findLocalRabbit } from './found-servers.ts';
import type { PostgresServer, RabbitServer, ServerPower } from './installed-servers.ts';
import {
  findPostgresBinaries,
  findRabbitProgram,
  startInstalledPostgres,
  startInstalledRabbit,
} from './installed-servers.ts';
import { isPostgresSuperuser, speaksAmqp } from './probe-servers.ts';
import type { ServerFolder } from './server-folder.ts';
import { createServerFolder, removeLeftovers } from './server-folder.ts';
import { waitUntil } from './wait-until.ts';

/** Servers for tests, as environment variables for the programs that use them. `own` servers vanish with `stop`. */
export type Servers = {
  env: Record<string, string>;
  postgres: ServerOrigin;
  rabbitmq: ServerOrigin;
  stop: () => Promise<void>;
};

/** Servers that may be crashed and started again, because they are processes of our own. */
export type OwnServers = Servers & {
  power: { postgres: ServerPower; rabbitmq: ServerPower };
  /** `rabbitmqctl` of the broker. */
  rabbitControl: (...args: string[]) => Promise<string>;
};

/** Where a server came from; `pid` when it is a process of our own. */
export type ServerOrigin = { origin: string; own: boolean; pid?: number };

/** One way to get a server: it gives one or the reason why not; it throws when this server was meant and does not work. */
type Way<S> = { name: string; own: boolean; get: () => Promise<S | { refusal: string }> };
type Say = (line: string) => void;

/**
 * Gets a Postgres and a RabbitMQ that tests may wreck, each by the first way that works: the URL in the environment;
 * a server found on localhost (only with STEWARD_TEST_MAY_DESTROY=1); an own throw-away one from installed programs;
 * a container; packages by apt as root, then an own one. STEWARD_TEST_SERVERS=installed|docker|apt forces one of the
 * last three. Rejects with what to install when no way works. `stop` is safe to call twice.
 * `durable` is for measuring: an own Postgres then keeps its commits on disk (default: it does not).
 */
export async function provisionServers(options: { say: Say; durable?: boolean }): Promise<Servers> {
  const leftovers = await removeLeftovers();
  if (leftovers > 0) options.say(`removed what ${leftovers} earlier run(s) left behind`);
  const { postgres, rabbitmq, stop } = await startBoth(options, (way) => way);
  const env: Record<string, string> = { DATABASE_URL: postgres.server.url, AMQP_URL: rabbitmq.server.url };
  if (rabbitmq.server.managementUrl !== undefined) env.RABBITMQ_MANAGEMENT_URL = rabbitmq.server.managementUrl;
  return { env, postgres: postgres.way, rabbitmq: rabbitmq.way, stop };
}

/**
 * Durable servers of our own from installed programs (packages by apt where they are missing), for runs that kill them. What
 * is given in the environment or found on localhost is left alone. Rejects with what to install.
 */
export async function provisionOwnServers(options: { say: Say }): Promise<OwnServers> {
  await removeLeftovers();
  const own = <S>(ways: Way<S>[]) => ways.filter(({ name }) => name.startsWith('own server'));
  const { postgres, rabbitmq, stop } = await startBoth({ ...options, durable: true }, own);
  const { power: postgresPower, url: databaseUrl } = postgres.server;
  const { power: rabbitPower, url: amqpUrl, control, managementUrl = '' } = rabbitmq.server;
  if (postgresPower === undefined || rabbitPower === undefined || control === undefined) {
    await stop();
    throw new Error('servers that can be killed must be processes of our own');
  }
  return {
    env: { DATABASE_URL: databaseUrl, AMQP_URL: amqpUrl, RABBITMQ_MANAGEMENT_URL: managementUrl },
    ...{ postgres: postgres.way, rabbitmq: rabbitmq.way, stop },
    power: { postgres: postgresPower, rabbitmq: rabbitPower },
    rabbitControl: control,
  };
}

/** Starts each server by the first of the chosen ways that works; whatever was started ends with `stop`. */
async function startBoth(options: { say: Say; durable?: boolean }, choose: <S>(ways: Way<S>[]) => Way<S>[]) {
  const folder = createServerFolder();
  const started: (PostgresServer | RabbitServer)[] = [];
  const stop = async () => {
    await Promise.all(started.splice(0).map((server) => server.stop()));
    folder.remove();
  };
  try {
    const keep = <S extends PostgresServer | RabbitServer>(server: S): S => (started.push(server), server);
    const [postgres, rabbitmq] = await settleBoth(
      firstThatWorks('Postgres', choose(postgresWays(folder, options)), options.say, keep),
      firstThatWorks('RabbitMQ', choose(rabbitWays(folder, options.say)), options.say, keep),
    );
    return { postgres, rabbitmq, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Both end before an error is passed on, so that a server that was still starting is known and gets stopped. */
async function settleBoth<A, B>(a: Promise<A>, b: Promise<B>): Promise<[A, B]> {
  const errors = (await Promise.allSettled([a, b])).flatMap((one) =>
    one.status === 'rejected' ? [(one.reason as Error).message] : [],
  );
  if (errors.length > 0) throw new Error(errors.join('\n\n'));
  return [await a, await b];
}

async function firstThatWorks<S extends PostgresServer | RabbitServer>(
  what: string,
  ways: Way<S>[],
  say: Say,
  keep: (server: S) => S,
): Promise<{ server: S; way: ServerOrigin }> {
  const refusals: string[] = [];
  for (const way of ways) {
    const result = await (way.own ? orRefusal(way.get) : way.get());
    if ('refusal' in result) {
      refusals.push(`  - ${way.name}: ${result.refusal}`);
      continue;
    }
    say(`${what}: ${way.name}`);
    return { server: keep(result), way: { origin: way.name, own: way.own, pid: result.pid } };
  }
  const [variable, packages, image] =
    what === 'Postgres' ? ['DATABASE_URL', 'postgresql', postgresImage] : ['AMQP_URL', 'rabbitmq-server', rabbitImage];
  throw new Error(
    `There is no ${what} to test with. Do one of these and run again:\n` +
      `  * install it: sudo apt-get install ${packages}   (it need not run: the tests start their own)\n` +
      `  * start Docker (image ${image})\n` +
      `  * set ${variable} to a server that the tests may wreck\n` +
      `What was tried:\n${refusals.join('\n')}`,
  );
}

/** An own server that should have started and did not is a reason to try the next way, told when none works. */
async function orRefusal<S>(get: () => Promise<S | { refusal: string }>): Promise<S | { refusal: string }> {
  return get().catch((error: unknown) => ({ refusal: (error as Error).message }));
}

const postgresImage = 'postgres:17-trixie';
const rabbitImage = 'rabbitmq:4.0-management';

function postgresWays(
  folder: ServerFolder,
  { say, durable = false }: { say: Say; durable?: boolean },
): Way<PostgresServer>[] {
  const fromPrograms = async () => {
    const binaries = findPostgresBinaries();
    return binaries === undefined
      ? { refusal: 'not installed' }
      : startInstalledPostgres(folder, binaries, { durable });
  };
  return [
    { name: 'DATABASE_URL', own: false, get: givenPostgres },
    { name: 'found on localhost', own: false, get: whenDestroyable(findLocalPostgres) },
    ...forced<PostgresServer>({
      installed: { name: 'own server from installed programs', own: true, get: fromPrograms },
      docker: {
        name: `container ${postgresImage}`,
        own: true,
        get: () => startContainerPostgres(folder, postgresImage, { durable }),
      },
      apt: {
        name: 'own server from apt packages',
        own: true,
        get: async () => (await installPackages(['postgresql'], say)) ?? fromPrograms(),
      },
    }),
  ];
}

function rabbitWays(folder: ServerFolder, say: Say): Way<RabbitServer>[] {
  const fromPrograms = async () => {
    const program = findRabbitProgram();
    return program === undefined ? { refusal: 'not installed' } : startInstalledRabbit(folder, program);
  };
  return [
    { name: 'AMQP_URL', own: false, get: givenRabbit },
    { name: 'found on localhost', own: false, get: whenDestroyable(findLocalRabbit) },
    ...forced<RabbitServer>({
      installed: { name: 'own server from installed programs', own: true, get: fromPrograms },
      docker: { name: `container ${rabbitImage}`, own: true, get: () => startContainerRabbit(folder, rabbitImage) },
      apt: {
        name: 'own server from apt packages',
        own: true,
        get: async () => (await installPackages(['rabbitmq-server'], say)) ?? fromPrograms(),
      },
    }),
  ];
}

/** A given server that does not answer is an error, not a reason to look elsewhere: somebody meant this one. */
async function givenPostgres(): Promise<PostgresServer | { refusal: string }> {
  const url = process.env.DATABASE_URL ?? '';
  if (url === '') return { refusal: 'not set' };
  const what = 'the server of DATABASE_URL to let its user in as superuser';
  await waitUntil(() => isPostgresSuperuser(url), { timeoutMs: 10_000, what });
  return { url, stop: async () => undefined };
}

async function givenRabbit(): Promise<RabbitServer | { refusal: string }> {
  const url = process.env.AMQP_URL ?? '';
  if (url === '') return { refusal: 'not set' };
  const plain = url.startsWith('amqp:');
  if (plain) await waitUntil(() => speaksAmqp(url), { timeoutMs: 10_000, what: 'the server of AMQP_URL to answer' });
  return { url, managementUrl: process.env.RABBITMQ_MANAGEMENT_URL, stop: async () => undefined };
}

/** A server that merely runs on localhost may be somebody's: it is taken only when the person said so. */
function whenDestroyable<S>(find: () => Promise<S | { refusal: string }>): () => Promise<S | { refusal: string }> {
  const allowed = process.env.STEWARD_TEST_MAY_DESTROY === '1';
  return allowed ? find : async () => ({ refusal: 'left alone, STEWARD_TEST_MAY_DESTROY is not 1' });
}

function forced<S>(ways: { installed: Way<S>; docker: Way<S>; apt: Way<S> }): Way<S>[] {
  const choice = process.env.STEWARD_TEST_SERVERS;
  if (choice === undefined || choice === '') return [ways.installed, ways.docker, ways.apt];
  if (choice === 'installed' || choice === 'docker' || choice === 'apt') return [ways[choice]];
  throw new Error(`STEWARD_TEST_SERVERS is ${choice}; it may be installed, docker or apt`);
}
