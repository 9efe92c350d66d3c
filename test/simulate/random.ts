import crypto from 'node:crypto';

/** Numbers that follow from a seed alone (mulberry32): 0 <= n < 1. */
export type Random = () => number;

export function createRandom(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** One of them; there must be one. */
export function pick<T>(random: Random, from: readonly T[]): T {
  const found = from[Math.floor(random() * from.length)];
  if (found === undefined && from.length === 0) throw new Error('nothing to pick from');
  return found as T; // the index is within
}

/** Everything that draws numbers draws them from the seed, so that a seed is the same run again. */
export function seedRandomness(random: Random): { restore(): void } {
  const replaced = crypto as { randomBytes: unknown; randomUUIDv7?: unknown };
  const [drawn, bytes, uuid] = [Math.random, replaced.randomBytes, replaced.randomUUIDv7];
  Math.random = random;
  replaced.randomBytes = (count: number) =>
    Buffer.from(Array.from({ length: count }, () => Math.floor(random() * 256)));
  replaced.randomUUIDv7 = undefined;
  return {
    restore: () => {
      Math.random = drawn;
      Object.assign(replaced, { randomBytes: bytes, randomUUIDv7: uuid });
    },
  };
}
