import type { Attempt, PushRecord } from './records.ts';
import type { Simulation } from './simulation.ts';

/** How one push is attempted, and how long to wait before the next attempt after a failed one (null: give up). */
export type PushPlan = {
  attempt: () => Promise<Attempt>;
  nextWaitMs: (failed: Attempt, attemptsSoFar: number) => number | null;
  /** Called once when every attempt has failed. */
  onFailed?: () => void;
};

export type Delivered = {
  via: PushRecord['via'];
  outcome: Attempt['outcome'] | 'dropped' | 'pending';
  status?: number;
};
export type PushCourses = {
  /** Runs a push `times` times at once; resolves with the first attempt of each, or `pending` after a few seconds. */
  run(push: PushRecord, plan: PushPlan, times: number): Promise<Delivered[]>;
};

/** The longest time a caller waits to learn how the first attempt went; attempts go on behind it. */
const FIRST_ATTEMPT_WAIT_MS = 3_000;

/** Runs pushes with the random faults: dropped without trace, repeated although acked, overtaken by the next one. */
export function createPushCourses(simulation: Simulation): PushCourses {
  const held = new Map<string, (() => void)[]>();
  const holdBack = async (appKey: string): Promise<void> => {
    const overtaken = new Promise<void>((resolve) => held.set(appKey, [...(held.get(appKey) ?? []), resolve]));
    await Promise.race([overtaken, simulation.timers.wait(simulation.scaled(simulation.faults.reorderHoldMs))]);
  };
  const letGo = (appKey: string): void => {
    for (const release of held.get(appKey) ?? []) release();
    held.delete(appKey);
  };
  return {
    run: async (push, plan, times) => {
      if (simulation.random() < simulation.faults.dropRate) {
        push.outcome = 'dropped';
        return Array.from({ length: times }, () => ({ via: push.via, outcome: 'dropped' as const }));
      }
      const isHeld = simulation.random() < simulation.faults.reorderRate;
      return Promise.all(
        Array.from({ length: times }, () =>
          toDelivered(push, (first) => {
            const start = isHeld ? holdBack(push.appKey) : Promise.resolve();
            void start.then(() =>
              runCourse(simulation, push, plan, (attempt) => {
                first(attempt);
                if (!isHeld) letGo(push.appKey);
              }),
            );
          }),
        ),
      );
    },
  };
}

function toDelivered(push: PushRecord, start: (first: (attempt: Attempt) => void) => void): Promise<Delivered> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve({ via: push.via, outcome: 'pending' }), FIRST_ATTEMPT_WAIT_MS);
    start(({ outcome, status }) => {
      clearTimeout(timer);
      resolve({ via: push.via, outcome, ...(status !== undefined && { status }) });
    });
  });
}

async function runCourse(
  s: Simulation,
  push: PushRecord,
  plan: PushPlan,
  onFirst: (attempt: Attempt) => void,
): Promise<void> {
  const attemptOnce = async (): Promise<Attempt> => {
    const attempt = await plan.attempt();
    push.attempts.push(attempt);
    if (attempt.outcome === 'acked') push.outcome = 'acked';
    s.pushes.touch();
    return attempt;
  };
  for (let attempts = 1; ; attempts += 1) {
    const attempt = await attemptOnce();
    if (attempts === 1) onFirst(attempt);
    if (attempt.outcome === 'acked') break;
    const waitMs = plan.nextWaitMs(attempt, attempts);
    if (waitMs === null) {
      failCourse(s, push, plan);
      return;
    }
    if (!(await s.timers.wait(waitMs))) return;
  }
  // Even a correct ack does not rule out a duplicate.
  if (s.random() >= s.faults.duplicateRate) return;
  if (await s.timers.wait(s.scaled(s.faults.duplicateDelayMs))) await attemptOnce();
}

function failCourse(s: Simulation, push: PushRecord, plan: PushPlan): void {
  if (push.outcome === 'pending') push.outcome = 'failed';
  s.pushes.touch();
  s.log.warn('push.failed', { kind: push.kind, via: push.via, app: push.appKey, attempts: push.attempts.length });
  plan.onFailed?.();
}
