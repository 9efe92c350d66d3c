import { describe, expect, it } from '@jest/globals';
import { countFates, isMarkedRepeat, markOf, type Asked, type Heard } from './count-fates.ts';

const ask = (n: number, o: Partial<Asked> = {}): Asked => ({
  n,
  msgId: `msg${n}`,
  place: 'robot room',
  mark: `/q-${n}`,
  firstTriedAt: n * 10,
  ackedAt: n * 10 + 5,
  ...o,
});
const hear = (n: number, mark: string | null, o: Partial<Heard> = {}): Heard => ({
  n,
  mark,
  place: 'robot room',
  isRepeat: false,
  ...o,
});
const fates = (asked: Asked[], heard: Heard[], silent: string[] = []) => countFates(asked, heard, new Set(silent));
const asked = [ask(1), ask(2), ask(3)];
const good = [hear(1, '/q-1'), hear(2, '/q-2'), hear(3, '/q-3')];
const zero = { acknowledged: 3, lost: 0, duplicated: 0, reordered: 0 };

describe('the checker of what was acknowledged', () => {
  it('finds nothing wrong when everything was answered once and in order', () => {
    expect(fates(asked, good)).toEqual(zero);
  });

  it('counts an answer that never came as lost', () => {
    expect(fates(asked, good.slice(0, 2))).toEqual({ ...zero, lost: 1 });
  });

  it('counts a second answer, and one that nobody asked for, as duplicated', () => {
    expect(fates(asked, [...good, hear(4, '/q-2')])).toEqual({ ...zero, duplicated: 1 });
    expect(fates(asked, [...good, hear(4, '/q-99')])).toEqual({ ...zero, duplicated: 1 });
  });

  it('counts answers in another order than the questions as reordered', () => {
    expect(fates(asked, [hear(1, '/q-2'), hear(2, '/q-1'), hear(3, '/q-3')])).toEqual({ ...zero, reordered: 1 });
    const tied = [ask(1, { ackedAt: 20 }), ask(2, { firstTriedAt: 20 })];
    expect(fates(tied, [hear(1, '/q-2'), hear(2, '/q-1')])).toMatchObject({ reordered: 1 });
  });

  it('does not ask for an order between questions that were under way at once, or in two places', () => {
    const together = [ask(1, { ackedAt: 100 }), ask(2), ask(3, { place: 'robot other' })];
    const heard = [hear(1, '/q-3', { place: 'robot other' }), hear(2, '/q-2'), hear(3, '/q-1')];
    expect(fates(together, heard)).toEqual(zero);
  });

  it('lets an answer be repeated that says so, and lets it stand for a first one that never arrived', () => {
    expect(fates(asked, [...good, hear(4, '/q-3', { isRepeat: true })])).toEqual(zero);
    expect(fates(asked, [...good.slice(0, 2), hear(3, '/q-3', { isRepeat: true })])).toEqual(zero);
  });

  it('asks nothing of what was never acknowledged, and silence where silence is due', () => {
    const notAcked = [ask(1), ask(2), ask(3, { ackedAt: null })];
    expect(fates(notAcked, good.slice(0, 2))).toEqual({ ...zero, acknowledged: 2 });
    expect(fates(asked, good.slice(0, 2), ['msg3'])).toEqual({ ...zero, acknowledged: 2 });
    expect(fates(asked, good, ['msg3'])).toMatchObject({ duplicated: 1 });
  });

  it('counts questions without a mark for each place', () => {
    const plain = asked.map((question) => ({ ...question, mark: null }));
    const pong = [hear(1, null), hear(2, null), hear(3, null)];
    expect(fates(plain, pong)).toEqual(zero);
    expect(fates(plain, pong.slice(1))).toMatchObject({ lost: 1, duplicated: 0 });
    expect(fates(plain, [...pong, hear(4, null)])).toMatchObject({ lost: 0, duplicated: 1 });
    expect(fates(plain, [...pong.slice(1), hear(4, null, { place: 'robot other' })])).toMatchObject({
      lost: 1,
      duplicated: 1,
    });
  });

  it('reads the mark of a question and of its answer', () => {
    expect([markOf(' /q-1a'), markOf('I do not know the command /q-1a. Send /help'), markOf('/help')]).toEqual([
      '/q-1a',
      '/q-1a',
      null,
    ]);
    expect(
      ['（可能重复）\n\npong', '(possibly a repeat)\n\npong', 'pong (possibly a repeat)'].map(isMarkedRepeat),
    ).toEqual([true, true, false]);
  });
});
