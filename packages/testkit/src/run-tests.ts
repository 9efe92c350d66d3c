// Everything that must hold, with real servers:  node packages/testkit/src/run-tests.ts [STEP ...]
// Steps: format lint types unit postgres rabbitmq e2e (all of these by default); chaos simulate simulate-bugs stack (only when named).
// The last line is `N passed, N failed`; the exit code is 0 only when nothing failed.
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import type { Servers } from './provision-servers.ts';
import { provisionServers } from './provision-servers.ts';
import type { Step, StepResult } from './run-step.ts';
import { runStep } from './run-step.ts';
import { dropDatabasesOfRun } from './test-database.ts';
import { dropVhostsOfRun } from './test-vhost.ts';

const root = join(import.meta.dirname, '..', '..', '..');
const minuteMs = 60_000;

const check = (name: string): Step => ({ name, script: name, args: [], jest: false, limitMs: 10 * minuteMs });
const jest = (name: string, limitMinutes: number, ...args: string[]): Step => ({
  name,
  script: 'jest',
  args: ['--selectProjects', name, ...args],
  jest: true,
  limitMs: limitMinutes * minuteMs,
});
// Two cores are the common case, so two lanes run at first: the static checks beside the unit tests. What uses servers
// runs alone afterwards, so that its waits are not starved.
const staticSteps = [check('format'), check('types'), check('lint')];
const unitSteps = [jest('unit', 15)];
const serverSteps = [jest('postgres', 20), jest('rabbitmq', 10), jest('e2e', 25, '--runInBand')];
const program = (name: string, limitMinutes: number, ...args: string[]): Step => ({
  ...{ name, script: name, args, jest: false, saysNumbers: true, limitMs: limitMinutes * minuteMs },
});
// Both start servers of their own.
const chaosSteps = [program('chaos', 10, '--bounded')];
const simulateSteps = [program('simulate', 10, '--bounded'), program('simulate-bugs', 15)];
const stackSteps = [jest('stack', 30, '--runInBand')];

const named = new Set([...chaosSteps, ...simulateSteps, ...stackSteps].map(({ name }) => name));

const say = (line: string) => console.log(`  ${line}`);
const abort = new AbortController();
const isAborted = () => abort.signal.aborted;
const total = { passed: 0, failed: 0 };
let notTested = 0;

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => {
    if (!abort.signal.aborted) say(`${signal}: stopping everything that was started`);
    abort.abort();
  });
}

await run(chooseSteps(process.argv.slice(2)));
if (notTested > 0) console.log(`${notTested} not tested`);
console.log(`${total.passed} passed, ${total.failed} failed`);
process.exit(abort.signal.aborted ? 130 : total.failed > 0 ? 1 : 0);

/** Exits with the list of steps when a name is unknown. */
function chooseSteps(names: string[]): (steps: Step[]) => Step[] {
  const all = [...staticSteps, ...unitSteps, ...serverSteps, ...chaosSteps, ...simulateSteps, ...stackSteps].map(
    (step) => step.name,
  );
  const unknown = names.filter((name) => !all.includes(name));
  if (unknown.length > 0) {
    console.error(`There is no step ${unknown.join(', ')}. Steps: ${all.join(' ')}`);
    process.exit(2);
  }
  const chosen = names.length > 0 ? names : all.filter((name) => !named.has(name));
  return (steps) => steps.filter((step) => chosen.includes(step.name));
}

async function run(choose: (steps: Step[]) => Step[]): Promise<void> {
  const needServers = choose(serverSteps).length > 0;
  const withoutServers: NodeJS.ProcessEnv = { ...process.env, STEWARD_TEST_RUN_ID: newRunId() };
  const servers = needServers ? tryServers() : Promise.resolve(undefined);
  for (const name of ['DATABASE_URL', 'AMQP_URL', 'RABBITMQ_MANAGEMENT_URL'])
    Reflect.deleteProperty(withoutServers, name);
  try {
    await Promise.all([runLane(choose(staticSteps), withoutServers), runLane(choose(unitSteps), withoutServers)]);
    const got = await servers;
    if (got instanceof Error) await giveUpOnServers(got, choose(serverSteps));
    else if (got !== undefined) await runOnServers(got, choose(serverSteps), { ...withoutServers, ...got.env });
    await runLane(choose(chaosSteps), withoutServers);
    await runLane(choose(simulateSteps), withoutServers);
    await runLane(choose(stackSteps), withoutServers);
  } finally {
    const got = await servers;
    if (got !== undefined && !(got instanceof Error)) await got.stop();
  }
}

/** Carries the run's name into databases and vhosts; letters and digits only. */
function newRunId(): string {
  return `r${randomBytes(4).toString('hex')}`;
}

async function tryServers(): Promise<Servers | Error> {
  return provisionServers({ say }).catch((error: unknown) => error as Error);
}

/** A missing server fails the run, except on the machine of a person who said that a part is enough for now. */
async function giveUpOnServers(error: Error, steps: Step[]): Promise<void> {
  console.log(`\n${error.message}\n`);
  if (process.env.STEWARD_TEST_PARTIAL === '1' && process.env.CI !== 'true') {
    notTested += steps.length;
    say(`left out for want of servers: ${steps.map((step) => step.name).join(', ')}`);
    return;
  }
  total.failed += steps.length;
  say(`FAILED for want of servers: ${steps.map((step) => step.name).join(', ')}`);
}

/** Own servers vanish anyway; on a given one, databases and vhosts of killed tests must not stay behind. */
async function runOnServers(servers: Servers, steps: Step[], env: NodeJS.ProcessEnv): Promise<void> {
  await runLane(steps, env);
  Object.assign(process.env, servers.env, { STEWARD_TEST_RUN_ID: env.STEWARD_TEST_RUN_ID });
  if (!servers.postgres.own) await dropDatabasesOfRun().catch(sayLeft('databases'));
  if (!servers.rabbitmq.own) await dropVhostsOfRun().catch(sayLeft('vhosts'));
}

function sayLeft(what: string): (error: unknown) => void {
  return (error) => say(`could not remove this run's ${what}: ${String(error)}`);
}

async function runLane(steps: Step[], env: NodeJS.ProcessEnv): Promise<void> {
  for (const step of steps) {
    if (isAborted()) return;
    const result = await runStep(step, { root, env, signal: abort.signal });
    if (isAborted()) return;
    total.passed += result.passed;
    total.failed += result.failed;
    report(step, result);
  }
}

function report(step: Step, { passed, failed, output, durationMs }: StepResult): void {
  const counts = step.jest || step.saysNumbers ? `${passed} passed${failed > 0 ? `, ${failed} failed` : ''}` : '';
  const seconds = `${(durationMs / 1000).toFixed(1)} s`.padStart(8);
  if (failed > 0) console.log(`\n----- ${step.name} -----\n${output.trimEnd()}\n`);
  say(`${step.name.padEnd(9)} ${failed > 0 ? 'FAILED' : 'ok    '} ${seconds}  ${counts}`.trimEnd());
}
