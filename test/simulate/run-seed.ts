import { mock } from 'node:test';
import { createLogger } from '@steward/service-kit';
import { checkPromises, type Violation } from './check-promises.ts';
import { createRandom, pick } from '../random.ts';
import { createScheduler, type Mishap, type SimProcess } from './scheduler.ts';
import { createSimBus } from './sim-bus.ts';
import type { SimDatabase } from './sim-database.ts';
import { createSimDingTalk } from './sim-dingtalk.ts';
import { createSimPeople } from './sim-people.ts';
import { seedRandomness } from './seed-randomness.ts';
import { kinds, startReplica, type Kind, type Replica } from './sim-replicas.ts';
import type { World } from './world.ts';

/** What a seed came to; `met` counts what befell it. */
export type SeedResult = {
  seed: number;
  violations: Violation[];
  steps: number;
  hash: string;
  met: Record<string, number>;
  trace: readonly string[];
};

/** The simulated world begins here: the audit log has its partitions around the present. */
const startMs = Date.now();
/** Within so many steps things go wrong; then everybody lives, and what is left must come to its end. */
const hostileSteps = 110;
const maxSteps = 4_000;
/** How time goes on when nobody can do anything without it: beyond every lease, back-off and wait, one after the other. */
const leapsMs = [3, 30, 600, 5_000, 16_000, 50_000, 130_000, 300_000, 700_000];
/** Leaps of the hostile time: up to 50 s, beyond every lease. */
const hostileLeaps = 6;
const maxLeaps = 60;
/** In the end time goes on ever faster: somebody looks for work twice a second all the while, and what is left may wait for ten minutes. */
const leapsOfAKind = 20;
/** Nobody is paused for longer: an outage of two minutes may cost the order of two answers (ADR 0004). */
const longestPauseMs = 100_000;
const replicasEach = 2;

/** Plays one seed: people say things, processes die, pause and lose answers, the bus and DingTalk misbehave. */
export async function runSeed(database: SimDatabase, seed: number): Promise<SeedResult> {
  const random = createRandom(seed);
  const met: Record<string, number> = {};
  const meet = (what: string): void => {
    met[what] = (met[what] ?? 0) + 1;
  };
  const replicas: Replica[] = [];
  let steps = 0;
  let nowMs = startMs;
  const isHostile = () => steps < hostileSteps;
  const kill = async (process: SimProcess) => {
    process.isAlive = false;
    meet('deaths');
    await database.forget(process);
    bus.forget(process);
  };
  const scheduler = createScheduler(random, kill);
  const bus = createSimBus({ scheduler, random, isHostile });
  const log = createLogger({ service: 'simulate', level: 'error', write: () => undefined });
  const world: World = { database, scheduler, bus, random, log, now: () => new Date(nowMs), isHostile, meet };

  mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'Date'], now: startMs });
  const seeded = seedRandomness(random);
  database.setClock(nowMs);
  await database.rows('select setseed($1)', [(seed % 1_000) / 1_000]);
  const dingTalk = createSimDingTalk(world);
  const people = createSimPeople(world, seed, replicas);
  const start = (kind: Kind) => {
    const number = replicas.filter((one) => one.kind === kind).length + 1;
    replicas.push(startReplica(world, kind, `${kind} ${number}`, dingTalk.send));
  };
  const leap = (ms: number) => {
    nowMs += ms;
    database.setClock(nowMs);
    mock.timers.tick(ms);
    scheduler.note(`${ms} ms go by`);
  };
  /** What goes wrong between two steps, beside what befalls an operation (`mishapOf`). */
  const trouble = () => {
    const alive = replicas.filter(({ isAlive }) => isAlive);
    if (random() < 0.01 && alive.length > 0) {
      const one = pick(random, alive);
      Object.assign(one, { isPaused: !one.isPaused, pausedAtMs: nowMs });
      meet('pauses');
    }
    if (random() < 0.006) {
      bus.wipe();
      meet('wiped brokers');
    }
  };
  const mishapOf = (): Mishap => {
    const chance = isHostile() ? random() : 1;
    if (chance < 0.01) return 'dies before';
    if (chance < 0.02) return 'dies after';
    if (chance >= 0.035) return 'none';
    meet('lost answers');
    return 'answer lost';
  };
  /** Those who died come back: soon, and in the end at once. */
  const restart = () => {
    for (const kind of kinds) {
      const alive = replicas.filter((one) => one.kind === kind && one.isAlive);
      if (alive.length < replicasEach && (!isHostile() || random() < 0.05)) start(kind);
    }
  };

  try {
    for (const kind of kinds) for (let n = 0; n < replicasEach; n += 1) start(kind);
    let isOver = false;
    let calmLeaps = 0;
    for (let leaps = 0; !isOver && steps < maxSteps && leaps <= maxLeaps; steps += 1) {
      if (isHostile() || !people.isEverythingAcked()) people.deliver();
      if (!isHostile()) for (const one of replicas) one.isPaused = false;
      restart();
      if (isHostile()) trouble();
      if (await scheduler.step(mishapOf)) {
        if (random() < 0.02) leap(pick(random, [1, 20, 300, 6_000]));
        leaps = 0;
      } else if (!isHostile() && bus.isEmpty() && people.isEverythingAcked() && (await isQuiet(database))) {
        isOver = true;
      } else {
        leaps += 1;
        if (!isHostile()) calmLeaps += 1;
        const wished = Math.max(leaps, Math.floor(calmLeaps / leapsOfAKind));
        const ms = leapsMs[Math.min(wished, isHostile() ? hostileLeaps : leapsMs.length) - 1] ?? 0;
        for (const one of replicas) if (nowMs + ms - one.pausedAtMs > longestPauseMs) one.isPaused = false;
        leap(ms);
      }
    }
    meet(isOver ? 'ended' : 'never ended');
    const { questions } = people;
    const violations = await checkPromises({ database, questions, heard: dingTalk.heard, isOver, dead: bus.dead });
    met['takeovers'] = await countTakeovers(database);
    return { seed, violations, steps, hash: scheduler.hash(), met, trace: scheduler.trace() };
  } finally {
    for (const one of replicas) {
      one.isAlive = false;
      await database.forget(one);
    }
    mock.timers.reset();
    seeded.restore();
    await database.rows(clear);
  }
}

async function countTakeovers(database: SimDatabase): Promise<number> {
  const [row] = await database.rows<{ count: number }>(
    `select count(*)::int as count from audit.entry where kind = 'turn.taken_over'`,
  );
  return row?.count ?? 0;
}

/** Nothing is left to do in any service. */
async function isQuiet(database: SimDatabase): Promise<boolean> {
  const [row] = await database.rows<{ open: number }>(`select (
    (select count(*) from adapter.outbox) + (select count(*) from adapter.inbound_event where settled_at is null)
    + (select count(*) from agent_core.outbox) + (select count(*) from agent_core.turn where ended_at is null)
    + (select count(*) from outbound_sender.outbox)
    + (select count(*) from outbound_sender.outbound_message where ended_at is null))::int as open`);
  return row?.open === 0;
}

/** Emptied to the last page: where rows lie decides between those that are equal otherwise, and a seed must not hear of the one before. */
const clear = `delete from audit.entry; truncate agent_core.transcript, agent_core.outbound_tail, agent_core.turn, agent_core.conversation,
  agent_core.outbox, agent_core.inbox, adapter.outbox, adapter.inbound_event, adapter.conversation_counter,
  outbound_sender.outbox, outbound_sender.delivery_attempt, outbound_sender.outbound_message, outbound_sender.inbox,
  outbound_sender.send_budget cascade`;
