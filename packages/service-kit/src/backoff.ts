/**
 * How long to wait before the given attempt is made again, in whole milliseconds: full jitter, that is, anywhere
 * between 0 and `baseMs * 2^(attempt - 1)`, never above `capMs`. The first attempt is 1; `random` gives 0 <= n < 1. Pure.
 */
export function backoffMs(attempt: number, options: { baseMs: number; capMs: number; random: () => number }): number {
  const doublings = Math.max(0, attempt - 1);
  const ceilingMs = Math.min(options.capMs, options.baseMs * 2 ** doublings);
  return Math.floor(options.random() * ceilingMs);
}
