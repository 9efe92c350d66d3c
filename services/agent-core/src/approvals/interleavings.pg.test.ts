import { afterAll, beforeAll, expect, it, jest } from '@jest/globals';
import * as fc from 'fast-check';
import { openTestDatabase } from '../testing.ts';
import { startCluster } from './cluster.test-support.ts';
import { judgePlay, type Tally } from './judge-play.test-support.ts';
import { anyPlay, doStep, type Play } from './steps.test-support.ts';

/** The same plays every time; another seed, or more plays, by environment for a longer search by hand. */
const seed = Number(process.env.STEWARD_PLAY_SEED ?? 20_261_125);
const plays = Number(process.env.STEWARD_PLAYS ?? 60);
/** Plays wait for clocks of their own, so several go on at once, each with a database of its own. */
const stages = 3;
/** What must have come up in the plays of a run, or they showed nothing. */
const fates = [
  ...[
    'effects',
    'crashes',
    'replays',
    'used',
    'denied',
    'expired',
    'cancelled',
    'void',
    'unknown',
    'freezes',
    'repeats',
  ],
  ...['votes refused', 'clicks ignored'],
];
jest.setTimeout(240_000);

type Stage = {
  database: Awaited<ReturnType<typeof openTestDatabase>>;
  pools: ReturnType<Awaited<ReturnType<typeof openTestDatabase>>['connect']>[];
};
const open: Stage[] = [];
beforeAll(async () => {
  for (let number = 0; number < stages; number += 1) {
    const database = await openTestDatabase();
    // No play crashes the server, so no commit need wait for the disk.
    await database.rows(
      `do $$ begin execute format('alter database %I set synchronous_commit = off', current_database()); end $$`,
    );
    open.push({ database, pools: [database.connect(6), database.connect(6), database.connect(6)] });
  }
});
afterAll(async () => {
  for (const { database } of open) await database.close();
});

/** Plays once and gives what was wrong. Steps and jitter follow from the seed; whom the database lets through first does not. */
async function play(
  { database, pools }: Stage,
  { bursts, isStory }: Play,
  jitter: number,
  tally: Tally,
): Promise<string[]> {
  const since = new Date(Date.now() - 50);
  const cluster = await startCluster(database, pools, jitter);
  for (const burst of bursts) {
    await Promise.all(burst.map((step) => doStep(cluster, step)));
    await cluster.revive();
    await cluster.breathe({ always: isStory });
  }
  const left = await cluster.finish();
  const faults = await judgePlay(cluster, since, tally);
  return [...left.map((what) => `never ends: ${what}`), ...faults];
}

it(`no effect without a valid grant, never two, one outcome, an end to everything, and all of it on record (seed ${seed})`, async () => {
  const tally: Tally = {};
  // One fault is enough: the other stages need not go on.
  let hasFailed = false;
  const started = performance.now();
  const outcomes = await Promise.allSettled(
    open.map((stage, number) =>
      fc.assert(
        fc.asyncProperty(anyPlay, fc.nat(), async (steps, jitter) => {
          if (hasFailed) return;
          const faults = await play(stage, steps, jitter, tally);
          hasFailed ||= faults.length > 0;
          expect(faults).toEqual([]);
        }),
        { seed: seed + number, numRuns: Math.ceil(plays / stages), endOnFailure: true },
      ),
    ),
  );
  for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
  const seconds = Math.round((performance.now() - started) / 1_000);
  process.stdout.write(
    `${Object.entries(tally)
      .map(([name, times]) => `${name} ${times}`)
      .join('  ')}  in ${seconds} s\n`,
  );
  // What never happened was not tried.
  const tried = Object.fromEntries(fates.map((name) => [name, tally[name] ?? 0]));
  expect(Object.entries(tried).filter(([, times]) => times === 0)).toEqual([]);
});
