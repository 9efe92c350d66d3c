/** Counts by key within a minute. */
export type MinuteLimit = {
  /** Counts one more; true when the key is now over the limit. */
  add(key: string): boolean;
  isOver(key: string): boolean;
};

/** Whoever comes after so many others within one minute is not counted: memory is bounded, whatever the keys are. */
const maxKeys = 10_000;

/** A limit for each key in each minute of this process; every minute begins from nothing. */
export function createMinuteLimit(o: { limit: number; now: () => Date }): MinuteLimit {
  const counts = new Map<string, number>();
  let minute = 0;
  const countOf = (key: string): number => {
    const current = Math.floor(o.now().getTime() / 60_000);
    if (current !== minute) counts.clear();
    minute = current;
    return counts.get(key) ?? 0;
  };
  return {
    add: (key) => {
      const count = countOf(key) + 1;
      if (count === 1 && counts.size >= maxKeys) return false;
      counts.set(key, count);
      return count > o.limit;
    },
    isOver: (key) => countOf(key) > o.limit,
  };
}
