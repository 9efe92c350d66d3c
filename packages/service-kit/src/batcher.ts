import { isRowRefused } from './errors.ts';

/**
 * Makes one piece of work of what is asked for at the same time: a first item is worked on at once, and whatever comes meanwhile
 * shares the next turn, at most `maxBatch` in one. So nothing waits for company, and the busier it is, the less each item costs.
 * With `lingerMs` a first item does wait that long: for what no person waits for.
 * `work` answers in the order of the items. When the database refuses a row of several, each item is tried once more alone, so
 * that a bad one fails itself only; any other failure is everybody's. What waits here is bounded by the callers: each waits for
 * its answer.
 */
export function createBatcher<T, R>(o: {
  maxBatch: number;
  lingerMs?: number;
  work: (items: readonly T[]) => Promise<readonly R[]>;
}): (item: T) => Promise<R> {
  type Waiting = { item: T; resolve: (result: R) => void; reject: (error: unknown) => void };
  let waiting: Waiting[] = [];
  let isWorking = false;

  const settle = async (batch: readonly Waiting[]): Promise<void> => {
    try {
      const results = await o.work(batch.map(({ item }) => item));
      if (results.length !== batch.length) throw new Error(`${results.length} answers for ${batch.length} items`);
      batch.forEach(({ resolve }, at) => resolve(results[at] as R)); // as many as items, see above
    } catch (error) {
      if (batch.length > 1 && isRowRefused(error)) for (const one of batch) await settle([one]);
      else for (const { reject } of batch) reject(error);
    }
  };
  const workOff = async (): Promise<void> => {
    isWorking = true;
    if (o.lingerMs !== undefined) await new Promise((resolve) => setTimeout(resolve, o.lingerMs));
    while (waiting.length > 0) {
      const batch = waiting.slice(0, o.maxBatch);
      waiting = waiting.slice(o.maxBatch);
      await settle(batch);
    }
    isWorking = false;
  };
  return (item) =>
    new Promise((resolve, reject) => {
      waiting.push({ item, resolve, reject });
      if (!isWorking) void workOff();
    });
}
