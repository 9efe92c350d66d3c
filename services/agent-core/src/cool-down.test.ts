import { describe, expect, it } from '@jest/globals';
import type { RoomHealth } from './claim-turn.ts';
import { judgeFailure } from './cool-down.ts';

const well: RoomHealth = { failures: 0, errorCode: null, errorAgeSeconds: null, errorsUntold: 0 };

describe('judging a failure', () => {
  it('says the same error once in a minute, and another one at once', () => {
    expect(judgeFailure(well, 'A')).toEqual({ code: 'A', isSaid: true, untold: 0, coolSeconds: 0 });
    const told = { ...well, failures: 1, errorCode: 'A', errorAgeSeconds: 59 };
    expect(judgeFailure(told, 'A').isSaid).toBe(false);
    expect(judgeFailure(told, 'B').isSaid).toBe(true);
    expect(judgeFailure({ ...told, errorAgeSeconds: 60 }, 'A').isSaid).toBe(true);
  });

  it('says how often the same was not said, and nothing of another error', () => {
    const silent = { failures: 0, errorCode: 'A', errorAgeSeconds: 90, errorsUntold: 4 };
    expect(judgeFailure(silent, 'A')).toMatchObject({ isSaid: true, untold: 4 });
    expect(judgeFailure(silent, 'B')).toMatchObject({ isSaid: true, untold: 0 });
  });

  it('cools down from the third failure in a row on, twice as long each time, 5 minutes at most, and says when it begins', () => {
    const after = (failures: number) =>
      judgeFailure({ failures, errorCode: 'A', errorAgeSeconds: 1, errorsUntold: 0 }, 'A');
    expect([0, 1, 2, 3, 4, 5, 6, 7, 8, 1_000].map((failures) => after(failures).coolSeconds)).toEqual([
      0, 0, 10, 20, 40, 80, 160, 300, 300, 300,
    ]);
    expect([1, 2, 3].map((failures) => after(failures).isSaid)).toEqual([false, true, false]);
  });
});
