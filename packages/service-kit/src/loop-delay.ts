import { monitorEventLoopDelay } from 'node:perf_hooks';

/** Says whether the event loop is so late that new work should be refused (503) before memory grows. */
export type LoopDelayGuard = {
  isOverloaded(): boolean;
  /** How late timers were in the last half second, in milliseconds, on average. */
  delayMs(): number;
  close(): void;
};

const RESOLUTION_MS = 20;
const WINDOW_MS = 500;

/** Looks at the mean of each half second: one long garbage collection is not overload, a late loop is. */
export function createLoopDelayGuard({ maxDelayMs }: { maxDelayMs: number }): LoopDelayGuard {
  const histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  histogram.enable();
  let lastDelayMs = 0;
  const timer = setInterval(() => {
    // The histogram holds the whole time between two ticks, its own resolution included; without a tick it is NaN.
    const meanMs = histogram.mean / 1e6 - RESOLUTION_MS;
    if (!Number.isNaN(meanMs)) lastDelayMs = Math.max(0, meanMs);
    histogram.reset();
  }, WINDOW_MS);
  timer.unref();
  return {
    isOverloaded: () => lastDelayMs > maxDelayMs,
    delayMs: () => lastDelayMs,
    close: () => {
      clearInterval(timer);
      histogram.disable();
    },
  };
}
