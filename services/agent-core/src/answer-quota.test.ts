import { describe, expect, it } from '@jest/globals';
import { forecast } from './answer-quota.ts';

const at = (text: string) => new Date(`${text}+08:00`);

describe('the day on which the month’s calls run out', () => {
  it.each([
    ['half of the month, half of the calls', 2_500, '2026-11-16T00:00:00', null],
    ['a third of the month, half of the calls', 2_500, '2026-11-11T00:00:00', '2026-11-21'],
    ['nothing spent', 0, '2026-11-16T00:00:00', null],
    ['all spent', 5_000, '2026-11-16T12:00:00', '2026-11-16'],
    ['more than all', 9_000, '2026-11-16T12:00:00', '2026-11-16'],
    ['the first hour says little', 100, '2026-11-01T01:00:00', null],
    ['the last hour in China, still October in London', 4_990, '2026-11-01T00:30:00', '2026-11-02'],
  ])('%s', (_name, used, now, day) => {
    expect(forecast({ used, perMonth: 5_000, now: at(now) })).toBe(day);
  });
});
