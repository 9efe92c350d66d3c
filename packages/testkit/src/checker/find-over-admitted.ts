import type { CallRecord } from '@steward/dingtalk-simulator';
import type { RateLimit } from './run-facts.ts';

/** One finding for each call by which some sliding window of a limit held too many: refused calls were made, too. */
export function findOverAdmitted(calls: readonly CallRecord[], limits: readonly RateLimit[]): string[] {
  return limits.flatMap((limit) => {
    const times = calls
      .filter(limit.matches)
      .map(({ at }) => at)
      .sort((a, b) => a - b);
    let first = 0;
    return times.flatMap((at, index) => {
      while ((times[first] ?? at) <= at - limit.windowMs) first += 1;
      const inWindow = index - first + 1;
      return inWindow > limit.max
        ? [`${limit.name}: ${inWindow} calls within ${limit.windowMs} ms, ${limit.max} allowed`]
        : [];
    });
  });
}
