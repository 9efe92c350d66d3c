import { mock } from 'node:test';
import { createLogger } from '@steward/service-kit';
import { checkApprovals } from './check-approvals.ts';
import { checkPromises, type Violation } from './check-promises.ts';
import { createRandom, pick } from '../random.ts';
import { createScheduler, type Mishap, type SimProcess } from './scheduler.ts';
import { createSimBus } from './sim-bus.ts';
import type { SimDatabase } from './sim-database.ts';
import { createSimDingTalk } from './sim-dingtalk.ts';
import { createSimPeople } from './sim-people.ts';
import { createSimSystem } from './sim-system.ts';
import { seedRandomness } from './seed-randomness.ts';
import { kinds, startReplica, type Kind, type Outside, type Replica } from './sim-replicas.ts';
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
const hostileSteps = { plain: 110, governed: 450 };
/** In one seed of so many people ask for changes and decide on them: such a seed takes more than three times as long. */
export const governedEvery = 8;
const maxSteps = 4_000;
/** How time goes on when nobody can do anything without it: beyond every lease, back-off and wait, one after the other. */
const leapsMs = [3, 30, 600, 5_000, 16_000, 50_000, 130_000, 300_000, 700_000];
/** Leaps of the hostile time: up to 50 s, beyond every lease. */
const hostileLeaps = 6;
const maxLeaps = 60;
/** Somebody who was asked decides later, or not at all. */
const waitForPeopleMs = 16_000;
/** In the end time goes on ever faster: somebody looks for work twice a second all the while, and what is left may wait for ten minutes. */
const leapsOfAKind = 20;
/** Where a change waits for people, time goes on faster in the end: those who look for work each second would do little else. */
const leapsAhead = 3;
/** Nobody is paused for longer: an outage of two minutes may cost the order of two answers (ADR 0004). */
const longestPauseMs = 100_000;
const replicasEach = 2;
/** A change takes many steps: as much goes wrong as elsewhere, over more of them, or no turn would come through. */
const governedRisk = 0.35;
/** There are few calls of tools, and all depends on what befalls them. */
const callRisk = 15;

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
  const isGoverned = seed % governedEvery === 0;
  const risk = isGoverned ? governedRisk : 1;
  const isHostile = () => steps < (isGoverned ? hostileSteps.governed : hostileSteps.plain);
  const kill = async (process: SimProcess) => {
    process.isAlive = false;
    meet('deaths');
    await database.forget(process);
    bus.forget(process);
  };
  const scheduler = createScheduler(random, kill);
  const bus = createSimBus({ scheduler, random, isHostile });
  const log = createLogger({ service: 'simulate', level: 'error', write: () => undefined });
  const now = () => new Date(nowMs);
  const world: World = { database, scheduler, bus, random, log, now, isHostile, isGoverned, meet };

  mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'Date'], now: startMs });
  const seeded = seedRandomness(random);
  // A process that was paused finds that by this clock.
  performance.now = () => nowMs - startMs;
  database.setClock(nowMs);
  await database.rows('select setseed($1)', [(seed % 1_000) / 1_000]);
  const dingTalk = createSimDingTalk(world);
  const system = createSimSystem(world);
  const people = createSimPeople(world, seed, replicas, dingTalk.heard);
  const outside: Outside = { send: dingTalk.send, toolsOf: system.toolsOf };
  const start = (kind: Kind) => {
    const number = replicas.filter((one) => one.kind === kind).length + 1;
    replicas.push(startReplica(world, kind, `${kind} ${number}`, outside));
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
    if (random() < 0.01 * risk && alive.length > 0) {
      const one = pick(random, alive);
      Object.assign(one, { isPaused: !one.isPaused, pausedAtMs: nowMs });
      meet('pauses');
    }
    if (random() < 0.006 * risk) {
      bus.wipe();
      meet('wiped brokers');
    }
  };
  const mishapOf = (_: SimProcess, label: string): Mishap => {
    const chance = isHostile() ? random() / (label.startsWith('calls ') ? callRisk : risk) : 1;
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
      people.deliver();
      if (!isHostile()) for (const one of replicas) one.isPaused = false;
      restart();
      if (isHostile()) trouble();
      if (await scheduler.step(mishapOf)) {
        if (random() < 0.02) leap(pick(random, [1, 20, 300, 6_000]));
        leaps = 0;
        continue;
      }
      const left = isHostile() || !bus.isEmpty() ? 'work' : await findWork(database);
      if (left === 'nothing' && people.isSilent()) {
        isOver = true;
      } else if (left !== 'work' && people.isEverythingAcked()) {
        // Only people, or their clocks, have something to do.
        leap(waitForPeopleMs);
      } else {
        leaps += 1;
        if (!isHostile()) calmLeaps += 1;
        const ahead = isGoverned && !isHostile() ? leapsAhead : 0;
        const wished = Math.max(leaps + ahead, Math.floor(calmLeaps / leapsOfAKind));
        const ms = leapsMs[Math.min(wished, isHostile() ? hostileLeaps : leapsMs.length) - 1] ?? 0;
        for (const one of replicas) if (nowMs + ms - one.pausedAtMs > longestPauseMs) one.isPaused = false;
        leap(ms);
      }
    }
    meet(isOver ? 'ended' : 'never ended');
    const { questions, asks } = people;
    const said = { database, questions, asks, heard: dingTalk.heard };
    const violations = [
      ...(await checkPromises({ ...said, isOver, dead: bus.dead })),
      ...(await checkApprovals({ ...said, changes: system.changes })),
    ];
    Object.assign(met, await countEvents(database));
    return { seed, violations, steps, hash: scheduler.hash(), met, trace: scheduler.trace() };
  } finally {
    for (const one of replicas) {
      one.isAlive = false;
      await database.forget(one);
    }
    mock.timers.reset();
    Reflect.deleteProperty(performance, 'now');
    seeded.restore();
    await database.rows(clear);
  }
}

/** What the services say of themselves that befell them. */
async function countEvents(database: SimDatabase): Promise<Record<string, number>> {
  const rows = await database.rows<{ what: string; count: number }>(
    `select what, count(*)::int as count from audit.entry join (values
        ('turn.taken_over', '', 'takeovers'), ('approval.requested', '', 'requests'), ('approval.approved', '', 'approvals'),
        ('approval.denied', '', 'denials'), ('approval.expired', '', 'expiries'), ('approval.refused', '', 'refused votes'),
        ('attempt.opened', '', 'governed calls'), ('call.ended', 'unknown', 'unknown calls')) as met (kind, outcome, what)
      on entry.kind = met.kind and met.outcome in ('', entry.outcome)
     group by what`,
  );
  return Object.fromEntries(rows.map(({ what, count }) => [what, count]));
}

/** Whether a service has something left to do, or only people who were asked. */
async function findWork(database: SimDatabase): Promise<'work' | 'people' | 'nothing'> {
  const [row] = await database.rows<{ open: number; waiting: number }>(`select (
    (select count(*) from adapter.outbox) + (select count(*) from adapter.inbound_event where settled_at is null)
    + (select count(*) from agent_core.outbox)
    + (select count(*) from agent_core.turn where ended_at is null and status <> 'waiting')
    + (select count(*) from agent_core.tool_call where ended_at is null and status <> 'waiting')
    + (select count(*) from agent_core.approval_request where status = 'approved')
    + (select count(*) from agent_core.tool_attempt where closed_at is null)
    + (select count(*) from outbound_sender.outbox)
    + (select count(*) from outbound_sender.outbound_message where ended_at is null))::int as open,
    (select count(*) from agent_core.turn where status = 'waiting')::int as waiting`);
  if (row?.open !== 0) return 'work';
  return row.waiting === 0 ? 'nothing' : 'people';
}

/** Emptied to the last page: where rows lie decides between those that are equal otherwise, and a seed must not hear of the one before. */
const clear = `delete from audit.entry; truncate audit.detail, agent_core.active_policy, agent_core.tool_call, agent_core.approval_request,
  agent_core.approval_vote, agent_core.approval_place, agent_core.tool_grant, agent_core.tool_attempt, agent_core.transcript, agent_core.outbound_tail, agent_core.turn, agent_core.conversation,
  agent_core.outbox, agent_core.inbox, adapter.outbox, adapter.inbound_event, adapter.conversation_counter,
  outbound_sender.outbox, outbound_sender.delivery_attempt, outbound_sender.outbound_message, outbound_sender.inbox,
  outbound_sender.send_budget cascade`;
