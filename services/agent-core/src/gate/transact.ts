import type { Trx } from '@steward/postgres';
import type { AgentTables } from '../database.ts';
import type { GateContext } from './gate-context.ts';

/**
 * Runs a transaction. In the work of a turn its fence comes first: a process that was paused while another took the turn over
 * rejects with TURN_LOST and has written nothing. Until the commit nobody can take the turn over.
 */
export function transact<T>(
  context: Pick<GateContext, 'db' | 'fence'>,
  work: (trx: Trx<AgentTables>) => Promise<T>,
): Promise<T> {
  return context.db.transaction().execute(async (trx) => {
    await context.fence?.(trx);
    return work(trx);
  });
}
