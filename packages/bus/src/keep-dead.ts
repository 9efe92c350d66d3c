import { setTimeout as sleep } from 'node:timers/promises';
import { backoffMs, describeError, type Logger } from '@steward/service-kit';
import type { DeadDelivery } from './bus.ts';
import type { RetryLimits } from './try-in-hand.ts';

/** Hands a dead letter over until that works. False: the signal ended the waiting, and the letter is still the bus's. */
export async function keepDead(
  deps: { onDead: (letter: DeadDelivery) => Promise<void>; limits: RetryLimits; signal: AbortSignal; log: Logger },
  letter: DeadDelivery,
): Promise<boolean> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      await deps.onDead(letter);
      return true;
    } catch (error) {
      // A database that is away for an hour is worth a few lines, not thousands.
      if (attempt === 1 || attempt % 20 === 0)
        deps.log.warn('bus.dead.not_kept', {
          queue: letter.queue,
          code: letter.code,
          attempt,
          fault: describeError(error),
        });
      const waitMs = Math.max(deps.limits.baseMs, backoffMs(attempt, { ...deps.limits, random: Math.random }));
      if (!(await sleep(waitMs, true, { signal: deps.signal }).catch(() => false))) return false;
    }
  }
}
