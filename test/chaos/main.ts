// Injects faults into real processes under load and checks after each that every promise was kept:
//   make chaos [FAULT=17 | FAULT=7+11 | FAULT=1,2,3] [SEED=123] [SEEDS=50] [CONVERSATIONS=300]
// Without anything: every fault with seeds 1 and 2. SEEDS=n beyond 2: crossed pairs besides. `--bounded`: what the project's
// check runs. The last line is `N passed, N failed`.
import { execFileSync } from 'node:child_process';
import { allFaults, notImplemented } from './all-faults.ts';
import { plantCanaries } from './canaries.ts';
import { startChaos } from './chaos-stack.ts';
import type { Fault } from './fault.ts';
import { createRandom, pick } from '../random.ts';
import { describeResult, recordResults } from './report.ts';
import { runFault, type Campaign, type FaultResult } from './run-fault.ts';

const isBounded = process.argv.includes('--bounded');
const readNumber = (name: string, fallback: number): number => {
  const text = process.env[name] ?? '';
  if (text === '') return fallback;
  if (!/^[1-9]\d{0,6}$/.test(text)) throw new Error(`${name} is ${text}; it must be a number from 1 on`);
  return Number(text);
};
const say = (line: string) => console.log(line);

/** A few seconds each, one for each kind of thing that breaks. */
const boundedFaults = [1, 3, 7, 10, 11, 17, 18, 20, 21];

type Run = { faults: readonly Fault[]; seed: number };

function planRuns(): Run[] {
  const wish = process.env['FAULT'] ?? '';
  const seed = readNumber('SEED', 1);
  // Twice the same fault with the same seed would say the same words twice.
  if (wish !== '') return [...new Set(wish.split(','))].map((one) => ({ faults: one.split('+').map(findFault), seed }));
  if (isBounded) return boundedFaults.map((number) => ({ faults: [findFault(String(number))], seed: 1 }));
  const seeds = readNumber('SEEDS', 2);
  return Array.from({ length: seeds }, (_, at) => at + 1).flatMap((one): Run[] =>
    one <= 2 ? allFaults.map((fault) => ({ faults: [fault], seed: one })) : [crossedPair(one)],
  );
}

function findFault(text: string): Fault {
  const found = allFaults.find(({ number }) => String(number) === text.trim());
  if (found === undefined) throw new Error(`there is no fault ${text}; docs/chaos.md lists them`);
  return found;
}

/** Two faults at once, chosen by the seed. */
function crossedPair(seed: number): Run {
  const random = createRandom(seed);
  const first = pick(random, allFaults);
  return {
    faults: [
      first,
      pick(
        random,
        allFaults.filter((fault) => fault !== first),
      ),
    ],
    seed,
  };
}

const runs = planRuns();
const conversations = readNumber('CONVERSATIONS', isBounded ? 40 : 300);
for (const number of notImplemented) say(`not implemented: fault ${number}`);
const { chaos, stop } = await startChaos({ conversations, say });
const results: FaultResult[] = [];
const stopped = new Promise<'stopped'>((resolve) => {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve('stopped'));
});

async function runAll(): Promise<void> {
  const campaign: Campaign = {
    chaos,
    conversations,
    spreadMs: isBounded ? 3_000 : 8_000,
    allowances: [],
    checked: { until: new Date(0), block: 0 },
  };
  await plantCanaries(chaos);
  for (const { faults, seed } of runs) {
    const result = await runFault(campaign, faults, seed);
    results.push(result);
    describeResult(result).forEach(say);
    // A broken promise stays in the record: what follows would be blamed for it.
    if (result.verdict === 'violated') break;
  }
}

const how = await Promise.race([runAll().catch((error: unknown) => error), stopped]);
if (how !== undefined && how !== 'stopped') console.error(how);
await stop();
if (!isBounded && results.length > 0) {
  const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim();
  recordResults(results, { date: new Date(), commit });
}
const passed = results.filter(({ verdict }) => verdict === 'kept').length;
say(`${passed} passed, ${runs.length - passed} failed`);
process.exit(passed === runs.length ? 0 : 1);
