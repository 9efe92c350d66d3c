import { setTimeout as pause } from 'node:timers/promises';
import { sql } from 'kysely';
import { createLoop, type Logger, type Loop, type Metrics } from '@steward/service-kit';
import type { Db } from './connection.ts';
import type { InboxTables } from './tables.ts';

/** Small enough to be over in milliseconds, and to leave the disk to others in between: up to 2,000 rows a second. */
export const retentionPace = { rows: 500, pauseMs: 250 };
const lookEveryMs = 10 * 60_000;

/**
 * Deletes what is older than its time, in small batches, in every replica. `retire` deletes at most that many rows of one
 * table and says how many it did; rows that somebody works on are left for a later round.
 */
export function createRetention(o: {
  table: string;
  retire: (rows: number) => Promise<number>;
  log: Logger;
  metrics: Metrics;
}): Loop {
  const retired = o.metrics.counter('steward_retired_rows_total', 'Rows that were deleted because of their age', [
    'table',
  ]);
  return createLoop({
    name: `retention of ${o.table}`,
    idleMs: lookEveryMs,
    log: o.log,
    run: async (stopping) => {
      const rows = await o.retire(retentionPace.rows);
      retired.inc({ table: o.table }, rows);
      if (rows < retentionPace.rows) return 'idle';
      await pause(retentionPace.pauseMs, undefined, { signal: stopping }).catch(() => undefined);
      return 'more';
    },
  });
}

/** Deletes at most so many messages that left an inbox's 40 days; the database knows which. Returns how many. */
export async function retireInbox<T extends InboxTables>(
  db: Db<T>,
  schema: 'agent_core' | 'outbound_sender',
  rows: number,
): Promise<number> {
  const retired = await sql<{ count: number }>`
    select ${sql.raw(schema)}.retire_inbox(${rows}::integer) as count`.execute(db);
  return retired.rows[0]?.count ?? 0;
}
