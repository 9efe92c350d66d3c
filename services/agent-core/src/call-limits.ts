import { sql } from 'kysely';
import type { Trx } from '@steward/postgres';

/**
 * Takes one call out of a budget, in one statement on the database's clock (generic cell rate algorithm): half of `calls` may
 * come at once, and no span of `perSeconds`, wherever it begins, holds more than `calls`. False: the budget is spent, and
 * nothing was taken. Whoever asks at the same time waits for the row, so it is the last statement of a short transaction.
 */
export async function takeToolBudget<T>(
  trx: Trx<T>,
  o: { budget: string; limit: { calls: number; perSeconds: number } },
): Promise<boolean> {
  const { calls, perSeconds } = o.limit;
  const burst = Math.ceil(calls / 2);
  // A span of n spacings holds at most burst + n - 1 calls: so that is how many spacings make up `perSeconds`.
  const spacingSeconds = perSeconds / (calls - burst + 1);
  const spacing = sql`${spacingSeconds} * interval '1 s'`;
  const ahead = sql`${spacingSeconds * (burst - 1)} * interval '1 s'`;
  // The clock of the statement, not of the transaction: that one may have waited.
  const { numAffectedRows } = await sql`
    insert into agent_core.tool_budget as b (budget, next_free_at)
    values (${o.budget}, clock_timestamp() + ${spacing})
    on conflict (budget) do update
    set next_free_at = greatest(b.next_free_at, clock_timestamp()) + ${spacing}
    where b.next_free_at <= clock_timestamp() + ${ahead}`.execute(trx);
  return numAffectedRows === 1n;
}
