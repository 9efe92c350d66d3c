import { describe, expect, it } from '@jest/globals';
import { countJestTests } from './count-jest-tests.ts';

const green = {
  numPassedTests: 7,
  numFailedTests: 0,
  numRuntimeErrorTestSuites: 0,
  numPendingTests: 0,
  numTodoTests: 0,
};

describe('countJestTests', () => {
  it('counts a green run as it is', () => {
    expect(countJestTests(green, 0)).toEqual({ passed: 7, failed: 0, remarks: [] });
  });

  it.each([
    ['failed tests', { ...green, numFailedTests: 2 }, 1, 2],
    ['a file that could not run', { ...green, numRuntimeErrorTestSuites: 1 }, 1, 1],
    ['skipped tests', { ...green, numPendingTests: 2, numTodoTests: 1 }, 0, 3],
    ['a run of no tests', { ...green, numPassedTests: 0 }, 0, 1],
    ['a missing report', undefined, 1, 1],
    ['a report that is no object', 'broken', 1, 1],
    ['a killed run', undefined, null, 1],
    ['a bad exit code after green tests', green, 1, 1],
  ])('counts %s as failed', (_name, report, exitCode, failed) => {
    expect(countJestTests(report, exitCode).failed).toBe(failed);
  });
});
