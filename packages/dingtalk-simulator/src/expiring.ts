import { freshId } from './random.ts';

export type Expiring<Value> = {
  issue(value: Value, ttlMs: number): string;
  /** Moves the end of a living key; says when it is now. */
  extend(key: string, ttlMs: number): void;
  find(key: string): { value: Value; isExpired: boolean } | undefined;
  /** Forgets the keys whose value matches; says how many there were. */
  forget(matches: (value: Value) => boolean): number;
  remove(key: string): void;
  keyOf(matches: (value: Value) => boolean): string | undefined;
};

/** Secrets with an end: access tokens, connection tickets, session webhooks. The oldest go beyond `limit`. */
export function createExpiring<Value>(o: { now: () => number; limit: number }): Expiring<Value> {
  const rows = new Map<string, { value: Value; endsAt: number }>();
  const isExpired = (row: { endsAt: number }): boolean => row.endsAt <= o.now();
  return {
    issue: (value, ttlMs) => {
      const key = freshId();
      rows.set(key, { value, endsAt: o.now() + ttlMs });
      const oldest = rows.size > o.limit ? rows.keys().next().value : undefined;
      if (oldest !== undefined) rows.delete(oldest);
      return key;
    },
    extend: (key, ttlMs) => {
      const row = rows.get(key);
      if (row !== undefined) row.endsAt = o.now() + ttlMs;
    },
    find: (key) => {
      const row = rows.get(key);
      return row && { value: row.value, isExpired: isExpired(row) };
    },
    forget: (matches) => {
      const keys = [...rows].filter(([, row]) => matches(row.value)).map(([key]) => key);
      for (const key of keys) rows.delete(key);
      return keys.length;
    },
    remove: (key) => void rows.delete(key),
    keyOf: (matches) => [...rows].find(([, row]) => !isExpired(row) && matches(row.value))?.[0],
  };
}
