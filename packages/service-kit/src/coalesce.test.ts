import { expect, it, jest } from '@jest/globals';
import { coalesce } from './coalesce.ts';

it('makes one call of those that come together, and another of what comes later', () => {
  jest.useFakeTimers();
  try {
    let calls = 0;
    const wake = coalesce(() => (calls += 1), 50);
    wake();
    wake();
    expect(calls).toBe(0);
    jest.advanceTimersByTime(50);
    expect(calls).toBe(1);
    jest.advanceTimersByTime(500);
    wake();
    jest.advanceTimersByTime(50);
    expect(calls).toBe(2);
  } finally {
    jest.useRealTimers();
  }
});
