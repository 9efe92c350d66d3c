import { setImmediate as nextTurnOfTheEventLoop } from 'node:timers/promises';
import { backoffMs } from './backoff.ts';
import { isRetryable } from './errors.ts';
import type { Logger } from './logger.ts';

/** A piece of work that is repeated: due rows, the outbox, expired approvals. */
export type Loop = {
  start(): void;
  /**
   * There may be work: run now instead of after the idle time. Wakes one of the lanes (a lane that finds more goes on by
   * itself). Never lost: when none is asleep, those in hand look once more before they rest.
   */
  wake(): void;
  /** Starts no further run and waits for those in hand; their signal is aborted so that they can end early. */
  stop(): Promise<void>;
};

type LoopOptions = {
  name: string;
  idleMs: number;
  /** How many runs may be in hand at once; default 1. */
  concurrency?: number;
  run: (signal: AbortSignal) => Promise<'more' | 'idle'>;
  log: Logger;
};

const FAILURE_MIN_MS = 200;
const FAILURE_MAX_MS = 5_000;

/**
 * Runs again at once on 'more', after `idleMs` or `wake()` on 'idle'. An error is logged as `loop.failed` and backs
 * off 0.2 to 5 s with jitter; a wake does not shorten that, or a broken database would be hammered by its own users.
 */
export function createLoop(options: LoopOptions): Loop {
  const stopping = new AbortController();
  const sleepers = new Set<() => void>();
  const isStopping = (): boolean => stopping.signal.aborted;
  let wakes = 0;
  let lanes: Promise<void>[] | undefined;

  const rest = (limitMs: number, wakeable: boolean): Promise<void> =>
    new Promise((resolve) => {
      const wakeUp = (): void => {
        clearTimeout(timer);
        sleepers.delete(wakeUp);
        stopping.signal.removeEventListener('abort', wakeUp);
        resolve();
      };
      const timer = setTimeout(wakeUp, limitMs);
      if (wakeable) sleepers.add(wakeUp);
      stopping.signal.addEventListener('abort', wakeUp);
    });

  const runLane = async (): Promise<void> => {
    let failures = 0;
    while (!isStopping()) {
      const wakesBefore = wakes;
      try {
        const outcome = await options.run(stopping.signal);
        failures = 0;
        if (outcome === 'idle' && wakes === wakesBefore && !isStopping()) await rest(options.idleMs, true);
      } catch (error) {
        failures += 1;
        if (!isStopping()) await rest(reportFailure(options, error, failures), false);
      }
      // Always 'more' must not starve timers and sockets.
      await nextTurnOfTheEventLoop();
    }
  };

  return {
    start() {
      if (!isStopping()) lanes ??= Array.from({ length: options.concurrency ?? 1 }, runLane);
    },
    wake() {
      const [wakeUp] = sleepers;
      if (wakeUp === undefined) wakes += 1;
      else wakeUp();
    },
    async stop() {
      stopping.abort();
      await Promise.all(lanes ?? []);
    },
  };
}

function reportFailure({ name, log }: LoopOptions, error: unknown, failures: number): number {
  const jittered = backoffMs(failures, { baseMs: 2 * FAILURE_MIN_MS, capMs: FAILURE_MAX_MS, random: Math.random });
  const retryInMs = Math.max(FAILURE_MIN_MS, jittered);
  const fields = { loop: name, failures, retryInMs, error };
  if (isRetryable(error)) log.warn('loop.failed', fields);
  else log.error('loop.failed', fields);
  return retryInMs;
}
