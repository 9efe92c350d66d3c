import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { DeliveryPath } from './database.ts';
import { decideNext, isRepeatable } from './decide-next.ts';

type Facts = Parameters<typeof decideNext>[0];
const hour = 3_600_000;
const facts: Facts = {
  outcome: 'accepted',
  path: 'group_openapi',
  code: null,
  attemptCount: 1,
  ageMs: 0,
  unknownCount: 0,
  lastPart: true,
  retryAfterMs: null,
  random: 0.5,
};
const paths = [
  ...(['session_webhook', 'group_openapi', 'person_openapi', 'custom_robot'] as const),
  ...(['card', 'card_update', 'recall'] as const),
] satisfies DeliveryPath[];
const decide = (over: Partial<Facts>) => decideNext({ ...facts, ...over });
const anyFacts: fc.Arbitrary<Facts> = fc.record({
  outcome: fc.constantFrom('unknown', 'accepted', 'retryable', 'permanent', 'invalid', 'session_gone'),
  path: fc.constantFrom(...paths),
  code: fc.option(fc.string()),
  attemptCount: fc.integer({ min: 1, max: 10_000 }),
  ageMs: fc.integer({ min: 0, max: 24 * hour }),
  unknownCount: fc.nat(20),
  lastPart: fc.boolean(),
  retryAfterMs: fc.option(fc.integer({ min: 0, max: 600_000 })),
  random: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
});

describe('what becomes of a message after an attempt', () => {
  it.each<[string, Partial<Facts>, ReturnType<typeof decideNext>]>([
    ['accepted, the last part', {}, { kind: 'end', ending: 'accepted', reason: null }],
    ['accepted, more to come', { lastPart: false }, { kind: 'next_part' }],
    [
      'permanent, after one that may have arrived',
      { outcome: 'permanent', code: '33004', unknownCount: 1 },
      { kind: 'end', ending: 'unknown', reason: '33004' },
    ],
    [
      'retryable for too long, after one that may have arrived',
      { outcome: 'retryable', ageMs: 7 * hour, unknownCount: 1 },
      { kind: 'end', ending: 'unknown', reason: 'retryable' },
    ],
    ['permanent', { outcome: 'permanent', code: '33004' }, { kind: 'end', ending: 'failed', reason: '33004' }],
    ['invalid', { outcome: 'invalid' }, { kind: 'end', ending: 'failed', reason: 'invalid' }],
    [
      'session gone',
      { outcome: 'session_gone', path: 'session_webhook' },
      { kind: 'again', delayMs: 0, sessionGone: true },
    ],
    [
      'session gone, of a path that has none',
      { outcome: 'session_gone', path: 'group_openapi', code: '300001' },
      { kind: 'end', ending: 'failed', reason: '300001' },
    ],
    ['retryable', { outcome: 'retryable' }, { kind: 'again', delayMs: 1_000, sessionGone: false }],
    [
      'retryable for 7 h',
      { outcome: 'retryable', ageMs: 7 * hour, code: '503' },
      { kind: 'end', ending: 'failed', reason: '503' },
    ],
    ['unknown, once', { outcome: 'unknown', unknownCount: 1 }, { kind: 'again', delayMs: 1_000, sessionGone: false }],
    ['unknown, twice', { outcome: 'unknown', unknownCount: 2 }, { kind: 'end', ending: 'unknown', reason: 'unknown' }],
    [
      'unknown, often, where the platform drops repeats',
      { outcome: 'unknown', unknownCount: 9, path: 'custom_robot' },
      { kind: 'again', delayMs: 1_000, sessionGone: false },
    ],
    [
      'a recall refused',
      { outcome: 'permanent', path: 'recall', code: 'RECALL_REFUSED' },
      { kind: 'end', ending: 'failed', reason: 'RECALL_REFUSED' },
    ],
    [
      'a recall refused after one that nobody knows the end of',
      { outcome: 'permanent', path: 'recall', code: 'RECALL_REFUSED', unknownCount: 1 },
      { kind: 'end', ending: 'unknown', reason: 'RECALL_REFUSED' },
    ],
  ])('%s', (_, over, next) => {
    expect(decide(over)).toEqual(next);
  });

  it.each(['card', 'card_update', 'recall'] as const)('tries an unknown %s again until it is given up', (path) => {
    const unknown = { outcome: 'unknown', path, unknownCount: 50, attemptCount: 50 } as const;
    expect(decide(unknown)).toMatchObject({ kind: 'again' });
    expect(decide({ ...unknown, ageMs: 7 * hour })).toMatchObject({ kind: 'end', ending: 'unknown' });
  });

  it('never sends again what may have arrived twice, and never calls it failed or accepted', () => {
    fc.assert(
      fc.property(anyFacts, (o) => {
        const next = decideNext({
          ...o,
          outcome: 'unknown',
          path: isRepeatable(o.path) ? 'group_openapi' : o.path,
          unknownCount: 2 + (o.unknownCount % 5),
        });
        expect(next).toMatchObject({ kind: 'end', ending: 'unknown' });
      }),
    );
  });

  it('ends as accepted only if the platform said so', () => {
    fc.assert(
      fc.property(anyFacts, (o) => {
        const next = decideNext(o);
        const proceeds = next.kind === 'next_part' || (next.kind === 'end' && next.ending === 'accepted');
        expect(proceeds).toBe(o.outcome === 'accepted');
      }),
    );
  });

  it('waits no less than the platform asks, and by itself no longer than 5 minutes', () => {
    fc.assert(
      fc.property(anyFacts, (o) => {
        const next = decideNext(o);
        if (next.kind !== 'again' || next.sessionGone) return;
        expect(next.delayMs).toBeGreaterThanOrEqual(o.retryAfterMs ?? 0);
        expect(next.delayMs).toBeLessThanOrEqual(Math.max(o.retryAfterMs ?? 0, 300_000));
        expect(Number.isInteger(next.delayMs)).toBe(true);
      }),
    );
  });

  it('comes to an end after six hours, whatever goes wrong', () => {
    fc.assert(
      fc.property(anyFacts, (o) => {
        const next = decideNext({ ...o, ageMs: 6 * hour + 1 });
        if (o.outcome !== 'accepted') expect(next.kind).toBe('end');
      }),
    );
  });
});
