import type { Logger, Metrics } from '@steward/service-kit';

/** A proved robot message: what its signature covers, and what it does not. */
export type SignedUse = { robot: string; timestamp: string; sign: string; msgId: string; createdAt: string };
export type SignatureWatch = { note(use: SignedUse): void };

type Uses = { msgIds: Set<string>; createdAt: string; firstMs: number };

const maxPairs = 10_000;
/** The clock of a signature ticks in milliseconds: two messages may share one, three hardly. */
const maxMsgIds = 2;
/** Messages of one signature are sent at once; only a repetition comes later, and it names the same moment. */
const sameMomentMs = 5_000;
const reportEveryMs = 10_000;

/**
 * Watches for one signature that proves several messages: it does not cover the body, so whoever saw one can put words of
 * his own under it for an hour. That is never refused here (the platform may do it too), but counted, and told in log and
 * audit at most every ten seconds. Memory holds the last 10,000 signatures of this process.
 */
export function createSignatureWatch(o: {
  metrics: Metrics;
  log: Logger;
  audit: (use: { robot: string; msgId: string; count: number }) => Promise<void>;
  now: () => Date;
}): SignatureWatch {
  const reused = o.metrics.counter('steward_door_signature_reused_total', 'Messages under a signature used before', [
    'robot',
  ]);
  const pairs = new Map<string, Uses>();
  let reportedMs = -Infinity;
  let count = 0;

  const report = ({ robot, msgId }: SignedUse, nowMs: number): void => {
    reused.inc({ robot });
    count += 1;
    if (nowMs - reportedMs < reportEveryMs) return;
    const finding = { robot, msgId, count };
    reportedMs = nowMs;
    count = 0;
    o.log.warn('security.signature.reused', finding);
    o.audit(finding).catch((error: unknown) => o.log.warn('security.signature.unaudited', { error }));
  };

  return {
    note: (use) => {
      const nowMs = o.now().getTime();
      const key = `${use.timestamp} ${use.sign}`;
      const known = pairs.get(key) ?? { msgIds: new Set<string>(), createdAt: use.createdAt, firstMs: nowMs };
      // Put last again: the first one is always the one not seen for longest.
      pairs.delete(key);
      pairs.set(key, known);
      for (const oldest of pairs.keys()) {
        if (pairs.size <= maxPairs) break;
        pairs.delete(oldest);
      }
      if (known.msgIds.size <= maxMsgIds) known.msgIds.add(use.msgId);
      const isLate = use.createdAt !== known.createdAt && nowMs - known.firstMs > sameMomentMs;
      if (isLate || known.msgIds.size > maxMsgIds) report(use, nowMs);
    },
  };
}
