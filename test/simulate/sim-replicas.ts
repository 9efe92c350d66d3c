import type { Kysely } from 'kysely';
import { createLoop, createMetrics, type Loop } from '@steward/service-kit';
import { createRelay, type OutboxTables } from '@steward/postgres';
import type { AdapterTables } from '../../services/adapter/src/database.ts';
import { createInboundRecorder, type InboundRecorder } from '../../services/adapter/src/record-inbound.ts';
import { consumeReceipts } from '../../services/adapter/src/settle-inbound.ts';
import type { AgentTables } from '../../services/agent-core/src/database.ts';
import { createApprovalWatch } from '../../services/agent-core/src/approvals/watch-approvals.ts';
import { buildTurnContext } from '../../services/agent-core/src/gate.test-support.ts';
import type { ToolBox } from '../../services/agent-core/src/gate/gate-context.ts';
import { recordInbound } from '../../services/agent-core/src/record-inbound.ts';
import { createOutboundReceipts } from '../../services/agent-core/src/settle-outbound.ts';
import { everyLane } from '../../services/agent-core/src/testing.ts';
import { createWorkOn } from '../../services/agent-core/src/work-turns.ts';
import { closeAbandoned, type AttemptResult } from '../../services/outbound-sender/src/close-attempt.ts';
import type { SenderTables } from '../../services/outbound-sender/src/database.ts';
import { deliverNext } from '../../services/outbound-sender/src/deliver.ts';
import type { OpenAttempt } from '../../services/outbound-sender/src/open-attempt.ts';
import { createOutboundRecorder } from '../../services/outbound-sender/src/record-outbound.ts';
import { generous, openerOf } from '../../services/outbound-sender/src/testing.ts';
import type { SimProcess } from './scheduler.ts';
import { createSimDesk } from './sim-policy.ts';
import type { World } from './world.ts';

export const kinds = ['adapter', 'agent-core', 'outbound-sender'] as const;
export type Kind = (typeof kinds)[number];
export type Replica = SimProcess & { kind: Kind; pausedAtMs: number; recorder: InboundRecorder | null };
/** What the world does when a service turns to it: the platform with a message, a system with a call. */
export type Outside = { send: (attempt: OpenAttempt) => AttemptResult; toolsOf: (process: SimProcess) => ToolBox };

/** Wires a service as its `start-….ts` does, without its doors: the functions are its own. */
export function startReplica(world: World, kind: Kind, name: string, outside: Outside): Replica {
  const replica: Replica = { kind, name, isAlive: true, isPaused: false, pausedAtMs: 0, recorder: null };
  const { database, scheduler, bus, log } = world;
  const connect = <T>() => database.connect<T>(kind.replace('-', '_'), replica, scheduler);
  const metrics = createMetrics('simulate');
  const relay = createRelay({ db: connect<OutboxTables>(), bus: bus.of(replica), log, metrics });
  const parts: Record<Kind, () => Loop[]> = {
    adapter: () => startAdapter(world, replica, connect<AdapterTables>(), relay),
    'agent-core': () => startAgentCore(world, replica, connect<AgentTables>(), relay, outside),
    'outbound-sender': () => startSender(world, replica, connect<SenderTables>(), relay, outside),
  };
  for (const loop of [relay, ...parts[kind]()]) loop.start();
  return replica;
}

function startAdapter(world: World, replica: Replica, db: Kysely<AdapterTables>, relay: Loop): Loop[] {
  const { bus, meet } = world;
  replica.recorder = createInboundRecorder({ db, onCommitted: () => relay.wake(), onAltered: () => meet('altered') });
  const consume = (...[queue, handler]: Parameters<Parameters<typeof consumeReceipts>[0]['bus']['consume']>) =>
    Promise.resolve(bus.consume(replica, queue, handler));
  const close = () => Promise.resolve();
  void consumeReceipts({ db, wake: () => relay.wake(), bus: { ...bus.of(replica), close, consume } });
  return [];
}

function startAgentCore(
  world: World,
  replica: Replica,
  db: Kysely<AgentTables>,
  relay: Loop,
  { toolsOf }: Outside,
): Loop[] {
  const { bus, log, now, isGoverned } = world;
  const context = buildTurnContext(db, {
    ...{ now, log, onTold: () => relay.wake() },
    ...{ policy: createSimDesk({ db, log }), tools: toolsOf(replica), isAudited: () => Promise.resolve(true) },
  });
  const workOn = createWorkOn({ ...context, onEnded: () => relay.wake() });
  const turns = createLoop({ name: 'turns', idleMs: 500, log, run: workOn(everyLane) });
  const receipts = createOutboundReceipts(context);
  bus.consume(replica, 'agent-core.inbound.v1', async (message) => {
    if (message.type === 'inbound.received.v1') await recordInbound({ db, now }, message);
    turns.wake();
    relay.wake();
  });
  const approvals = createApprovalWatch(context, () => turns.wake());
  bus.consume(replica, 'agent-core.outbound.v1', async (message) => {
    if (message.type === 'outbound.recorded.v1') await receipts.postpone(message);
    if (message.type === 'outbound.settled.v1') await receipts.settle(message);
  });
  return isGoverned ? [turns, approvals] : [turns];
}

function startSender(world: World, replica: Replica, db: Kysely<SenderTables>, relay: Loop, { send }: Outside): Loop[] {
  const { bus, scheduler, random, log, now } = world;
  const context = {
    ...{ db, now, random, log, limits: generous, metrics: createMetrics('simulate') },
    open: openerOf({ db, now, random }),
    send: (attempt: OpenAttempt) => {
      const label = `sends ${attempt.outboundMessageId.slice(-4)} as ${attempt.number}`;
      return scheduler.perform(replica, label, () => Promise.resolve(send(attempt)));
    },
    onEnded: () => relay.wake(),
  };
  const deliveries = createLoop({ name: 'deliveries', idleMs: 500, log, run: () => deliverNext(context) });
  const takeover = createLoop({
    ...{ name: 'takeover', idleMs: 5_000, log },
    run: async () => {
      if ((await closeAbandoned(context)) > 0) deliveries.wake();
      return 'idle';
    },
  });
  const recordOutbound = createOutboundRecorder({ db, now });
  bus.consume(replica, 'outbound-sender.requests.v1', async (message) => {
    if (message.type === 'outbound.requested.v1' || message.type === 'outbound.requested.v2')
      await recordOutbound(message);
    deliveries.wake();
    relay.wake();
  });
  return [deliveries, takeover];
}
