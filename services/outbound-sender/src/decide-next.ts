import type { AttemptOutcome, DeliveryPath } from './database.ts';

/** What becomes of an outbound message after an attempt. */
export type Next =
  | { kind: 'next_part' }
  | { kind: 'end'; ending: 'accepted' | 'failed' | 'unknown'; reason: string | null }
  | { kind: 'again'; delayMs: number; sessionGone: boolean };

/** What could not be sent for this long is given up as failed: an outage delays answers, it does not lose them. */
export const giveUpAfterMs = 6 * 60 * 60_000;
const maxDelayMs = 5 * 60_000;
/** An answer that may have arrived is sent once more, marked as a possible repeat; a second unknown is left to people. */
const maxUnknown = 1;

/**
 * Paths by which an unknown outcome may be tried again freely, because a repeat changes nothing: the platform drops that of
 * a custom robot (msgUuid) and of a card (outTrackId), new values of a card are the same values, and what was taken back
 * stays away.
 */
const repeatablePaths: readonly DeliveryPath[] = ['custom_robot', 'card', 'card_update', 'recall'];

/** Whether a second attempt by this path is none that a reader could notice. */
export const isRepeatable = (path: DeliveryPath): boolean => repeatablePaths.includes(path);

/**
 * Decides from the outcome of an attempt alone. `random` in [0, 1) spreads the delays (full jitter).
 */
export function decideNext(o: {
  outcome: AttemptOutcome;
  path: DeliveryPath;
  code: string | null;
  attemptCount: number;
  ageMs: number;
  unknownCount: number;
  lastPart: boolean;
  retryAfterMs: number | null;
  random: number;
}): Next {
  const reason = o.code ?? o.outcome;
  // An earlier attempt whose end nobody knows may have arrived: then the message did not plainly fail.
  const failed: Next = { kind: 'end', ending: o.unknownCount > 0 ? 'unknown' : 'failed', reason };
  switch (o.outcome) {
    case 'accepted':
      return o.lastPart ? { kind: 'end', ending: 'accepted', reason: null } : { kind: 'next_part' };
    case 'permanent':
    case 'invalid':
      return failed;
    case 'session_gone':
      // Only a reply address can be gone: said of anything else, another try would ask the same again.
      return o.path !== 'session_webhook' || o.ageMs > giveUpAfterMs
        ? failed
        : { kind: 'again', delayMs: 0, sessionGone: true };
    case 'unknown':
      if (!isRepeatable(o.path) && o.unknownCount > maxUnknown) return { kind: 'end', ending: 'unknown', reason };
      return o.ageMs > giveUpAfterMs ? { kind: 'end', ending: 'unknown', reason } : again(o);
    case 'retryable':
      return o.ageMs > giveUpAfterMs ? failed : again(o);
    default:
      return o.outcome satisfies never;
  }
}

function again(o: { attemptCount: number; retryAfterMs: number | null; random: number }): Next {
  const ceilingMs = Math.min(maxDelayMs, 1_000 * 2 ** Math.min(o.attemptCount, 10));
  return {
    kind: 'again',
    delayMs: Math.round(Math.max(o.retryAfterMs ?? 0, ceilingMs * o.random)),
    sessionGone: false,
  };
}
