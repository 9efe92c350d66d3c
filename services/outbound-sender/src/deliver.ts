import type { Logger, Metrics } from '@steward/service-kit';
import type { Db } from '@steward/postgres';
import { closeAttempt, type AttemptResult } from './close-attempt.ts';
import type { SenderTables } from './database.ts';
import type { Next } from './decide-next.ts';
import type { Hold } from './hold-scope.ts';
import { leaseSeconds, type OpenAttempt, type Opener } from './open-attempt.ts';
import type { SendLimits } from './send-limits.ts';

const maxHoldMs = 600_000;
/** A send takes at most so long: one that begins later than this before its lease ends could arrive after the repeat of it. */
const sendMs = 12_000;
/** This process stood still between writing the attempt and sending it. */
const notSent: AttemptResult = { outcome: 'retryable', code: 'LEASE_ENDED', processQueryKey: null, retryAfterMs: null };

/** Makes the call that an attempt stands for. Never rejects: whatever happens is an outcome. */
export type Send = (attempt: OpenAttempt) => Promise<AttemptResult>;

export type DeliverContext = {
  db: Db<SenderTables>;
  limits: SendLimits;
  open: Opener;
  send: Send;
  log: Logger;
  metrics: Metrics;
  now: () => Date;
  random: () => number;
  onEnded: () => void;
};

/** One delivery: open an attempt → send → close the attempt. `more`: there may be further work. */
export async function deliverNext(o: DeliverContext): Promise<'more' | 'idle'> {
  const leaseEndsMs = o.now().getTime() + leaseSeconds * 1_000;
  const attempt = await o.open();
  if (attempt === 'idle') return 'idle';
  if (attempt === 'again') return 'more';
  const started = performance.now();
  const result = o.now().getTime() < leaseEndsMs - sendMs ? await o.send(attempt) : notSent;
  const hold = toHold(o.limits, attempt, result);
  const next = await closeWithinLease(o, attempt, { result, hold, leaseEndsMs });
  const durationMs = Math.round(performance.now() - started);
  o.metrics
    .counter('steward_delivery_attempt_total', 'Attempts to send, by path and outcome', ['path', 'outcome'])
    .inc({ path: attempt.path, outcome: result.outcome });
  const { correlationId, outboundMessageId, number, budget } = attempt;
  // Once for each message, not once for each minute that it waits.
  if (result.misconfigured && attempt.reason !== result.code)
    o.log.error('delivery.app.refused', { correlationId, outboundMessageId, budget, code: result.code });
  o.log.info('delivery.attempted', {
    correlationId,
    outboundMessageId,
    number,
    part: attempt.part + 1,
    partCount: attempt.partCount,
    path: attempt.path,
    outcome: result.outcome,
    code: result.code,
    next: next?.kind ?? 'taken_over',
    durationMs,
  });
  if (hold !== null && next !== null) reportHold(o, hold, { correlationId, code: result.code });
  if (next?.kind === 'end') o.onEnded();
  return 'more';
}

/** What must pause, in the words of the limits; a pause is never longer than ten minutes, whatever the platform says. */
function toHold(limits: SendLimits, attempt: OpenAttempt, { wish }: AttemptResult): Hold | null {
  if (wish == null) return null;
  const scope = limits.scopeToHold(wish.scope, attempt);
  return scope === null ? null : { scope, ms: Math.min(wish.ms, maxHoldMs) };
}

function reportHold(
  o: DeliverContext,
  hold: Hold,
  { correlationId, code }: { correlationId: string; code: string | null },
): void {
  const [kind = ''] = hold.scope.split(' ');
  o.metrics
    .counter('steward_send_held_total', 'Refusals that made every replica pause, by what was paused', ['scope'])
    .inc({ scope: kind });
  o.log.warn('send.held', { correlationId, scope: hold.scope, ms: hold.ms, code });
}

/**
 * What the platform said must not be lost because the database was away for a moment, or the message would be sent again:
 * closing is tried until the lease is over and another replica takes the message for abandoned.
 */
async function closeWithinLease(
  o: DeliverContext,
  attempt: OpenAttempt,
  { result, hold, leaseEndsMs }: { result: AttemptResult; hold: Hold | null; leaseEndsMs: number },
): Promise<Next | null> {
  const { correlationId, outboundMessageId } = attempt;
  for (let waitMs = 200; ; waitMs = Math.min(2 * waitMs, 2_000)) {
    try {
      return await closeAttempt(o, attempt, result, hold);
    } catch (error) {
      const { outcome, code } = result;
      const fields = { correlationId, outboundMessageId, number: attempt.number, outcome, code, error };
      if (o.now().getTime() + waitMs > leaseEndsMs) {
        o.log.error('delivery.outcome.lost', fields);
        throw error;
      }
      o.log.warn('delivery.close.failed', fields);
    }
    await new Promise((resolve) => setTimeout(resolve, waitMs));
  }
}
