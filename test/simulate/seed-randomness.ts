import crypto from 'node:crypto';
import type { Random } from '../random.ts';

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
