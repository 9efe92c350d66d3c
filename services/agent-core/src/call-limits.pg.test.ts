import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { takeToolBudget } from './call-limits.ts';
import { openTestDatabase } from './testing.ts';

let database: Awaited<ReturnType<typeof openTestDatabase>>;
beforeAll(async () => {
  database = await openTestDatabase();
});
afterAll(() => database.close());

type Limit = { calls: number; perSeconds: number };
const take = (budget: string, limit: Limit, db = database.db) =>
  db.transaction().execute((trx) => takeToolBudget(trx, { budget, limit }));

/** As if this much time had passed for a budget. */
const pass = (budget: string, seconds: number) =>
  database.rows(
    `update agent_core.tool_budget set next_free_at = next_free_at - interval '${seconds} s' where budget = '${budget}'`,
  );

describe('the budget of a tool', () => {
  it.each<[Limit, number]>([
    [{ calls: 1, perSeconds: 3_600 }, 1],
    [{ calls: 2, perSeconds: 3_600 }, 1],
    [{ calls: 5, perSeconds: 3_600 }, 3],
    [{ calls: 20, perSeconds: 3_600 }, 10],
  ])('gives %j out %i times at once, however many ask together on several connections', async (limit, burst) => {
    const budget = `together ${limit.calls}`;
    const pools = [database.db, database.connect(4), database.connect(4)];
    const asked = await Promise.all(
      Array.from({ length: 60 }, (_, at) => take(budget, limit, pools[at % pools.length] ?? database.db)),
    );
    expect(asked.filter((taken) => taken)).toHaveLength(burst);
  });

  it.each<Limit>([
    { calls: 1, perSeconds: 600 },
    { calls: 3, perSeconds: 600 },
    { calls: 10, perSeconds: 600 },
  ])('never gives more than %j in any span, for somebody who asks all the time', async (limit) => {
    const budget = `span ${limit.calls}`;
    const taken: number[] = [];
    const stepSeconds = 10;
    for (let second = 0; second < 3 * limit.perSeconds; second += stepSeconds) {
      while (await take(budget, limit)) taken.push(second);
      await pass(budget, stepSeconds);
    }
    const most = Math.max(
      ...taken.map((from) => taken.filter((at) => at >= from && at < from + limit.perSeconds).length),
    );
    expect(most).toBe(limit.calls);
  });

  it('keeps targets apart, and takes nothing when it says no or when the transaction fails', async () => {
    const limit = { calls: 1, perSeconds: 3_600 };
    expect([await take('a', limit), await take('b', limit), await take('a', limit)]).toEqual([true, true, false]);
    const before = await database.rows('select * from agent_core.tool_budget order by budget');
    expect(await take('a', limit)).toBe(false);
    const failing = database.db.transaction().execute(async (trx) => {
      expect(await takeToolBudget(trx, { budget: 'c', limit })).toBe(true);
      throw new Error('the call is not made');
    });
    await expect(failing).rejects.toThrow('the call is not made');
    expect(await database.rows('select * from agent_core.tool_budget order by budget')).toEqual(before);
    expect(await take('c', limit)).toBe(true);
  });
});
