import type { Logger, Metrics } from '@steward/service-kit';
import type { Db } from '@steward/postgres';
import { closeAttempt, type AttemptResult } from './close-attempt.ts';
import type { SenderTables } from './database.ts';
import { openAttempt, type OpenAttempt } from './open-attempt.ts';

/** Makes the call that an attempt stands for. Never rejects: whatever happens is an outcome. */
export type Send = (attempt: OpenAttempt) => Promise<AttemptResult>;

export type DeliverContext = {
  db: Db<SenderTables>;
  limits: { perMinuteOf: (budget: string) => number };
  send: Send;
  log: Logger;
  metrics: Metrics;
  now: () => Date;
  random: () => number;
  onEnded: () => void;
};

/** One delivery: open an attempt → send → close the attempt. `more`: there may be further work. */
export async function deliverNext(o: DeliverContext): Promise<'more' | 'idle'> {
  const attempt = await openAttempt(o);
  if (attempt === 'idle') return 'idle';
  if (attempt === 'again') return 'more';
  const started = performance.now();
  const result = await o.send(attempt);
  const next = await closeAttempt(o, attempt, result);
  const durationMs = Math.round(performance.now() - started);
  o.metrics
    .counter('steward_delivery_attempt_total', 'Attempts to send, by path and outcome', ['path', 'outcome'])
    .inc({ path: attempt.path, outcome: result.outcome });
  o.log.info('delivery.attempted', {
    correlationId: attempt.correlationId,
    outboundMessageId: attempt.outboundMessageId,
    number: attempt.number,
    part: attempt.part + 1,
    partCount: attempt.partCount,
    path: attempt.path,
    outcome: result.outcome,
    code: result.code,
    next: next?.kind ?? 'taken_over',
    durationMs,
  });
  if (next?.kind === 'end') o.onEnded();
  return 'more';
}
