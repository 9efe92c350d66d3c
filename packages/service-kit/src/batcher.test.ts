import { describe, expect, it } from '@jest/globals';
import { createBatcher } from './batcher.ts';

/** A batcher of numbers whose work ends when the test says so; `batches` is what was asked of it. */
function createHeld(o: { maxBatch?: number; bad?: number; code?: string } = {}) {
  const batches: (readonly number[])[] = [];
  let release: () => void = () => undefined;
  const add = createBatcher<number, string>({
    maxBatch: o.maxBatch ?? 100,
    work: async (items) => {
      batches.push(items);
      if (batches.length === 1) await new Promise<void>((resolve) => (release = resolve));
      if (o.bad !== undefined && items.includes(o.bad))
        throw Object.assign(new Error(`${o.bad} is bad`), { code: o.code });
      return items.map((item) => `did ${item}`);
    },
  });
  return { add, batches, release: () => release() };
}

describe('a batcher', () => {
  it('works on the first at once, and together on what comes meanwhile, each with its own answer', async () => {
    const { add, batches, release } = createHeld();
    const answers = [1, 2, 3, 4].map(add);
    expect(batches).toEqual([[1]]);
    release();
    expect(await Promise.all(answers)).toEqual(['did 1', 'did 2', 'did 3', 'did 4']);
    expect(batches).toEqual([[1], [2, 3, 4]]);
    expect(await add(5)).toBe('did 5');
  });

  it('never takes more at once than it may', async () => {
    const { add, batches, release } = createHeld({ maxBatch: 2 });
    const answers = [1, 2, 3, 4].map(add);
    release();
    await Promise.all(answers);
    expect(batches).toEqual([[1], [2, 3], [4]]);
  });

  it('lets an item fail alone whose row the database refuses', async () => {
    const { add, batches, release } = createHeld({ bad: 3, code: '23505' });
    const answers = [1, 2, 3, 4].map(add);
    release();
    const settled = await Promise.allSettled(answers);
    expect(settled.map((one) => (one.status === 'fulfilled' ? one.value : String(one.reason)))).toEqual([
      ...['did 1', 'did 2', 'Error: 3 is bad', 'did 4'],
    ]);
    expect(batches).toEqual([[1], [2, 3, 4], [2], [3], [4]]);
  });

  it('does not ask a database that is away once for each item', async () => {
    const { add, batches, release } = createHeld({ bad: 3, code: 'ECONNREFUSED' });
    const answers = [1, 2, 3, 4].map(add);
    release();
    const settled = await Promise.allSettled(answers);
    expect(settled.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'rejected', 'rejected']);
    expect(batches).toEqual([[1], [2, 3, 4]]);
  });

  it('lets a first item wait for company where it may', async () => {
    const batches: (readonly number[])[] = [];
    const work = async (items: readonly number[]) => {
      batches.push(items);
      return items;
    };
    const add = createBatcher<number, number>({ maxBatch: 9, lingerMs: 20, work });
    const first = add(1);
    await new Promise((resolve) => setTimeout(resolve, 1));
    expect(await Promise.all([first, add(2)])).toEqual([1, 2]);
    expect(await add(3)).toBe(3);
    expect(batches).toEqual([[1, 2], [3]]);
  });

  it('fails everybody when an answer is missing', async () => {
    const add = createBatcher<number, number>({ maxBatch: 9, work: () => Promise.resolve([]) });
    await expect(add(1)).rejects.toThrow('0 answers for 1 items');
  });
});
