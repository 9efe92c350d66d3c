import type { PostgresServer, RabbitServer } from './installed-servers.ts';
import { answersManagement, isPostgresSuperuser, speaksAmqp } from './probe-servers.ts';

type Refusal = { refusal: string };
const stop = async () => undefined;

/** A Postgres on localhost:5432 that lets us in as superuser with the usual development passwords or PGUSER/PGPASSWORD. */
export async function findLocalPostgres(): Promise<PostgresServer | Refusal> {
  const { PGUSER = 'postgres', PGPASSWORD = 'postgres' } = process.env;
  const url = new URL('postgres://127.0.0.1:5432/postgres');
  url.username = PGUSER;
  url.password = PGPASSWORD;
  if (await isPostgresSuperuser(url.href)) return { url: url.href, stop };
  return { refusal: `nobody on 127.0.0.1:5432 lets ${PGUSER} in as superuser` };
}

/** A RabbitMQ on localhost:5672 with its management API and the guest account a fresh one has. */
export async function findLocalRabbit(): Promise<RabbitServer | Refusal> {
  const url = 'amqp://guest:guest@127.0.0.1:5672';
  const managementUrl = 'http://guest:guest@127.0.0.1:15672';
  if ((await speaksAmqp(url)) && (await answersManagement(managementUrl))) return { url, managementUrl, stop };
  return { refusal: 'no RabbitMQ with management and the guest account on 127.0.0.1:5672' };
}
