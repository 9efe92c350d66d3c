import { buildDefaultFaults } from './faults.ts';
import type { Faults, FaultsPatch } from './faults.ts';
import { createExpiring } from './expiring.ts';
import type { Expiring } from './expiring.ts';
import { createLimits } from './limits.ts';
import type { Limits } from './limits.ts';
import { createRandom } from './random.ts';
import { createRecordLog } from './record-log.ts';
import type { RecordLog } from './record-log.ts';
import type { CallRecord, CardRecord, CardVersion, ChatRecord, EffectRecord, PushRecord } from './records.ts';
import { createSystems } from './systems-state.ts';
import type { Systems } from './systems-state.ts';
import { createTimers } from './timers.ts';
import type { Timers } from './timers.ts';
import type { SimulatorApp, SimulatorWorld } from './world.ts';

/** What the simulator says about itself; a structured logger of the usual shape fits. */
export type SimulatorLog = { warn(event: string, fields?: Record<string, unknown>): void };

export type Session = { robotCode: string; conversationId: string; staffId?: string };
export type Ticket = { appKey: string; topics: string[] };
export type SentKey = { robotCode: string; staffIds: string[]; conversationId?: string; recalled?: boolean };

/** Everything the surfaces share: the world, the switches in force, what is remembered, and the clock. */
export type Simulation = {
  world: SimulatorWorld;
  faults: Faults;
  random: () => number;
  publicUrl: string;
  readonly now: () => number;
  readonly log: SimulatorLog;
  readonly timers: Timers;
  readonly limits: Limits;
  readonly calls: RecordLog<CallRecord>;
  readonly chat: RecordLog<ChatRecord>;
  readonly pushes: RecordLog<PushRecord>;
  readonly tokens: Expiring<string>;
  readonly tickets: Expiring<Ticket>;
  readonly sessions: Expiring<Session>;
  readonly sentKeys: Expiring<SentKey>;
  /** msgUuid values already sent by a custom robot. */
  readonly msgUuids: Set<string>;
  /** Failed encrypted events, oldest first, and how many of them the last read returned. */
  readonly failedEvents: { rows: Record<string, unknown>[]; returned: number };
  /** Cards by outTrackId, every version of every card in order, and where clicks of HTTP cards go, by app and route key. */
  readonly cards: Map<string, CardRecord>;
  readonly cardVersions: RecordLog<CardVersion>;
  readonly cardRoutes: Map<string, { url: string; secret?: string }>;
  /** The pretend company system and what was done to it. */
  systems: Systems;
  readonly effects: RecordLog<EffectRecord>;
  /** A schedule's time on this simulator's clock: waits, lifetimes and windows; never response time limits. */
  scaled(ms: number): number;
};

const REMEMBERED = 200_000;

export function createSimulation(o: {
  world: SimulatorWorld;
  now: () => number;
  log: SimulatorLog;
  recordLimit: number;
}): Simulation {
  const { now } = o;
  const faults = buildDefaultFaults();
  const simulation: Simulation = {
    world: o.world,
    faults,
    random: createRandom(faults.seed),
    publicUrl: '',
    now,
    log: o.log,
    timers: createTimers(),
    limits: createLimits(now),
    calls: createRecordLog(o.recordLimit),
    chat: createRecordLog(o.recordLimit),
    pushes: createRecordLog(o.recordLimit),
    tokens: createExpiring({ now, limit: 10_000 }),
    tickets: createExpiring({ now, limit: 10_000 }),
    sessions: createExpiring({ now, limit: REMEMBERED }),
    sentKeys: createExpiring({ now, limit: REMEMBERED }),
    msgUuids: new Set(),
    failedEvents: { rows: [], returned: 0 },
    cards: new Map(),
    cardVersions: createRecordLog(o.recordLimit),
    cardRoutes: new Map(),
    systems: createSystems(o.world),
    effects: createRecordLog(o.recordLimit),
    scaled: (ms) => ms * simulation.faults.timeScale,
  };
  return simulation;
}

/** Lays switches over those in force; a given seed starts the random numbers again. */
export function applyFaults(simulation: Simulation, patch: FaultsPatch): void {
  simulation.faults = { ...simulation.faults, ...patch };
  if (patch.seed !== undefined) simulation.random = createRandom(patch.seed);
}

/** Default switches, nothing remembered, nothing pending. The world and living Stream connections stay. */
export function resetSimulation(simulation: Simulation): void {
  applyFaults(simulation, buildDefaultFaults());
  simulation.timers.cancelAll();
  simulation.limits.clear();
  simulation.msgUuids.clear();
  simulation.failedEvents.rows = [];
  simulation.cards.clear();
  simulation.cardRoutes.clear();
  simulation.systems = createSystems(simulation.world);
  for (const log of allLogs(simulation)) log.clear();
  for (const store of [simulation.tokens, simulation.tickets, simulation.sessions, simulation.sentKeys]) {
    store.forget(() => true);
  }
}

/** Every log that somebody may wait at. */
export function allLogs(s: Simulation): { clear(): void; close(): void }[] {
  return [s.calls, s.chat, s.pushes, s.cardVersions, s.effects];
}

export function findAppByKey(world: SimulatorWorld, appKey: string): SimulatorApp | undefined {
  return world.apps.find((app) => app.appKey === appKey);
}

/** The app of a robot, named by robotCode or by the app's name. */
export function findAppOfRobot(world: SimulatorWorld, robot: string): SimulatorApp | undefined {
  return world.apps.find((app) => app.robotCode === robot) ?? world.apps.find((app) => app.name === robot);
}

/** Takes one use of the first scripted fault for this path, and drops the script when it is used up. */
export function takeScripted<T extends { path: string; times: number }>(scripts: T[], path: string): T | undefined {
  const at = scripts.findIndex((script) => script.path === path || script.path === '*');
  const script = scripts[at];
  if (script === undefined) return undefined;
  script.times -= 1;
  if (script.times === 0) scripts.splice(at, 1);
  return script;
}
