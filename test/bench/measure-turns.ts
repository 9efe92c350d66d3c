import { createSimulator, type Simulator } from '@steward/dingtalk-simulator';
import { waitUntil, type Servers } from '@steward/testkit';
import { pause, serviceProgram, startBenchProcess, type BenchProcess, type ServiceName } from './bench-process.ts';
import type { BenchServers } from './bench-servers.ts';
import { robot, roomId, type BenchWorld } from './bench-world.ts';
import { readCpuSeconds, readRssMb } from './proc-figures.ts';
import { percentile } from './statistics.ts';

export const services = ['adapter', 'agent-core', 'outbound-sender'] as const satisfies readonly ServiceName[];

export type TurnFigures = {
  messages: number;
  perSecond: number;
  conversations: number;
  p50Ms: number;
  p95Ms: number;
  p99Ms: number;
  maxMs: number;
  /** The latest that a message was said after its time. */
  latestSayMs: number;
  /** CPU-seconds for one turn of each program; null where the server is not a process of ours. */
  cpuSeconds: Record<string, number | null>;
  /** Statements of each service for one turn, BEGIN and COMMIT included, with what it asks while it waits. */
  statements: Record<ServiceName, number>;
  lost: number;
  duplicated: number;
  rssMb: Record<ServiceName, number>;
};

const warmUpMessages = 300;
const answerLimitMs = 60_000;
const sendPath = '/robot/sendBySession';

/**
 * People say /ping at a steady rate, by the clock and whatever the answers do (a stall counts for everyone who was to
 * speak in it). Latency runs from the moment a message was due to the moment the simulated platform took the answer.
 */
export async function measureTurns(o: {
  servers: BenchServers;
  provisioned: Servers;
  world: BenchWorld;
  messages: number;
  perSecond: number;
  conversations: number;
  say: (line: string) => void;
}): Promise<TurnFigures> {
  const { world, servers } = o;
  const simulator = await createSimulator({ world: world.simulated('http://127.0.0.1:1') });
  simulator.control.setFaults({ qpsLimit: null, ipCallLimit: null });
  world.configure(simulator.url);
  const running: BenchProcess[] = [];
  try {
    for (const service of services) running.push(await startService(o, service));
    simulator.control.setWorld({ apps: world.simulated(running[0]?.url ?? '').apps });
    await sayPings(simulator, { ...o, messages: warmUpMessages, perSecond: 50, prefix: 'warm' });
    await settle(simulator, servers, warmUpMessages);
    o.say(`warmed up with ${warmUpMessages} messages`);

    const programs = listPrograms(running, o.provisioned);
    const before = programs.map(({ pid }) => pid && readCpuSeconds(pid));
    const statementsBefore = await Promise.all(running.map(readStatements));
    const { dueAt, latestSayMs } = await sayPings(simulator, { ...o, prefix: 'ping' });
    await settle(simulator, servers, warmUpMessages + o.messages);
    const used = programs.map(({ name, pid }, at): [string, number | null] => [
      name,
      pid ? (readCpuSeconds(pid) - (before[at] ?? 0)) / o.messages : null,
    ]);
    const statements = (await Promise.all(running.map(readStatements))).map((made, at): [string, number] => [
      running[at]?.name ?? '',
      (made - (statementsBefore[at] ?? 0)) / o.messages,
    ]);
    const rss = running.map(({ name, pid }) => [name, readRssMb(pid)]);
    return {
      ...{ messages: o.messages, perSecond: o.perSecond, conversations: o.conversations, latestSayMs },
      ...(await readAnswers(simulator, dueAt)),
      cpuSeconds: Object.fromEntries(used),
      statements: Object.fromEntries(statements) as Record<ServiceName, number>, // `running` has one of each
      rssMb: Object.fromEntries(rss) as Record<ServiceName, number>, // `running` has one of each
    };
  } finally {
    await Promise.all(running.map((each) => each.stop()));
    await simulator.close();
  }
}

export function startService(
  { servers, world }: { servers: BenchServers; world: BenchWorld },
  service: ServiceName,
): Promise<BenchProcess> {
  const env = { ...world.env, ...servers.envOf(service) };
  const { folder, nodeArgs } = world;
  return startBenchProcess({ name: service, program: serviceProgram(service), env, folder, nodeArgs });
}

function listPrograms(running: readonly BenchProcess[], { postgres, rabbitmq }: Servers) {
  return [...running, { name: 'Postgres', pid: postgres.pid }, { name: 'RabbitMQ', pid: rabbitmq.pid }];
}

async function readStatements({ url }: BenchProcess): Promise<number> {
  const text = await (await fetch(new URL('/metrics', url))).text();
  return Number(/^steward_database_statements_total\{.*\} (\d+)$/m.exec(text)?.[1] ?? NaN);
}

type Pings = { messages: number; perSecond: number; conversations: number; prefix: string };

/** Resolves when everything is said: when each message was due (ms since the epoch), and the greatest delay. */
async function sayPings(simulator: Simulator, o: Pings): Promise<{ dueAt: Map<string, number>; latestSayMs: number }> {
  const dueAt = new Map<string, number>();
  const said: Promise<unknown>[] = [];
  const startAt = Date.now() + 100;
  let latestSayMs = 0;
  for (let number = 0; number < o.messages; number += 1) {
    const due = startAt + (number * 1_000) / o.perSecond;
    const early = due - Date.now();
    if (early > 0) await pause(early);
    latestSayMs = Math.max(latestSayMs, Date.now() - due);
    const msgId = `${o.prefix}-${number}`;
    dueAt.set(msgId, due);
    const words = { robot: robot.code, room: roomId(number % o.conversations), text: '/ping', msgId };
    said.push(simulator.control.say(words));
  }
  await Promise.all(said);
  return { dueAt, latestSayMs };
}

/** Waits until the platform has that many answers, and no service has anything left to do. */
async function settle(simulator: Simulator, { sql }: BenchServers, answers: number): Promise<void> {
  await simulator.control.calls({ path: sendPath, count: answers, wait: answerLimitMs });
  const isQuiet = async () => {
    const [row] = await sql<{ open: number }>(`select (
      (select count(*) from adapter.outbox) + (select count(*) from agent_core.outbox) +
      (select count(*) from outbound_sender.outbox) +
      (select count(*) from agent_core.turn where status in ('queued', 'running')) +
      (select count(*) from outbound_sender.outbound_message where ended_at is null))::int as open`);
    return row?.open === 0;
  };
  await waitUntil(isQuiet, { timeoutMs: answerLimitMs, what: 'all work to be done', everyMs: 250 });
}

/** A session belongs to one message, so the call that carries it is the answer to that message. */
async function readAnswers(simulator: Simulator, dueAt: ReadonlyMap<string, number>) {
  const calls = await simulator.control.calls({ outcome: 'ok' });
  const sent = await simulator.control.sent({ kind: 'robot' });
  const messageOf = new Map(sent.map(({ key, payload }) => [sessionOf(String(payload.sessionWebhook)), key]));
  const latencies = new Map<string, number>();
  let duplicated = 0;
  for (const { path, query, at } of calls) {
    const msgId = path === sendPath ? messageOf.get(query.session ?? '') : undefined;
    const due = msgId === undefined ? undefined : dueAt.get(msgId);
    if (msgId === undefined || due === undefined) continue;
    if (latencies.has(msgId)) duplicated += 1;
    else latencies.set(msgId, at - due);
  }
  const sorted = [...latencies.values()];
  return {
    p50Ms: percentile(sorted, 0.5),
    p95Ms: percentile(sorted, 0.95),
    p99Ms: percentile(sorted, 0.99),
    maxMs: Math.max(...sorted),
    lost: dueAt.size - latencies.size,
    // An answer by another way than the session would be one too many, or one that was not asked for.
    duplicated: duplicated + calls.filter(({ path, text }) => path !== sendPath && text !== undefined).length,
  };
}

const sessionOf = (sessionWebhook: string): string => new URL(sessionWebhook).searchParams.get('session') ?? '';
