import { createLogger, createMetrics, newId } from '@steward/service-kit';
import { createRabbitBus, type Bus } from '@steward/bus';
import type { BusMessage } from '@steward/contracts';
import { createPostgres, createRelay, type OutboxTables } from '@steward/postgres';
import { waitUntil } from '@steward/testkit';
import { buildReceived } from '../../services/agent-core/src/testing.ts';
import type { BenchServers } from './bench-servers.ts';
import { median } from './statistics.ts';

export type RelayRound = { relayed: number; published: number };
export type RelayFigures = { rows: number; rounds: RelayRound[]; perSecond: number; ratio: number };

const rows = 10_000;
/** As many as the relay takes at once. */
const batch = 200;
const limitMs = 120_000;

/**
 * Outbox rows that the relay carries to confirmed messages in a second, and the yardstick in the same round: the same messages in
 * batches of the same size, published and confirmed without a database. In this process; the first round warms up.
 */
export async function measureRelay(o: {
  servers: BenchServers;
  rounds: number;
  say: (line: string) => void;
}): Promise<RelayFigures> {
  const { servers } = o;
  const log = createLogger({ service: 'bench', level: 'error' });
  await servers.drainInbound();
  const bus = await createRabbitBus({ url: servers.vhost.url, service: 'adapter', log });
  const url = servers.envOf('adapter')['DATABASE_URL'] ?? '';
  const database = createPostgres<OutboxTables>({ url, schema: 'adapter', poolSize: 4, log });
  try {
    const rounds: RelayRound[] = [];
    for (let number = 0; number <= o.rounds; number += 1) {
      await fillOutbox(servers);
      const relay = createRelay({ db: database.db, bus, log, metrics: createMetrics('bench') });
      const relayed = await perSecond(async () => {
        relay.start();
        await waitUntil(() => isRelayed(servers), {
          timeoutMs: limitMs,
          everyMs: 20,
          what: 'the outbox to be relayed',
        });
      });
      await relay.stop();
      await servers.drainInbound();
      const published = await perSecond(() => publishAll(bus));
      await servers.drainInbound();
      if (number > 0) rounds.push({ relayed, published });
      o.say(
        `${number === 0 ? 'warm-up' : `round ${number}`}: relay ${Math.round(relayed)}/s, publishing alone ${Math.round(published)}/s`,
      );
    }
    return {
      ...{ rows, rounds, perSecond: median(rounds.map(({ relayed }) => relayed)) },
      ratio: median(rounds.map(({ relayed, published }) => relayed / published)),
    };
  } finally {
    await database.close();
    await bus.close();
  }
}

async function perSecond(work: () => Promise<void>): Promise<number> {
  const startedAt = performance.now();
  await work();
  return (1_000 * rows) / (performance.now() - startedAt);
}

/** Rows as recording writes them: each needs a receipt, so the relay keeps it. */
async function fillOutbox({ sql }: BenchServers): Promise<void> {
  const message = JSON.stringify(buildReceived()).replaceAll("'", "''");
  await sql('truncate adapter.outbox');
  await sql(`
    insert into adapter.outbox (id, type, subject_id, message, needs_receipt, next_publish_at)
    select id, 'inbound.received.v1', gen_random_uuid(), jsonb_set('${message}'::jsonb, '{id}', to_jsonb(id)), true, now()
    from (select gen_random_uuid() as id from generate_series(1, ${rows})) ids`);
  await sql('analyze adapter.outbox');
}

async function isRelayed({ sql }: BenchServers): Promise<boolean> {
  const [row] = await sql<{ left: number }>(
    'select count(*)::int as left from (select from adapter.outbox where next_publish_at <= now() limit 1) due',
  );
  return row?.left === 0;
}

async function publishAll(bus: Bus): Promise<void> {
  for (let done = 0; done < rows; done += batch) {
    const messages = Array.from({ length: batch }, (): BusMessage => ({ ...buildReceived(), id: newId() }));
    const outcomes = await bus.publish(messages);
    if (outcomes.some((outcome) => outcome !== 'confirmed')) throw new Error(`published: ${outcomes.join(' ')}`);
  }
}
