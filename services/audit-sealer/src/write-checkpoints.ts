import path from 'node:path';
import { createLoop, type Logger, type Loop } from '@steward/service-kit';
import { appendCheckpoint, type Query } from '@steward/audit';

const waitingMs = 2_000;
export const checkpointFile = 'audit-checkpoints.txt';

/**
 * Appends the newest block's head to a file outside the database, at start and then every `everyMs`. Before the first block
 * it looks again every two seconds.
 */
export function createCheckpointLoop(o: {
  query: Query;
  folder: string;
  everyMs: number;
  log: Logger;
  now: () => number;
}): Loop {
  let dueAtMs = 0;
  const run = async (): Promise<'idle'> => {
    if (o.now() < dueAtMs) return 'idle';
    const [newest] = await o.query<{ line: string; number: string }>(
      'select line as "line", number::text as "number" from audit.newest_checkpoint()',
    );
    if (newest === undefined) return 'idle';
    await appendCheckpoint(path.join(o.folder, checkpointFile), newest.line);
    dueAtMs = o.now() + o.everyMs;
    o.log.info('audit.checkpoint.written', { number: Number(newest.number) });
    return 'idle';
  };
  return createLoop({ name: 'audit-checkpoints', idleMs: waitingMs, log: o.log, run });
}
