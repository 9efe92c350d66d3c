import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { budgetOf, choosePath, laneOf } from './choose-path.ts';
import { buildReply } from './testing.ts';

const nowMs = Date.parse('2026-03-01T00:00:00Z');
const content = { kind: 'markdown' } as const;
const choose = (o: Parameters<typeof buildReply>[0], sessionGone = false) =>
  choosePath({ target: buildReply(o), content, sessionGone, nowMs });

describe('the way of a message', () => {
  it('is the reply address while it lives, with half a minute to spare', () => {
    expect(choose({ expiresAtMs: nowMs + 30_001 })).toBe('session_webhook');
    expect(choose({ expiresAtMs: nowMs + 30_000 })).toBe('group_openapi');
    expect(choose({ expiresAtMs: nowMs + 3_600_000 }, true)).toBe('group_openapi');
    expect(choose({ expiresAtMs: null })).toBe('group_openapi');
  });

  it('is the person in a single chat once the reply address is dead, if we know who that is', () => {
    expect(choose({ kind: 'single', expiresAtMs: nowMs - 1 })).toBe('person_openapi');
    expect(choose({ kind: 'single', expiresAtMs: nowMs - 1, staffId: null })).toBeNull();
    expect(choose({ kind: 'single', expiresAtMs: nowMs + 60_000, staffId: null })).toBe('session_webhook');
  });

  it.each([
    [{ kind: 'group', robotCode: 'r', conversationId: 'c' }, 'group_openapi', 'robot r'],
    [{ kind: 'person', robotCode: 'r', staffId: 's' }, 'person_openapi', 'robot r'],
    [{ kind: 'custom_robot', robot: 'r' }, 'custom_robot', 'custom_robot r'],
  ] as const)('of %j is %s, from the budget %s', (target, path, budget) => {
    expect(choosePath({ target, content, sessionGone: false, nowMs })).toBe(path);
    expect(budgetOf(target)).toBe(budget);
  });

  it.each(['card', 'card_update', 'recall'] as const)('of a %s is its own, and needs the robot itself', (kind) => {
    const by = (target: Parameters<typeof choosePath>[0]['target']) =>
      choosePath({ target, content: { kind }, sessionGone: false, nowMs });
    expect(by({ kind: 'group', robotCode: 'r', conversationId: 'c' })).toBe(kind);
    expect(by({ kind: 'person', robotCode: 'r', staffId: 's' })).toBe(kind);
    expect(by({ kind: 'custom_robot', robot: 'r' })).toBeNull();
    expect(by(buildReply({ expiresAtMs: nowMs + 3_600_000 }))).toBeNull();
  });

  it('of a card goes before answers, and of anything else in the lane it was asked in', () => {
    const lanes = ['control', 'approval', 'answer', 'bulk'] as const;
    expect(lanes.map((lane) => laneOf(lane, { kind: 'card' }))).toEqual([
      'control',
      'approval',
      'approval',
      'approval',
    ]);
    expect(laneOf('bulk', { kind: 'card_update' })).toBe('approval');
    for (const lane of lanes)
      for (const kind of ['text', 'markdown', 'recall'] as const) expect(laneOf(lane, { kind })).toBe(lane);
  });

  it('never is a reply address that is gone or dead, and is missing only for an unknown person', () => {
    const reply = fc.record({
      kind: fc.constantFrom('single' as const, 'group' as const),
      staffId: fc.constantFrom(null, 'staff-1'),
      expiresAtMs: fc.option(fc.integer({ min: nowMs - 100_000, max: nowMs + 100_000 })),
    });
    fc.assert(
      fc.property(reply, fc.boolean(), (o, sessionGone) => {
        const path = choose(o, sessionGone);
        if (path === 'session_webhook') {
          expect(sessionGone).toBe(false);
          expect(o.expiresAtMs).toBeGreaterThan(nowMs + 30_000);
        }
        if (path === null) expect(o).toMatchObject({ kind: 'single', staffId: null });
        if (path === 'group_openapi') expect(o.kind).toBe('group');
        expect(budgetOf(buildReply(o))).toBe('robot dingtest');
      }),
    );
  });
});
