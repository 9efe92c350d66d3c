import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import type { Servers } from '@steward/testkit';
import { pause, serviceProgram, startBenchProcess, type BenchProcess } from './bench-process.ts';
import { createBenchServers, type BenchServers } from './bench-servers.ts';
import { callbackPath, type BenchWorld } from './bench-world.ts';
import type { LoadOrder, LoadResult } from './load-generator.ts';
import { readCpuSeconds } from './proc-figures.ts';
import { median, spread } from './statistics.ts';

export const variants = ['adapter', 'broker away', 'no I/O', 'naive'] as const;
export type Variant = (typeof variants)[number];
type Round = Record<Variant, LoadResult>;

export type VariantFigures = { perSecond: number; p50Ms: number; p99Ms: number; spread: number };
export type IngressFigures = {
  connections: number;
  rounds: Round[];
  figures: Record<Variant, VariantFigures>;
  /** Medians of the ratios of each round. */
  toNoIo: number;
  toNaive: number;
  /** The same, of the adapter while its broker is away: what recording costs without the relay's work. */
  awayToNoIo: number;
  /** CPU milliseconds for one request of each variant, of its own process and of the servers (null: not our process). */
  cpuMs: Record<Variant, Record<string, number | null>>;
  recorded: number;
};

const connections = 50;
const conversations = 300;
const programs: Record<Variant, { program: string; env: Record<string, string> }> = {
  adapter: { program: serviceProgram('adapter'), env: {} },
  // Port 9 (discard) answers nobody: events are recorded, and nothing is published.
  'broker away': { program: serviceProgram('adapter'), env: { AMQP_URL: 'amqp://127.0.0.1:9' } },
  'no I/O': { program: 'test/bench/calibrator.ts', env: { BENCH_RECORDER: 'none' } },
  naive: { program: 'test/bench/calibrator.ts', env: { BENCH_RECORDER: 'naive' } },
};

/**
 * Closed-loop load on the adapter and on its yardsticks, one after the other in every round, all of them alive
 * all the time. The first round warms up and is not counted. Rejects when an acknowledged message is not in the ledger.
 */
export async function measureIngress(o: {
  servers: BenchServers;
  provisioned: Servers;
  world: BenchWorld;
  rounds: number;
  roundMs: number;
  say: (line: string) => void;
}): Promise<IngressFigures> {
  const { servers, world, say } = o;
  // The queue must exist before somebody publishes to it.
  await servers.drainInbound();
  // A database of its own: else the other adapter's relay would find its outbox and publish it.
  const apart = await createBenchServers();
  const processes = new Map<Variant, BenchProcess>();
  try {
    for (const variant of variants)
      processes.set(variant, await startVariant(world, variant === 'broker away' ? apart : servers, variant));
    const rounds: Round[] = [];
    const meters = variants.map((variant) => createCpuMeter(o.provisioned, variant, processes));
    let answeredByAdapters = 0;
    for (let number = 0; number <= o.rounds; number += 1) {
      const results: Partial<Round> = {};
      for (const [at, [variant, { url }]] of [...processes].entries()) {
        meters[at]?.start();
        const order = { url, connections, conversations, durationMs: o.roundMs, prefix: `${variant}-${number}` };
        results[variant] = await generateLoad({ ...order, path: callbackPath, appSecret: world.appSecret });
        if (number > 0) meters[at]?.stop();
        if (variant === 'adapter' || variant === 'broker away') answeredByAdapters += results[variant].answered;
        await clearUp(servers, apart);
      }
      const round = results as Round; // the loop above fills every variant
      if (number > 0) rounds.push(round);
      say(`${number === 0 ? 'warm-up' : `round ${number}`}: ${describe(round)}`);
    }
    const recorded = (await countRecorded(servers)) + (await countRecorded(apart));
    if (recorded !== answeredByAdapters) throw new Error(`${answeredByAdapters} answered, but ${recorded} recorded`);
    const cpuMs = Object.fromEntries(
      variants.map((variant, at) => {
        const answered = rounds.reduce((sum, round) => sum + round[variant].answered, 0);
        return [variant, meters[at]?.read(answered)];
      }),
    ) as IngressFigures['cpuMs']; // one for each variant
    return { ...summarise(rounds), recorded, cpuMs };
  } finally {
    await Promise.all([...processes.values()].map((each) => each.stop()));
    await apart.drop();
  }
}

/** Adds up the CPU time of a variant's process and of the servers while its rounds run. */
function createCpuMeter(provisioned: Servers, variant: Variant, processes: ReadonlyMap<Variant, BenchProcess>) {
  const programs = [
    { name: 'own process', pid: processes.get(variant)?.pid, startedAt: 0, used: 0 },
    { name: 'Postgres', pid: provisioned.postgres.pid, startedAt: 0, used: 0 },
    { name: 'RabbitMQ', pid: provisioned.rabbitmq.pid, startedAt: 0, used: 0 },
  ];
  return {
    start: () => {
      for (const program of programs) if (program.pid) program.startedAt = readCpuSeconds(program.pid);
    },
    stop: () => {
      for (const program of programs) if (program.pid) program.used += readCpuSeconds(program.pid) - program.startedAt;
    },
    read: (requests: number): Record<string, number | null> =>
      Object.fromEntries(programs.map(({ name, pid, used }) => [name, pid ? (1_000 * used) / requests : null])),
  };
}

function startVariant(world: BenchWorld, servers: BenchServers, variant: Variant): Promise<BenchProcess> {
  const { program, env } = programs[variant];
  const urls = servers.envOf('adapter');
  // The naive one makes a table of its own.
  if (variant === 'naive') urls.DATABASE_URL = servers.database.adminUrl;
  return startBenchProcess({
    name: `ingress-${variant.replace(/\W/g, '')}`,
    program,
    env: { ...world.env, ...urls, ...env },
    folder: world.folder,
    nodeArgs: world.nodeArgs,
    // Without its broker it serves, but does not call itself ready.
    readyPath: variant === 'broker away' ? '/healthz' : '/readyz',
  });
}

export async function generateLoad(order: LoadOrder): Promise<LoadResult> {
  const program = path.join(import.meta.dirname, 'load-generator.ts');
  const limit = { timeout: order.durationMs + 60_000 };
  const { stdout } = await promisify(execFile)(process.execPath, [program, JSON.stringify(order)], limit);
  return JSON.parse(stdout) as LoadResult; // what load-generator.ts prints
}

/**
 * Nobody gives receipts here, so the outbox would publish everything again during a later round: that is not what a
 * round is to measure. What was acknowledged stays in the ledger.
 */
async function clearUp(servers: BenchServers, apart: BenchServers): Promise<void> {
  await Promise.all([servers, apart].map(({ sql }) => sql('truncate adapter.outbox')));
  await pause(500);
  await servers.drainInbound();
}

async function countRecorded(servers: BenchServers): Promise<number> {
  const [row] = await servers.sql<{ count: number }>('select count(*)::int as count from adapter.inbound_event');
  return row?.count ?? 0;
}

function summarise(rounds: Round[]): Omit<IngressFigures, 'recorded' | 'cpuMs'> {
  const figuresOf = (variant: Variant): VariantFigures => {
    const results = rounds.map((round) => round[variant]);
    const rates = results.map(({ perSecond }) => perSecond);
    return {
      perSecond: median(rates),
      p50Ms: median(results.map(({ p50Ms }) => p50Ms)),
      p99Ms: median(results.map(({ p99Ms }) => p99Ms)),
      spread: spread(rates),
    };
  };
  const ratio = (of: Variant, to: Variant) => median(rounds.map((round) => round[of].perSecond / round[to].perSecond));
  return {
    connections,
    rounds,
    figures: Object.fromEntries(variants.map((variant) => [variant, figuresOf(variant)])) as IngressFigures['figures'], // one for each
    toNoIo: ratio('adapter', 'no I/O'),
    toNaive: ratio('adapter', 'naive'),
    awayToNoIo: ratio('broker away', 'no I/O'),
  };
}

function describe(round: Round): string {
  const parts = variants.map((variant) => {
    const { perSecond, p99Ms } = round[variant];
    return `${variant} ${Math.round(perSecond)}/s p99 ${Math.round(p99Ms)} ms`;
  });
  return parts.join(', ');
}
