import { sql } from 'kysely';
import { createLoop, type Loop } from '@steward/service-kit';
import type { Lane } from '@steward/contracts';
import { createClaimer, fenced, fenceOf, type ClaimedTurn } from './claim-turn.ts';
import { endTurn } from './end-turn.ts';
import { createLeases, type Leases } from './hold-leases.ts';
import { runTurn, type TurnContext, type TurnOutcome } from './run-turn.ts';
import { putAside } from './wake-turn.ts';

/**
 * Turns worked on at once in this process; a conversation holds at most one for each lane. Commands have slots of their
 * own: however many turns wait for the model, none of them waits.
 */
const slots: readonly { name: string; lanes: readonly Lane[]; concurrency: number }[] = [
  { name: 'control-turns', lanes: ['control'], concurrency: 2 },
  { name: 'turns', lanes: ['approval', 'answer', 'bulk'], concurrency: 4 },
];
/** Finds turns whose wake-up was lost and leases that ran out. */
const tickMs = 500;

/** The worker: claims, runs and ends turns, as many at once as it may, in as many replicas as there are. */
export function createTurnWorker(o: WorkerOptions): TurnWorker {
  const workOn = createWorkOn(o);
  const loops = slots.map(({ name, lanes, concurrency }) => ({
    lanes,
    loop: createLoop({ name, idleMs: tickMs, concurrency, log: o.log, run: workOn(lanes) }),
  }));
  return {
    start: () => loops.forEach(({ loop }) => loop.start()),
    wake: (lane?: Lane) =>
      loops.forEach(({ lanes, loop }) => {
        if (lane === undefined || lanes.includes(lane)) loop.wake();
      }),
    stop: async () => {
      await Promise.all(loops.map(({ loop }) => loop.stop()));
    },
  };
}

/** A loop that can be told in which lane there may be work; without a lane: in any. */
export type TurnWorker = Loop & { wake(lane?: Lane): void };

type WorkerOptions = TurnContext & { onEnded: () => void };

/** For some lanes: works on one turn of theirs, if any is due. */
export function createWorkOn(o: WorkerOptions) {
  const ended = o.metrics.counter('steward_turn_ended_total', 'Turns by how they came out', ['outcome']);
  const lost = o.metrics.counter(
    'steward_turn_lost_total',
    'Turns that another process took over while this one worked',
    [],
  );
  const takenOver = o.metrics.counter(
    'steward_turn_taken_over_total',
    'Turns that this process took over because their lease had ended',
    [],
  );
  const leases = createLeases(o);
  const duration = o.metrics.histogram('steward_turn_seconds', 'From recording to the end of a turn', ['lane']);
  const workOnNext = async (claim: () => Promise<ClaimedTurn | null>, stopping: AbortSignal) => {
    await leases.catchUp();
    const turn = await claim();
    if (turn === null) return 'idle' as const;
    if (turn.isTakenOver) {
      takenOver.inc();
      const { id: turnId, correlationId, attempt } = turn;
      o.log.warn('turn.taken_over', { turnId, correlationId, attempt });
    }
    const started = performance.now();
    const fencedContext = { ...o, fence: fenceOf(turn) };
    const result = await underLease(o, leases, turn, stopping, (signal) => runTurn(fencedContext, turn, signal));
    if (result === 'postponed' || result === 'lost') {
      if (result === 'lost') lost.inc();
      return 'more';
    }
    if (result.status === 'waiting') {
      await putTurnAside(o, turn, result);
      return 'more';
    }
    const ours = await endTurn(o, turn, result);
    if (ours) {
      ended.inc({ outcome: result.outcome.split('.')[0] ?? result.outcome });
      duration.observe({ lane: turn.lane }, turn.ageSeconds + (performance.now() - started) / 1_000);
      o.onEnded();
    } else {
      lost.inc();
    }
    o.log.info(ours ? 'turn.ended' : 'turn.lost', {
      turnId: turn.id,
      correlationId: turn.correlationId,
      sequence: turn.sequence,
      lane: turn.lane,
      attempt: turn.attempt,
      outcome: result.outcome,
      durationMs: Math.round(performance.now() - started),
    });
    return 'more';
  };
  return (lanes: readonly Lane[]) => {
    const claim = createClaimer(o.db, lanes);
    return (stopping: AbortSignal): Promise<'more' | 'idle'> => workOnNext(claim, stopping);
  };
}

/**
 * Runs the work of a turn while its lease is renewed. The signal aborts when the lease is lost or the process stops.
 * An attempt that fails is put back to be tried again soon, unless another process has the turn by now.
 */
async function underLease(
  o: TurnContext,
  leases: Leases,
  turn: ClaimedTurn,
  stopping: AbortSignal,
  work: (signal: AbortSignal) => Promise<TurnOutcome>,
): Promise<TurnOutcome | 'postponed' | 'lost'> {
  const lease = leases.hold(turn);
  try {
    const signal = AbortSignal.any([stopping, lease.signal]);
    // A turn that was claimed while this process began to stop is for another one.
    signal.throwIfAborted();
    return await work(signal);
  } catch (error) {
    const { id, correlationId, attempt } = turn;
    o.log.warn('turn.attempt.failed', { turnId: id, correlationId, attempt, error });
    // When this process stops, the turn goes back at once, for another to take.
    const delaySeconds = stopping.aborted ? 0 : turn.attempt - turn.resumedAtAttempt;
    return (await postpone(o, turn, delaySeconds)) ? 'postponed' : 'lost';
  } finally {
    lease.release();
  }
}

/** The slot is free for others while people decide; whoever wakes the turn, any replica goes on with it. */
async function putTurnAside(
  o: WorkerOptions,
  turn: ClaimedTurn,
  waiting: { line: string; isHeld: boolean },
): Promise<void> {
  const ours = await o.db.transaction().execute((trx) => putAside(trx, turn, waiting));
  o.onTold();
  const { id: turnId, correlationId, attempt } = turn;
  o.log.info(ours ? 'turn.waiting' : 'turn.lost', { turnId, correlationId, attempt });
}

async function postpone(o: TurnContext, turn: ClaimedTurn, delaySeconds: number): Promise<boolean> {
  const { numUpdatedRows } = await fenced(o.db, turn)
    .set({ status: 'queued', lease_until: null, next_attempt_at: sql`now() + ${delaySeconds} * interval '1 s'` })
    .executeTakeFirst();
  return numUpdatedRows === 1n;
}
