import crypto, { createHash } from 'node:crypto';
import { mock } from 'node:test';
import { createLogger, createLoop, createMetrics, type Loop } from '@steward/service-kit';
import { createRelay, type OutboxTables } from '@steward/postgres';
import { createInboundRecorder, type InboundRecorder } from '../../services/adapter/src/record-inbound.ts';
import { consumeReceipts } from '../../services/adapter/src/settle-inbound.ts';
import { buildInbound } from '../../services/adapter/src/testing.ts';
import type { AdapterTables } from '../../services/adapter/src/database.ts';
import type { AgentTables } from '../../services/agent-core/src/database.ts';
import { buildTurnContext } from '../../services/agent-core/src/gate.test-support.ts';
import { recordInbound } from '../../services/agent-core/src/record-inbound.ts';
import { createOutboundReceipts } from '../../services/agent-core/src/settle-outbound.ts';
import { buildReceived, everyLane } from '../../services/agent-core/src/testing.ts';
import { createWorkOn } from '../../services/agent-core/src/work-turns.ts';
import { closeAbandoned, type AttemptResult } from '../../services/outbound-sender/src/close-attempt.ts';
import type { SenderTables } from '../../services/outbound-sender/src/database.ts';
import { isRepeatable } from '../../services/outbound-sender/src/decide-next.ts';
import { deliverNext } from '../../services/outbound-sender/src/deliver.ts';
import type { OpenAttempt } from '../../services/outbound-sender/src/open-attempt.ts';
import { recordOutbound } from '../../services/outbound-sender/src/record-outbound.ts';
import { generous } from '../../services/outbound-sender/src/testing.ts';
import { checkPromises, type Heard, type Question, type Violation } from './check-promises.ts';
import { createRandom, pick } from './random.ts';
import { createScheduler, type Mishap, type SimProcess } from './scheduler.ts';
import { createSimBus } from './sim-bus.ts';
import type { SimDatabase } from './sim-database.ts';

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
const rooms = ['cid-1', 'cid-2'];
/** Within so many steps things go wrong; then everybody lives, and what is left must come to its end. */
const hostileSteps = 110;
/** What the platform refuses or does not answer, in one seed. */
const maxRefusals = 4;
const maxSteps = 4_000;
/** How time goes on when nobody can do anything without it: beyond every lease, back-off and wait, one after the other. */
const leapsMs = [3, 30, 600, 5_000, 16_000, 50_000, 130_000, 300_000, 700_000, 700_000, 700_000];
/** Leaps of the hostile time: up to 50 s, beyond every lease. */
const hostileLeaps = 6;
/** Nobody is paused for longer: an outage of two minutes may cost the order of two answers (ADR 0004). */
const longestPauseMs = 100_000;
const kinds = ['adapter', 'agent-core', 'outbound-sender'] as const;
type Kind = (typeof kinds)[number];
type Replica = SimProcess & { kind: Kind; pausedAtMs: number; loops: Loop[]; recorder: InboundRecorder | null };

/** Plays one seed: people say things, processes die, pause and lose answers, the bus and DingTalk misbehave. */
export async function runSeed(database: SimDatabase, seed: number): Promise<SeedResult> {
  const random = createRandom(seed);
  const met: Record<string, number> = {};
  const meet = (what: string) => (met[what] = (met[what] ?? 0) + 1);
  const silent = createLogger({ service: 'simulate', level: 'error', write: () => undefined });
  const replicas: Replica[] = [];
  const heard: Heard[] = [];
  let steps = 0;
  let refusals = 0;
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

  mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'Date'], now: startMs });
  const seeded = seedRandomness(random);
  database.setClock(nowMs);
  await database.rows('delete from outbound_sender.send_budget');
  await database.rows('select setseed($1)', [(seed % 1_000) / 1_000]);
  const leap = async (ms: number) => {
    nowMs += ms;
    database.setClock(nowMs);
    mock.timers.tick(ms);
    scheduler.note(`${ms} ms go by`);
  };

  const startReplica = (kind: Kind) => {
    const name = `${kind} ${replicas.filter((one) => one.kind === kind).length + 1}`;
    const replica: Replica = { kind, name, isAlive: true, isPaused: false, pausedAtMs: 0, loops: [], recorder: null };
    replicas.push(replica);
    const metrics = createMetrics('simulate');
    const schema = kind.replace('-', '_');
    const connect = <T>() => database.connect<T>(schema, replica, scheduler);
    const relay = createRelay({ db: connect<OutboxTables>(), bus: bus.of(replica), log: silent, metrics });
    replica.loops.push(relay);
    if (kind === 'adapter') startAdapter(replica, connect<AdapterTables>(), relay);
    if (kind === 'agent-core') startAgentCore(replica, connect<AgentTables>(), relay);
    if (kind === 'outbound-sender') startSender(replica, connect<SenderTables>(), relay);
    for (const loop of replica.loops) loop.start();
  };

  function startAdapter(replica: Replica, db: ReturnType<typeof database.connect<AdapterTables>>, relay: Loop) {
    replica.recorder = createInboundRecorder({ db, onCommitted: () => relay.wake(), onAltered: () => meet('altered') });
    void consumeReceipts({
      db,
      wake: () => relay.wake(),
      bus: {
        ...bus.of(replica),
        close: () => Promise.resolve(),
        consume: (queue, handler) => Promise.resolve(bus.consume(replica, queue, handler)),
      },
    });
  }

  function startAgentCore(replica: Replica, db: ReturnType<typeof database.connect<AgentTables>>, relay: Loop) {
    const now = () => new Date(nowMs);
    const context = buildTurnContext(db, { now, log: silent, onTold: () => relay.wake() });
    const workOn = createWorkOn({ ...context, onEnded: () => relay.wake() });
    const turns = createLoop({
      name: 'turns',
      idleMs: 500,
      log: silent,
      run: (stopping) => workOn(everyLane, stopping),
    });
    replica.loops.push(turns);
    const receipts = createOutboundReceipts(context);
    bus.consume(replica, 'agent-core.inbound.v1', async (message) => {
      if (message.type === 'inbound.received.v1') await recordInbound({ db, now }, message);
      turns.wake();
      relay.wake();
    });
    bus.consume(replica, 'agent-core.outbound.v1', async (message) => {
      if (message.type === 'outbound.recorded.v1') await receipts.postpone(message);
      if (message.type === 'outbound.settled.v1') await receipts.settle(message);
    });
  }

  function startSender(replica: Replica, db: ReturnType<typeof database.connect<SenderTables>>, relay: Loop) {
    const now = () => new Date(nowMs);
    const context = {
      ...{ db, now, random, limits: generous, quotas: [], log: silent, metrics: createMetrics('simulate') },
      send: (attempt: OpenAttempt) =>
        scheduler.perform(replica, `sends ${attempt.outboundMessageId.slice(-4)} as ${attempt.number}`, () =>
          Promise.resolve(dingTalk(attempt)),
        ),
      isHeldBack: () => false,
      onEnded: () => relay.wake(),
    };
    const deliveries = createLoop({ name: 'deliveries', idleMs: 500, log: silent, run: () => deliverNext(context) });
    const takeover = createLoop({
      ...{ name: 'takeover', idleMs: 5_000, log: silent },
      run: async () => ((await closeAbandoned(context)) > 0 ? (deliveries.wake(), 'idle') : 'idle'),
    });
    replica.loops.push(deliveries, takeover);
    bus.consume(replica, 'outbound-sender.requests.v1', async (message) => {
      if (message.type === 'outbound.requested.v1' || message.type === 'outbound.requested.v2')
        await recordOutbound({ db, now }, message);
      deliveries.wake();
      relay.wake();
    });
  }

  /** The platform takes it, refuses it, or takes it and is not heard. */
  function dingTalk(attempt: OpenAttempt): AttemptResult {
    const outcome = (kind: AttemptResult['outcome'], code: string | null): AttemptResult => ({
      ...{ outcome: kind, code, processQueryKey: null, retryAfterMs: null },
    });
    const take = () => {
      const isMarked = attempt.unknownCount > 0 && !isRepeatable(attempt.path);
      heard.push({ outboundMessageId: attempt.outboundMessageId, part: attempt.part, text: attempt.text, isMarked });
    };
    const chance = refusals < maxRefusals ? random() : 1;
    if (chance < 0.3) refusals += 1;
    if (chance < 0.1) return (meet('refusals'), outcome('retryable', 'QPS'));
    if (chance < 0.18) return (take(), meet('unknowns'), outcome('unknown', 'TIMEOUT'));
    if (chance < 0.25) return (meet('unknowns'), outcome('unknown', 'RESET'));
    if (chance < 0.3) return (meet('permanents'), outcome('permanent', 'NO_PERMISSION'));
    take();
    return outcome('accepted', null);
  }

  const questions: (Question & { inFlight: Replica | null })[] = Array.from(
    { length: 2 + Math.floor(random() * 2) },
    (_, at) => ({ msgId: `${seed}-${at}`, room: pick(random, rooms), isAcked: false, inFlight: null }),
  );
  /** A callback of the platform, which comes again until it is acknowledged, and sometimes after that. */
  const post = (question: (typeof questions)[number]) => {
    const adapters = replicas.filter((one) => one.kind === 'adapter' && one.isAlive && !one.isPaused);
    if (adapters.length === 0) return;
    const adapter = pick(random, adapters);
    if (adapter.recorder === null) return;
    question.inFlight = adapter;
    const received = buildReceived({ room: question.room, robotCode: 'dingtest', text: `/q-${question.msgId}` });
    const inbound = buildInbound({
      ...{ source: 'dingtest', sourceId: question.msgId, conversationId: question.room },
      bodyHashHex: createHash('sha256').update(question.msgId).digest('hex'),
    });
    const { correlationId } = inbound;
    const body = { ...received.body, inboundEventId: inbound.id, msgId: question.msgId };
    const message = { ...received, correlationId, body };
    adapter.recorder.record({ ...inbound, message }).then(
      ({ duplicate }) => {
        scheduler.note(`${adapter.name}: answers 200 to ${question.msgId}`);
        if (duplicate) meet('redeliveries');
        question.isAcked = true;
        question.inFlight = null;
      },
      () => (question.inFlight = null),
    );
  };
  const postSome = () => {
    for (const question of questions) {
      if (question.inFlight?.isAlive === false) question.inFlight = null;
      const isDue = !question.isAcked || (isHostile() && random() < 0.03);
      if (isDue && question.inFlight === null && random() < 0.5) post(question);
    }
  };

  const mishapOf = (_process: SimProcess, _label: string): Mishap => {
    if (!isHostile()) return 'none';
    const chance = random();
    if (chance < 0.01) return 'dies before';
    if (chance < 0.02) return 'dies after';
    if (chance < 0.035) return (meet('lost answers'), 'answer lost');
    return 'none';
  };

  try {
    for (const kind of kinds) for (let n = 0; n < 2; n += 1) startReplica(kind);
    let leaps = 0;
    let isOver = false;
    while (!isOver && steps < maxSteps) {
      if (isHostile()) postSome();
      else {
        for (const one of replicas) one.isPaused = false;
        if (questions.some(({ isAcked }) => !isAcked)) postSome();
      }
      for (const kind of kinds) {
        const alive = replicas.filter((one) => one.kind === kind && one.isAlive);
        if (alive.length < 2 && (!isHostile() || random() < 0.05)) startReplica(kind);
      }
      if (isHostile() && random() < 0.01) {
        const one = pick(
          random,
          replicas.filter(({ isAlive }) => isAlive),
        );
        one.isPaused = !one.isPaused;
        one.pausedAtMs = nowMs;
        meet('pauses');
      }
      if (isHostile() && random() < 0.004) {
        bus.wipe();
        meet('wiped brokers');
      }
      const did = await scheduler.step(mishapOf);
      steps += 1;
      if (did) {
        if (random() < 0.02) await leap(pick(random, [1, 20, 300, 6_000]));
        leaps = 0;
        continue;
      }
      if (!isHostile() && bus.isEmpty() && (await isQuiet(database, questions))) isOver = true;
      else {
        const most = isHostile() ? hostileLeaps : leapsMs.length;
        const ms = leapsMs[Math.min((leaps += 1), most) - 1] ?? 700_000;
        for (const one of replicas) if (nowMs + ms - one.pausedAtMs > longestPauseMs) one.isPaused = false;
        await leap(ms);
      }
      if (leaps > 60) break;
    }
    meet(isOver ? 'ended' : 'never ended');
    const violations = await checkPromises({ database, questions, heard, isOver, dead: bus.dead });
    const [taken] = await database.rows<{ count: number }>(
      `select count(*)::int as count from agent_core.turn t join audit.entry e on e.subject_id = t.id::text and e.kind = 'turn.taken_over'`,
    );
    met['takeovers'] = taken?.count ?? 0;
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

async function isQuiet(database: SimDatabase, questions: readonly Question[]): Promise<boolean> {
  if (questions.some(({ isAcked }) => !isAcked)) return false;
  const [row] = await database.rows<{ open: number }>(`select (
    (select count(*) from adapter.outbox) + (select count(*) from adapter.inbound_event where settled_at is null)
    + (select count(*) from agent_core.outbox) + (select count(*) from agent_core.turn where ended_at is null)
    + (select count(*) from outbound_sender.outbox)
    + (select count(*) from outbound_sender.outbound_message where ended_at is null))::int as open`);
  return row?.open === 0;
}

const clear = `
  delete from audit.entry;
  delete from agent_core.transcript; delete from agent_core.outbound_tail; delete from agent_core.turn;
  delete from agent_core.conversation; delete from agent_core.outbox; delete from agent_core.inbox;
  delete from adapter.outbox; delete from adapter.inbound_event; delete from adapter.conversation_counter;
  delete from outbound_sender.outbox; delete from outbound_sender.delivery_attempt;
  delete from outbound_sender.outbound_message; delete from outbound_sender.inbox; delete from outbound_sender.send_budget;`;

/** Everything that draws numbers draws them from the seed, so that a seed is the same run again. */
function seedRandomness(random: () => number): { restore(): void } {
  const replaced = crypto as { randomBytes: unknown; randomUUIDv7?: unknown };
  const [drawn, bytes, uuid] = [Math.random, replaced.randomBytes, replaced.randomUUIDv7];
  Math.random = random;
  replaced.randomBytes = (count: number) =>
    Buffer.from(Array.from({ length: count }, () => Math.floor(random() * 256)));
  replaced.randomUUIDv7 = undefined;
  return {
    restore: () => {
      Math.random = drawn;
      Object.assign(replaced, { randomBytes: bytes, randomUUIDv7: uuid });
    },
  };
}
