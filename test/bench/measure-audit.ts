import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { generateSealKey } from '@steward/audit';
import { waitUntil } from '@steward/testkit';
import { pause, startBenchProcess, type BenchProcess } from './bench-process.ts';
import type { BenchServers } from './bench-servers.ts';
import type { BenchWorld } from './bench-world.ts';
import { median, percentile } from './statistics.ts';

export type AuditRound = { offered: number; accepted: number; p50Ms: number; p99Ms: number };
export type AuditFigures = {
  perSecond: number;
  entriesEach: number;
  rounds: { unsealed: AuditRound; sealed: AuditRound; oldestUnsealedSeconds: number }[];
  /** Median over the rounds of the p99 while sealing, divided by the p99 without. */
  p99Ratio: number;
  /** The oldest that an entry ever was before it was sealed, over all rounds. */
  sealedWithinSeconds: number;
};

const entriesEach = 10;
const connections = 8;
const sampleMs = 250;
const drainLimitMs = 120_000;

/**
 * Entries are offered at a fixed rate, by the clock and whatever the database does, once without a sealer and once with one
 * in a process of its own. Latency runs from the moment a statement of ten entries was due to its commit. Rejects when an
 * accepted entry is in no block at the end.
 */
export async function measureAudit(o: {
  servers: BenchServers;
  world: BenchWorld;
  rounds: number;
  roundMs: number;
  perSecond?: number;
  say: (line: string) => void;
}): Promise<AuditFigures> {
  const perSecond = o.perSecond ?? 5_000;
  const { privateKeyPem } = generateSealKey();
  const pool = new pg.Pool({ connectionString: o.servers.database.url('steward_adapter'), max: connections });
  pool.on('error', () => undefined);
  try {
    await offer(pool, { perSecond, durationMs: Math.min(1_000, o.roundMs) });
    const rounds: AuditFigures['rounds'] = [];
    for (let number = 1; number <= o.rounds; number += 1) {
      const unsealed = await offer(pool, { perSecond, durationMs: o.roundMs });
      const sealer = await startSealer(o.servers, o.world, privateKeyPem);
      const watch = watchAge(o.servers);
      try {
        await untilSealed(o.servers);
        watch.reset();
        const sealed = await offer(pool, { perSecond, durationMs: o.roundMs });
        await untilSealed(o.servers);
        rounds.push({ unsealed, sealed, oldestUnsealedSeconds: watch.oldest() });
        o.say(`round ${number}: ${describe({ unsealed, sealed })}, sealed within ${watch.oldest().toFixed(1)} s`);
      } finally {
        await watch.stop();
        await sealer.stop();
      }
    }
    return {
      perSecond,
      entriesEach,
      rounds,
      p99Ratio: median(rounds.map(({ sealed, unsealed }) => sealed.p99Ms / unsealed.p99Ms)),
      sealedWithinSeconds: Math.max(...rounds.map(({ oldestUnsealedSeconds }) => oldestUnsealedSeconds)),
    };
  } finally {
    await pool.end();
  }
}

/** One statement of ten entries every so many milliseconds; those that are late leave at once, and their wait counts. */
async function offer(pool: pg.Pool, o: { perSecond: number; durationMs: number }): Promise<AuditRound> {
  const spacingMs = (1_000 * entriesEach) / o.perSecond;
  const count = Math.floor(o.durationMs / spacingMs);
  const startAt = performance.now();
  const latencies: number[] = [];
  const inHand: Promise<void>[] = [];
  let failed = 0;
  for (let at = 0; at < count; at += 1) {
    const dueAt = startAt + at * spacingMs;
    const early = dueAt - performance.now();
    if (early > 1) await pause(early);
    inHand.push(
      insertEntries(pool).then(
        () => void latencies.push(performance.now() - dueAt),
        () => void (failed += 1),
      ),
    );
  }
  await Promise.all(inHand);
  return {
    offered: count * entriesEach,
    accepted: (count - failed) * entriesEach,
    p50Ms: percentile(latencies, 0.5),
    p99Ms: percentile(latencies, 0.99),
  };
}

async function insertEntries(pool: pg.Pool): Promise<void> {
  const rows = Array.from({ length: entriesEach }, () => ({ id: randomUUID(), correlation_id: randomUUID() }));
  await pool.query({
    name: 'bench-audit',
    text: `insert into audit.entry (id, service, kind, outcome, correlation_id, environment, robot_code, conversation_id,
             actor_staff_id, actor_corp_id, subject_id, detail)
           select r.id, 'adapter', 'inbound.recorded', 'accepted', r.correlation_id, 'test', 'dingbench', 'cidBench==',
             'bench-person', 'dingbenchcorp', r.id::text, '{"door": "http", "kind": "robot_message", "sequence": 17}'
           from jsonb_to_recordset($1::jsonb) as r (id uuid, correlation_id uuid)`,
    values: [JSON.stringify(rows)],
  });
}

function startSealer(servers: BenchServers, world: BenchWorld, sealKey: string): Promise<BenchProcess> {
  return startBenchProcess({
    name: 'audit-sealer',
    program: 'services/audit-sealer/src/main.ts',
    env: { DATABASE_URL: servers.database.url('steward_sealer'), SEAL_KEY: sealKey, LOG_LEVEL: 'warn' },
    folder: world.folder,
    nodeArgs: world.nodeArgs,
  });
}

const oldestSql = `
  select coalesce(extract(epoch from clock_timestamp() - min(w.occurred_at)), 0)::float8 as age, count(*)::int as count from (
    select e.occurred_at from audit.entry e
    where e.transaction_id >= coalesce((select b.to_transaction from audit.block b order by b.number desc limit 1), 0)
    order by e.transaction_id limit 100) w`;

const readOldest = async (servers: BenchServers) => {
  const [row] = await servers.sql<{ age: number; count: number }>(oldestSql);
  return row ?? { age: 0, count: 0 };
};

const untilSealed = (servers: BenchServers) =>
  waitUntil(async () => (await readOldest(servers)).count === 0, {
    timeoutMs: drainLimitMs,
    what: 'every accepted entry to be sealed',
  });

/** Looks four times a second how old the oldest unsealed entry is. */
function watchAge(servers: BenchServers) {
  let oldest = 0;
  let watching = true as boolean;
  const loop = (async () => {
    while (watching) {
      oldest = Math.max(oldest, (await readOldest(servers)).age);
      await pause(sampleMs);
    }
  })();
  return {
    reset: () => void (oldest = 0),
    oldest: () => oldest,
    stop: async () => {
      watching = false;
      await loop;
    },
  };
}

const describe = ({ unsealed, sealed }: { unsealed: AuditRound; sealed: AuditRound }): string =>
  [unsealed, sealed]
    .map(({ p99Ms, accepted, offered }, at) => {
      return `${at === 0 ? 'without' : 'with'} sealing p99 ${p99Ms.toFixed(1)} ms (${accepted} of ${offered})`;
    })
    .join(', ');
