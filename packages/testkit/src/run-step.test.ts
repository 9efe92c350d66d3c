import { describe, expect, it } from '@jest/globals';
import { readNumbers } from './run-step.ts';

describe('the numbers that a program says at its end', () => {
  it('are those of its last line', () => {
    expect(readNumbers('x\n1 passed, 1 failed\nmore\n8 passed, 0 failed\n', 0)).toEqual({ passed: 8, failed: 0 });
    expect(readNumbers('7 passed, 2 failed', 1)).toEqual({ passed: 7, failed: 2 });
  });

  it('count a failure that is not said', () => {
    expect(readNumbers('8 passed, 0 failed\n', 1)).toEqual({ passed: 8, failed: 1 });
    expect(readNumbers('8 passed, 0 failed\nthen it crashed', 1)).toEqual({ passed: 0, failed: 1 });
    expect(readNumbers('', null)).toEqual({ passed: 0, failed: 1 });
  });
});
