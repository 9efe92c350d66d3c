import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { createBreaker, type Breaker, type BreakerState } from './index.ts';

const OPEN_MS = 30;
const LONG_MS = 60_000;
const anyError = (outcome: { ok: unknown } | { error: unknown }): boolean => 'error' in outcome;
const onlyFaults = (outcome: { ok: unknown } | { error: unknown }): boolean =>
  'error' in outcome && (outcome.error as Error).message === 'fault';

function createProbe(openMs = LONG_MS, minimumCalls = 4) {
  const states: BreakerState[] = [];
  const changed = new Set<() => void>();
  const breaker = createBreaker({
    name: 'probe',
    minimumCalls,
    openMs,
    onStateChange: (state) => {
      states.push(state);
      for (const look of changed) look();
    },
  });
  const reaches = (state: BreakerState): Promise<void> =>
    new Promise((resolve) => {
      const look = (): void => {
        if (breaker.state === state) resolve();
      };
      changed.add(look);
      look();
    });
  return { breaker, states, reaches };
}

const succeed = (breaker: Breaker) => breaker.run(() => Promise.resolve('ok'), onlyFaults);
const fault = (breaker: Breaker) => swallow(breaker.run(() => Promise.reject(new Error('fault')), onlyFaults));
const invalid = (breaker: Breaker) => swallow(breaker.run(() => Promise.reject(new Error('invalid')), onlyFaults));

async function swallow(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
    return 'ok';
  } catch (error) {
    return (error as { code?: string }).code ?? (error as Error).message;
  }
}

async function repeat(times: number, action: () => Promise<unknown>): Promise<void> {
  for (let n = 0; n < times; n += 1) await action();
}

describe('createBreaker', () => {
  it('passes on results and errors unchanged', async () => {
    const { breaker } = createProbe();
    await expect(succeed(breaker)).resolves.toBe('ok');
    const own = new Error('own');
    await expect(breaker.run(() => Promise.reject(own), anyError)).rejects.toBe(own);
    const throwsAtOnce = (): Promise<string> => {
      throw own;
    };
    await expect(breaker.run(throwsAtOnce, anyError)).rejects.toBe(own);
  });

  it('does not open on the first faults, but on enough of them', async () => {
    const { breaker, states } = createProbe();
    await repeat(3, () => fault(breaker));
    expect(breaker.state).toBe('closed');
    await fault(breaker);
    expect([breaker.state, states]).toEqual(['open', ['open']]);
  });

  it('refuses while open, retryable and without running the action', async () => {
    const { breaker } = createProbe();
    await repeat(4, () => fault(breaker));
    let ran = false;
    await expect(
      breaker.run(async () => {
        ran = true;
      }, anyError),
    ).rejects.toMatchObject({ code: 'BREAKER_OPEN', retryable: true });
    expect(ran).toBe(false);
  });

  it('takes no invalid request for a fault, however many, nor lets them dilute the faults', async () => {
    const { breaker } = createProbe();
    await repeat(50, () => invalid(breaker));
    expect(breaker.state).toBe('closed');
    await repeat(4, () => fault(breaker));
    expect(breaker.state).toBe('open');
  });

  it('judges a result that means trouble as a fault, and a neutral one as nothing', async () => {
    const { breaker } = createProbe();
    await repeat(50, () =>
      breaker.run(
        () => Promise.resolve({ status: 400 }),
        () => 'neutral',
      ),
    );
    await repeat(4, () =>
      breaker.run(
        () => Promise.resolve({ status: 503 }),
        (outcome) => 'ok' in outcome,
      ),
    );
    expect(breaker.state).toBe('open');
  });

  it('stays closed while at most half of the calls are faults', async () => {
    const { breaker } = createProbe();
    for (let n = 0; n < 20; n += 1) {
      await succeed(breaker);
      await fault(breaker);
    }
    expect(breaker.state).toBe('closed');
  });

  it('closes when the one probe of half-open succeeds', async () => {
    const { breaker, states, reaches } = createProbe(OPEN_MS);
    await repeat(4, () => fault(breaker));
    await reaches('half_open');
    await succeed(breaker);
    expect(states).toEqual(['open', 'half_open', 'closed']);
    await succeed(breaker);
  });

  it('opens again when the probe fails', async () => {
    const { breaker, states, reaches } = createProbe(OPEN_MS);
    await repeat(4, () => fault(breaker));
    await reaches('half_open');
    await fault(breaker);
    expect(states.slice(0, 3)).toEqual(['open', 'half_open', 'open']);
  });

  it('learns nothing from an invalid request in half-open, and lets the next probe through', async () => {
    const { breaker, states, reaches } = createProbe(OPEN_MS);
    await repeat(4, () => fault(breaker));
    await reaches('half_open');
    await repeat(3, () => invalid(breaker));
    expect([breaker.state, states]).toEqual(['half_open', ['open', 'half_open']]);
    await succeed(breaker);
    expect(breaker.state).toBe('closed');
  });

  it('lets one probe through at a time', async () => {
    const { breaker, reaches } = createProbe(OPEN_MS);
    await repeat(4, () => fault(breaker));
    await reaches('half_open');
    const answer = Promise.withResolvers<string>();
    const probe = breaker.run(() => answer.promise, anyError);
    expect(await Promise.all([1, 2, 3].map(() => swallow(succeed(breaker))))).toEqual(Array(3).fill('BREAKER_OPEN'));
    answer.resolve('back');
    await expect(probe).resolves.toBe('back');
    expect(breaker.state).toBe('closed');
  });

  it.each(['success', 'fault'] as const)('ignores a late %s of a call that set out before it opened', async (late) => {
    const { breaker, states, reaches } = createProbe(OPEN_MS);
    const answer = Promise.withResolvers<string>();
    const old = swallow(breaker.run(() => answer.promise, onlyFaults));
    await repeat(4, () => fault(breaker));
    await reaches('half_open');
    if (late === 'success') answer.resolve('ok');
    else answer.reject(new Error('fault'));
    await old;
    expect([breaker.state, states]).toEqual(['half_open', ['open', 'half_open']]);
  });

  it('holds faults from before it opened against nobody after it closed again', async () => {
    const { breaker, reaches } = createProbe(OPEN_MS);
    const answer = Promise.withResolvers<string>();
    const old = Array.from({ length: 8 }, () => swallow(breaker.run(() => answer.promise, onlyFaults)));
    await repeat(4, () => fault(breaker));
    await reaches('half_open');
    await succeed(breaker);
    answer.reject(new Error('fault'));
    await Promise.all(old);
    expect(breaker.state).toBe('closed');
  });

  it('gives the probe back when the judgement itself throws', async () => {
    const { breaker, reaches } = createProbe(OPEN_MS);
    await repeat(4, () => fault(breaker));
    await reaches('half_open');
    const badJudge = (): boolean => {
      throw new Error('bad judge');
    };
    expect(await swallow(breaker.run(() => Promise.resolve(1), badJudge))).toBe('bad judge');
    await succeed(breaker);
    expect(breaker.state).toBe('closed');
  });

  it('has no limit of its own on calls at once: many slow ones are no fault', async () => {
    const { breaker } = createProbe();
    const answer = Promise.withResolvers<string>();
    const calls = Array.from({ length: 500 }, () => breaker.run(() => answer.promise, anyError));
    answer.resolve('ok');
    expect(new Set(await Promise.all(calls))).toEqual(new Set(['ok']));
    expect(breaker.state).toBe('closed');
  });

  it('opens exactly when a plain count says so, for any sequence of outcomes', async () => {
    const outcome = fc.constantFrom('succeed', 'fault', 'invalid');
    await fc.assert(
      fc.asyncProperty(fc.array(outcome, { maxLength: 40 }), async (outcomes) => {
        const { breaker } = createProbe(LONG_MS);
        let [judged, faults, isOpen] = [0, 0, false];
        for (const next of outcomes) {
          await (next === 'succeed' ? swallow(succeed(breaker)) : next === 'fault' ? fault(breaker) : invalid(breaker));
          if (!isOpen && next !== 'invalid') judged += 1;
          if (!isOpen && next === 'fault') faults += 1;
          if (next === 'fault' && judged >= 4 && faults / judged > 0.5) isOpen = true;
          expect(breaker.state).toBe(isOpen ? 'open' : 'closed');
        }
      }),
      { numRuns: 200 },
    );
  });
});
