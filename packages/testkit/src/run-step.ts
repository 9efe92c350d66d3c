import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { countJestTests } from './count-jest-tests.ts';

/** What a step of the run showed. `failed` counts tests; a check such as lint is one test. */
export type StepResult = { passed: number; failed: number; output: string; durationMs: number };

/**
 * One step: a script of the root package.json, and whether it is a jest run with numbers of its own. `saysNumbers`: its last
 * line is `N passed, N failed`.
 */
export type Step = {
  name: string;
  script: string;
  args: string[];
  jest: boolean;
  saysNumbers?: boolean;
  limitMs: number;
};

const minuteMs = 60_000;
/** jest writes its report last; whatever keeps it alive longer than this afterwards is a leak that a test left. */
const lingerLimitMs = 30_000;
/** Enough of the end of an output to explain a failure. */
const outputLimit = 2 * 1024 * 1024;

/** Runs one step to its end with its output held back; never rejects. Aborting kills it with everything it started. */
export async function runStep(
  step: Step,
  o: { root: string; env: NodeJS.ProcessEnv; signal: AbortSignal },
): Promise<StepResult> {
  const startedAt = performance.now();
  const folder = mkdtempSync(join(tmpdir(), 'steward-test-step-'));
  const report = join(folder, 'report.json');
  const args = step.jest ? [...step.args, '--json', `--outputFile=${report}`] : step.args;
  try {
    const { code, output } = await runScript(step, args, { ...o, report });
    const durationMs = performance.now() - startedAt;
    if (step.saysNumbers === true) return { ...readNumbers(output, code), output, durationMs };
    if (!step.jest) return { passed: code === 0 ? 1 : 0, failed: code === 0 ? 0 : 1, output, durationMs };
    const counts = countJestTests(readReport(report), code);
    return { ...counts, output: [output, ...counts.remarks].join('\n'), durationMs };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** What a program says at its end. One that fails without saying so counts as one failure. */
export function readNumbers(output: string, code: number | null): { passed: number; failed: number } {
  const [, passed, failed] = /(?:^|\n)(\d+) passed, (\d+) failed\s*$/.exec(output) ?? [];
  if (passed === undefined || failed === undefined) return { passed: 0, failed: 1 };
  return { passed: Number(passed), failed: Math.max(Number(failed), code === 0 ? 0 : 1) };
}

function runScript(
  step: Step,
  args: string[],
  o: { root: string; env: NodeJS.ProcessEnv; signal: AbortSignal; report: string },
): Promise<{ code: number | null; output: string }> {
  // `node --run` takes the script from package.json and needs no package manager; its tools find this same node.
  const PATH = `${dirname(process.execPath)}${delimiter}${process.env.PATH ?? ''}`;
  const child = spawn(process.execPath, ['--run', step.script, '--', ...args], {
    cwd: o.root,
    env: { ...o.env, PATH, FORCE_COLOR: '0' },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (chunk: string) => (output = (output + chunk).slice(-outputLimit)));
  }
  const kill = () => killGroup(child.pid);
  const killFor = (why: string) => {
    output += `\n${step.name} was killed: ${why}`;
    kill();
  };
  const limit = setTimeout(() => killFor(`its limit is ${step.limitMs / minuteMs} minutes`), step.limitMs);
  let lingeredMs = 0;
  const watch = setInterval(() => {
    if (existsSync(o.report)) lingeredMs += 1_000;
    if (lingeredMs === lingerLimitMs) killFor('its tests had ended, but something they left open kept it alive');
  }, 1_000);
  if (o.signal.aborted) kill();
  o.signal.addEventListener('abort', kill, { once: true });
  return new Promise((resolve) => {
    const settle = (code: number | null) => {
      clearTimeout(limit);
      clearInterval(watch);
      o.signal.removeEventListener('abort', kill);
      kill();
      resolve({ code, output });
    };
    child.once('error', (error) => ((output += error.message), settle(null)));
    child.once('close', settle);
    // A program that a test forgot may hold the pipes open for ever: the step ends with its own process.
    child.once('exit', () => setTimeout(kill, 1_000));
  });
}

function readReport(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return undefined;
  }
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // The group is already gone.
  }
}
