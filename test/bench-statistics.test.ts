import { describe, expect, it } from '@jest/globals';
import { median, percentile, spread } from './bench/statistics.ts';

describe('the statistics of the bench', () => {
  it('take the middle of an odd count and the mean of the two middle ones of an even count', () => {
    expect([median([9, 1, 5]), median([4, 1, 3, 2]), median([])]).toEqual([5, 2.5, Number.NaN]);
  });

  it('take percentiles by nearest rank, and sort by number', () => {
    const hundred = Array.from({ length: 100 }, (_, at) => 100 - at);
    expect([0.5, 0.95, 0.99, 1].map((share) => percentile(hundred, share))).toEqual([50, 95, 99, 100]);
    expect([percentile([7], 0.01), percentile([], 0.5)]).toEqual([7, Number.NaN]);
  });

  it('tell how far apart numbers are', () => {
    expect(spread([80, 100, 120])).toBeCloseTo(0.4);
  });
});
