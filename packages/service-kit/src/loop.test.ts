import { describe, expect, it } from '@jest/globals';
import { AppError, createLogger, createLoop, type Loop } from './index.ts';

const NEVER_MS = 60_000;

function createProbe(run: (n: number, signal: AbortSignal) => Promise<'more' | 'idle'>, concurrency = 1) {
  const lines: string[] = [];
  const log = createLogger({ service: 'test', write: (line) => lines.push(line) });
  let runs = 0;
  const loop = createLoop({
    name: 'probe',
    idleMs: NEVER_MS,
    concurrency,
    log,
    run: (signal) => run((runs += 1), signal),
  });
  return { loop, lines, runs: () => runs };
}

describe('createLoop', () => {
  it('runs again at once while there is more, then rests until it is woken', async () => {
    const rested = Promise.withResolvers<undefined>();
    const woken = Promise.withResolvers<undefined>();
    const { loop, runs } = createProbe(async (n) => {
      if (n === 4) rested.resolve(undefined);
      if (n === 5) woken.resolve(undefined);
      return n < 4 ? 'more' : 'idle';
    });
    await during(loop, async () => {
      await rested.promise;
      await quietTurns();
      expect(runs()).toBe(4);
      loop.wake();
      await woken.promise;
    });
    expect(runs()).toBe(5);
  });

  it('loses no wake that comes while a run is in hand', async () => {
    const second = Promise.withResolvers<undefined>();
    const { loop } = createProbe(async (n) => {
      if (n === 1) loop.wake();
      else second.resolve(undefined);
      return 'idle';
    });
    await during(loop, () => second.promise);
  });

  it('lets timers run although there is always more', async () => {
    const { loop } = createProbe(async () => 'more');
    await during(loop, () => new Promise((resolve) => setTimeout(resolve, 1)));
  });

  it('runs as many at once as asked for, and no more', async () => {
    let inHand = 0;
    let most = 0;
    const enough = Promise.withResolvers<undefined>();
    const { loop } = createProbe(async (n) => {
      most = Math.max(most, (inHand += 1));
      await quietTurns();
      inHand -= 1;
      if (n === 12) enough.resolve(undefined);
      return 'more';
    }, 3);
    await during(loop, () => enough.promise);
    expect(most).toBe(3);
  });

  it('logs a failure, backs off, is not hurried by a wake, and goes on', async () => {
    const again = Promise.withResolvers<number>();
    const startedAt = performance.now();
    const { loop, lines } = createProbe(async (n) => {
      if (n === 1) throw new Error('database is away');
      if (n === 2) throw new AppError('BROKEN', 'never works', { retryable: false });
      again.resolve(performance.now() - startedAt);
      return 'idle';
    });
    await during(loop, async () => {
      const waker = setInterval(() => loop.wake(), 5);
      const tookMs = await again.promise;
      clearInterval(waker);
      expect(tookMs).toBeGreaterThanOrEqual(390);
    });
    const logged = lines.map((line): unknown => JSON.parse(line));
    expect(logged).toEqual([
      expect.objectContaining({ event: 'loop.failed', level: 'warn', loop: 'probe', failures: 1 }),
      expect.objectContaining({ event: 'loop.failed', level: 'error', failures: 2 }),
    ]);
  });

  it('waits on stop for the run in hand, whose signal is aborted, and starts no other', async () => {
    const begun = Promise.withResolvers<undefined>();
    const release = Promise.withResolvers<undefined>();
    let finished = false;
    const { loop, runs } = createProbe(async (_n, signal) => {
      begun.resolve(undefined);
      await release.promise;
      finished = signal.aborted;
      return 'more';
    });
    loop.start();
    await begun.promise;
    const stopped = loop.stop();
    release.resolve(undefined);
    await stopped;
    loop.wake();
    loop.start();
    await quietTurns();
    expect([finished, runs()]).toEqual([true, 1]);
  });

  it('stops at once while it rests, also when it never started', async () => {
    const { loop } = createProbe(async () => 'idle');
    await during(loop, quietTurns);
    await createProbe(async () => 'idle').loop.stop();
  });
});

async function during(loop: Loop, story: () => Promise<unknown>): Promise<void> {
  loop.start();
  try {
    await story();
  } finally {
    await loop.stop();
  }
}

/** Long enough for anything that is ready to run. */
async function quietTurns(): Promise<void> {
  for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}
