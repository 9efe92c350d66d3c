import { createLoop, type Logger, type Loop, type Metrics } from '@steward/service-kit';
import { appendAudit, type Db } from '@steward/postgres';
import type { AdapterTables } from './database.ts';
import type { RefusalReason } from './door-refusal.ts';

export type DoorName = 'robot' | 'card' | 'platform_event' | 'stream';
export type RejectionCounter = { count(door: DoorName, reason: RefusalReason): void; loop: Loop };

const auditEveryMs = 10_000;

/**
 * Counts every refusal in a metric at once, and in the audit log as one entry for each door and reason every ten
 * seconds and at the end: an attacker can make the count grow, not the log. The map is bounded by the two closed sets of names.
 */
export function createRejectionCounter(o: { db: Db<AdapterTables>; log: Logger; metrics: Metrics }): RejectionCounter {
  const counter = o.metrics.counter('steward_door_rejected_total', 'Requests and frames that a door refused', [
    'door',
    'reason',
  ]);
  let sinceLast = new Map<string, number>();

  const auditCounted = async (): Promise<void> => {
    if (sinceLast.size === 0) return;
    const counted = sinceLast;
    sinceLast = new Map();
    try {
      await appendAudit(
        o.db,
        'adapter',
        [...counted].map(([key, count]) => toEntry(key, count)),
      );
    } catch (error) {
      for (const [key, count] of counted) sinceLast.set(key, (sinceLast.get(key) ?? 0) + count);
      throw error;
    }
  };
  const loop = createLoop({
    name: 'door-rejections',
    idleMs: auditEveryMs,
    log: o.log,
    run: async () => {
      await auditCounted();
      return 'idle';
    },
  });

  return {
    loop: {
      ...loop,
      stop: async () => {
        await loop.stop();
        await auditCounted();
      },
    },
    count: (door, reason) => {
      counter.inc({ door, reason });
      const key = `${door} ${reason}`;
      sinceLast.set(key, (sinceLast.get(key) ?? 0) + 1);
    },
  };
}

function toEntry(key: string, count: number) {
  const [door, reason] = key.split(' ');
  return { kind: 'door.rejected', outcome: 'refused', detail: { door, reason, count, withinMs: auditEveryMs } };
}
