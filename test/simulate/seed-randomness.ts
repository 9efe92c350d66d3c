import crypto from 'node:crypto';
import { syncBuiltinESMExports } from 'node:module';
import type { Random } from '../random.ts';

/** Everything that draws numbers draws them from the seed, so that a seed is the same run again. */
export function seedRandomness(random: Random): { restore(): void } {
  const replaced = crypto as { randomBytes: unknown; randomInt: unknown; randomUUIDv7?: unknown };
  const drawn = Math.random;
  const { randomBytes, randomInt, randomUUIDv7 } = replaced;
  Math.random = random;
  replaced.randomBytes = (count: number) =>
    Buffer.from(Array.from({ length: count }, () => Math.floor(random() * 256)));
  replaced.randomInt = (below: number) => Math.floor(random() * below);
  replaced.randomUUIDv7 = undefined;
  // Whoever imports them by name draws from the seed too.
  syncBuiltinESMExports();
  return {
    restore: () => {
      Math.random = drawn;
      Object.assign(replaced, { randomBytes, randomInt, randomUUIDv7 });
      syncBuiltinESMExports();
    },
  };
}
