export type Limits = {
  /** Counts one use of `key` and says whether it is within `limit` per sliding window. A refused use is not counted. */
  take(key: string, limit: number | null, windowMs: number): boolean;
  /** Refuses `key` for the next `ms`. */
  block(key: string, ms: number): void;
  isBlocked(key: string): boolean;
  /** Adds one to a counter that only a reset empties, unless it has reached `limit`; says whether it was within. */
  spend(key: string, limit: number | null): boolean;
  clear(): void;
};

/** Counters behind every limit of the platform. Memory is bounded by the limits themselves. */
export function createLimits(now: () => number): Limits {
  const uses = new Map<string, number[]>();
  const blocks = new Map<string, number>();
  const totals = new Map<string, number>();
  return {
    take: (key, limit, windowMs) => {
      if (limit === null) return true;
      const since = now() - windowMs;
      const recent = uses.get(key) ?? [];
      while (recent[0] !== undefined && recent[0] <= since) recent.shift();
      const within = recent.length < limit;
      if (within) recent.push(now());
      uses.set(key, recent);
      return within;
    },
    block: (key, ms) => blocks.set(key, now() + ms),
    isBlocked: (key) => (blocks.get(key) ?? 0) > now(),
    spend: (key, limit) => {
      const total = totals.get(key) ?? 0;
      if (limit !== null && total >= limit) return false;
      totals.set(key, total + 1);
      return true;
    },
    clear: () => {
      for (const counter of [uses, blocks, totals]) counter.clear();
    },
  };
}
