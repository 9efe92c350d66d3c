import { setTimeout as sleep } from 'node:timers/promises';
import { backoffMs, describeError, isRetryable, isRowRefused, type Logger } from '@steward/service-kit';
import type { BusMessage } from '@steward/contracts';
import { type BusHandler, type Delivery, deadCodes } from './bus.ts';

/** What to tell the broker about a delivery: done, refused for good, or somebody shall try it later. */
export type Ending = { kind: 'done' } | { kind: 'dead'; code: string } | { kind: 'returned' };

export type RetryLimits = { baseMs: number; capMs: number; budgetMs: number };

/**
 * Failures are retried while holding the delivery, because RabbitMQ up to 4.2 counts every return to the queue against
 * the delivery limit: a database outage of a minute must not kill healthy bus messages.
 */
export const defaultRetryLimits: RetryLimits = { baseMs: 100, capMs: 5_000, budgetMs: 60_000 };

export type InHandDeps = { handler: BusHandler; limits: RetryLimits; signal: AbortSignal; log: Logger };

/** Runs the handler until it succeeds, refuses, has used up the retry budget, or the signal ends the waiting. */
export async function tryInHand(deps: InHandDeps, message: BusMessage, delivery: Delivery): Promise<Ending> {
  const startedAt = performance.now();
  let rowRefusals = 0;
  for (let attempt = 1; ; attempt += 1) {
    try {
      await deps.handler(message, delivery);
      return { kind: 'done' };
    } catch (error) {
      const waitMs = Math.max(deps.limits.baseMs, backoffMs(attempt, { ...deps.limits, random: Math.random }));
      if (isRowRefused(error)) rowRefusals += 1;
      const ending = endingAfter(error, rowRefusals, performance.now() - startedAt + waitMs, deps.limits);
      // The first failure and the last one are worth a line; those between say the same.
      if (attempt === 1 || ending) {
        const outcome = ending?.kind ?? 'retried';
        deps.log.warn('bus.handler.failed', { ...toLogFields(message), attempt, outcome, fault: describeError(error) });
      }
      if (ending) return ending;
      if (!(await waited(waitMs, deps.signal))) return { kind: 'returned' };
    }
  }
}

/** How a failed attempt ends the delivery, or undefined when the next attempt would still be within the budget. */
function endingAfter(error: unknown, rowRefusals: number, nextAtMs: number, limits: RetryLimits): Ending | undefined {
  if (!isRetryable(error)) return { kind: 'dead', code: describeError(error).code };
  // Once may be a race with another process over the same key; twice is the row.
  if (rowRefusals > 1) return { kind: 'dead', code: deadCodes.rowRefused };
  return nextAtMs > limits.budgetMs ? { kind: 'returned' } : undefined;
}

/** The keys that let a log line be found again. */
export function toLogFields(message: BusMessage): { type: string; busMessageId: string; correlationId: string } {
  return { type: message.type, busMessageId: message.id, correlationId: message.correlationId };
}

/** True after the wait, false when the signal cut it short. */
async function waited(waitMs: number, signal: AbortSignal): Promise<boolean> {
  return sleep(waitMs, true, { signal }).catch(() => false);
}
