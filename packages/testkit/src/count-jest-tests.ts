/** Counts of one jest run, and why a count is not what jest itself would say. */
export type JestCounts = { passed: number; failed: number; remarks: string[] };

/**
 * Counts a jest report (`--json`). Beyond failed tests these fail too: a file that could not run, a test that was
 * skipped or left as todo (nothing is skipped silently), a run of no tests, a missing report, and a non-zero exit code
 * without any other failure (for example a file that fails after its last test).
 */
export function countJestTests(report: unknown, exitCode: number | null): JestCounts {
  const remarks: string[] = [];
  const passed = numberIn(report, 'numPassedTests');
  let failed = numberIn(report, 'numFailedTests');
  const count = (more: number, remark: string) => {
    if (more === 0) return;
    failed += more;
    remarks.push(remark);
  };
  const brokenFiles = numberIn(report, 'numRuntimeErrorTestSuites');
  count(brokenFiles, `${brokenFiles} test file(s) could not run.`);
  const skipped = numberIn(report, 'numPendingTests') + numberIn(report, 'numTodoTests');
  count(skipped, `${skipped} test(s) were skipped: a test runs or is deleted.`);
  if (failed > 0) return { passed, failed, remarks };
  if (report === undefined) count(1, `jest ended (exit code ${exitCode ?? 'none'}) without a report.`);
  else if (passed === 0) count(1, 'No test was found to run.');
  else if (exitCode !== 0) count(1, `All tests passed, but jest ended with exit code ${exitCode ?? 'none'}.`);
  return { passed, failed, remarks };
}

function numberIn(report: unknown, name: string): number {
  const value: unknown = typeof report === 'object' && report !== null ? Reflect.get(report, name) : undefined;
  return typeof value === 'number' ? value : 0;
}
