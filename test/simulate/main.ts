// Plays the services by seeds, each another order of everything that happens:
//   make simulate [SEEDS=10000] [SEED=17]        `--bounded`: what the project's check plays
// With SEED alone that one is played again, with its trace. The last line is `N passed, N failed`.
import { fork } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { provisionServers } from '@steward/testkit';
import { createSimDatabase } from './sim-database.ts';
import { governedEvery, runSeed, type SeedResult } from './run-seed.ts';

/** What a campaign must have met, or it says nothing. */
const mustMeet = [
  'deaths',
  'pauses',
  'takeovers',
  'redeliveries',
  'lost answers',
  'wiped brokers',
  'unknowns',
  'refusals',
  'requests',
  'approvals',
  'denials',
  'expiries',
  'refused votes',
  'governed calls',
  'unknown calls',
];
const readNumber = (name: string, fallback: number): number => {
  const text = process.env[name] ?? '';
  if (text === '') return fallback;
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new Error(`${name} is ${text}; it must be a number from 1 on`);
  return Number(text);
};
/** A campaign that goes wrong everywhere need not be played to its end. */
const maxFailures = readNumber('STOP_AT', 5);
const isReplay = (process.env['SEED'] ?? '') !== '' && (process.env['SEEDS'] ?? '') === '';
const first = readNumber('SEED', 1);
/** From the first on, every so many-th seed: for a bug that others cannot meet. */
const every = readNumber('EVERY', 1);
const firstGoverned = Math.ceil(first / governedEvery) * governedEvery;
const isBounded = process.argv.includes('--bounded');
const seeds = isReplay ? 1 : readNumber('SEEDS', isBounded ? 400 : 10_000);

if (process.env['SIMULATE_SHARE'] === undefined) await lead();
else await play(process.env['SIMULATE_SHARE']);

/** Shares the seeds out to processes, each with a database of its own. */
async function lead(): Promise<never> {
  const servers = await provisionServers({ say: (line) => console.log(`  ${line}`) });
  const startedAt = performance.now();
  // A process waits for its database half of the time.
  const workers = isReplay ? 1 : 2 * availableParallelism();
  const met = new Map<string, number>();
  let passed = 0;
  let failed = 0;
  const children = Array.from({ length: workers }, (_, share) =>
    fork(import.meta.filename, process.argv.slice(2), {
      env: { ...process.env, ...servers.env, SIMULATE_SHARE: `${share}/${workers}` },
    }),
  );
  const ends = children.map((child) => {
    child.on('message', (message) => {
      const result = message as SeedResult; // what `play` sends
      for (const [what, count] of Object.entries(result.met)) met.set(what, (met.get(what) ?? 0) + count);
      if (result.violations.length === 0) passed += 1;
      else {
        failed += 1;
        report(result);
        if (failed >= maxFailures) for (const one of children) one.kill();
      }
    });
    return new Promise<number>((resolve) => child.once('exit', (code) => resolve(code ?? 1)));
  });
  const codes = await Promise.all(ends);
  const seconds = (performance.now() - startedAt) / 1_000;
  await servers.stop();
  const played = passed + failed;
  console.log(
    `  ${played} seeds in ${seconds.toFixed(0)} s (${(played / seconds).toFixed(0)}/s), met: ${[...met].map(([what, count]) => `${what} ${count}`).join(', ')}`,
  );
  const unmet = isReplay ? [] : mustMeet.filter((what) => (met.get(what) ?? 0) === 0);
  if (unmet.length > 0) console.log(`  not met, so nothing was shown: ${unmet.join(', ')}`);
  // A process that ended by itself without having played its share.
  const broken = failed === 0 && codes.some((code) => code !== 0) ? 1 : 0;
  console.log(`${passed} passed, ${failed + unmet.length + broken} failed`);
  process.exit(failed + unmet.length + broken === 0 ? 0 : 1);
}

function report({ seed, violations, hash, trace }: SeedResult): void {
  console.log(`  seed ${seed} (trace ${hash}) broke a promise; replay: make simulate SEED=${seed}`);
  for (const { promise, text } of violations) console.log(`    ${promise}: ${text}`);
  if (isReplay) for (const line of trace) console.log(`      ${line}`);
}

async function play(share: string): Promise<never> {
  const [mine = 0, of = 1] = share.split('/').map(Number);
  const database = await createSimDatabase();
  for (let at = mine; at < seeds; at += of) {
    const seed = first + at * every;
    const result = await runSeed(database, seed);
    // Once of each kind in a campaign: a seed that is not the same again could not be replayed.
    const isTried = seed === first || seed === firstGoverned;
    if (isTried && (await runSeed(database, seed)).hash !== result.hash)
      result.violations.push({ promise: 'unexpected', text: 'the same seed was not the same run again' });
    // A trace is long; of a seed that broke nothing nobody reads it.
    process.send?.({ ...result, trace: isReplay ? result.trace : [] });
  }
  await database.drop();
  process.exit(0);
}
