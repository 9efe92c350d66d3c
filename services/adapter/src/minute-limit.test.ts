import { describe, expect, it } from '@jest/globals';
import { createMinuteLimit } from './minute-limit.ts';

describe('a limit for each minute', () => {
  it('is over after so many of one key, for that key alone, until the minute ends', () => {
    let nowMs = 60_000;
    const limit = createMinuteLimit({ limit: 2, now: () => new Date(nowMs) });
    expect([limit.add('a'), limit.add('a'), limit.isOver('a'), limit.add('a'), limit.isOver('a')]).toEqual([
      false,
      false,
      false,
      true,
      true,
    ]);
    expect([limit.add('b'), limit.isOver('b'), limit.isOver('c')]).toEqual([false, false, false]);
    nowMs += 60_000;
    expect([limit.isOver('a'), limit.add('a')]).toEqual([false, false]);
  });

  it('keeps 10,000 keys and no more', () => {
    const limit = createMinuteLimit({ limit: 1, now: () => new Date(0) });
    for (let n = 0; n < 10_000; n += 1) limit.add(`address ${n}`);
    expect([limit.add('late'), limit.add('late'), limit.isOver('late')]).toEqual([false, false, false]);
    expect(limit.add('address 0')).toBe(true);
  });
});
