import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { readPersonChange } from './person-change.ts';
import { parsePlatformEvent, toPlatformEvent } from './platform-event.ts';

const overStream = (eventType: string, payload: unknown) =>
  readPersonChange(toPlatformEvent({ eventType, eventId: 'e', eventCorpId: 'ding9f50' }, payload));
const overHttp = (body: Record<string, unknown>) => {
  const view = parsePlatformEvent(JSON.stringify({ CorpId: 'ding9f50', eventId: 'e', ...body }));
  return view === null ? null : readPersonChange(view);
};

describe('a change of a person', () => {
  it.each([
    ['user_leave_org', { timeStamp: '1', userId: ['015'] }, 'left', ['015']],
    ['user_modify_org', { userId: ['a', 'b', 'a'], diffInfo: { userid: 'a' } }, 'modified', ['a', 'b']],
    ['label_user_change', { userIdList: ['845'], action: 'add', labelIdList: [1881] }, 'modified', ['845']],
  ])('is read from %s over the Stream and over HTTP alike', (eventType, payload, change, staffIds) => {
    expect(overStream(eventType, payload)).toEqual({ change, staffIds, isCut: false });
    expect(overHttp({ EventType: eventType, ...payload })).toEqual({ change, staffIds, isCut: false });
  });

  it('is read from the older spelling and from one id that is no list', () => {
    expect(overHttp({ EventType: 'user_leave_org', UserId: ['a'] })).toMatchObject({ staffIds: ['a'] });
    expect(overHttp({ EventType: 'label_user_change', UserIdList: 'b' })).toMatchObject({ staffIds: ['b'] });
  });

  it.each([
    ['another event', 'bpms_instance_change', { userId: ['a'] }],
    ['an event that names nobody', 'user_leave_org', { userId: [] }],
    ['ids that are none', 'user_leave_org', { userId: [7, '', null, 'x'.repeat(201), {}] }],
    ['a payload of another shape', 'user_leave_org', { userId: { a: 1 } }],
  ])('is not in %s', (_, eventType, payload) => {
    expect(overStream(eventType, payload)).toBeNull();
  });

  it('names at most 1,000 people, and says when that was not all', () => {
    const staffIds = Array.from({ length: 1_001 }, (__, n) => `u${n}`);
    const change = overStream('user_leave_org', { userId: staffIds });
    expect([change?.staffIds.length, change?.isCut]).toEqual([1_000, true]);
  });

  it('never throws', () => {
    fc.assert(fc.property(fc.jsonValue(), (payload) => void overStream('user_leave_org', payload)));
    fc.assert(fc.property(fc.jsonValue(), (userId) => void overStream('user_leave_org', { userId })));
  });
});
