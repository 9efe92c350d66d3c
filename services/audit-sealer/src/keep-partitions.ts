import { createLoop, type Logger, type Loop } from '@steward/service-kit';
import type { Query } from '@steward/audit';

const everyMs = 3_600_000;

/** Makes this month's partition and the three after it, at start and every hour. */
export function createPartitionLoop(o: { query: Query; log: Logger }): Loop {
  const run = async (): Promise<'idle'> => {
    const blocked = await o.query<{ name: string }>(
      'select name as "name" from audit.ensure_partitions() as made (name)',
    );
    if (blocked.length > 0) o.log.error('audit.partition.blocked', { partitions: blocked.map(({ name }) => name) });
    return 'idle';
  };
  return createLoop({ name: 'audit-partitions', idleMs: everyMs, log: o.log, run });
}
