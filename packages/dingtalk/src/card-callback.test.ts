import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { buildCardResponse, parseCardCallback } from './card-callback.ts';

const content = '{"cardPrivateData":{"actionIds":["btn_ok"],"params":{"action":"accept"}}}';
const click = {
  type: 'actionCallback',
  outTrackId: 'apr-01J',
  corpId: 'ding9733',
  userId: 'manager1234',
  userIdType: 1,
  spaceType: 'IM',
  spaceId: 'cidXyz==',
  extension: '{}',
  content,
  value: content,
};

describe('card callback', () => {
  it('reads the reference sample', () => {
    expect(parseCardCallback(click)).toEqual({
      ok: true,
      view: {
        outTrackId: 'apr-01J',
        corpId: 'ding9733',
        staffId: 'manager1234',
        spaceId: 'cidXyz==',
        actionIds: ['btn_ok'],
        params: { action: 'accept' },
        hadInvalidText: false,
      },
    });
  });

  it('reads only the documented fields, and value when content is absent', () => {
    const bare = { outTrackId: 'a', userId: 'u', value: '{}' };
    expect(parseCardCallback(bare)).toMatchObject({
      ok: true,
      view: { corpId: null, spaceId: null, actionIds: [], params: {} },
    });
  });

  it.each([
    ['dtv1.card//IM_GROUP.cidXyz==', 'cidXyz=='],
    ['dtv1.card//im_group.cid.with.dots', 'cid.with.dots'],
    ['cidXyz==', 'cidXyz=='],
    ['dtv1.card//IM_GROUP.cidA;IM_GROUP.cidB', 'dtv1.card//IM_GROUP.cidA;IM_GROUP.cidB'],
  ])('reads the space %s as the conversation %s', (spaceId, conversationId) => {
    expect(parseCardCallback({ ...click, spaceId })).toMatchObject({ view: { spaceId: conversationId } });
  });

  it('flags invalid text inside the third decode', () => {
    const odd = JSON.stringify({ cardPrivateData: { params: { reason: 'a\u0000' } } });
    expect(parseCardCallback({ ...click, content: odd })).toMatchObject({
      view: { params: { reason: 'a\uFFFD' }, hadInvalidText: true },
    });
  });

  it.each([
    ['outTrackId', { outTrackId: undefined }],
    ['outTrackId', { outTrackId: 'x'.repeat(101) }],
    ['userId', { userId: '' }],
    ['userIdType', { userIdType: 2 }],
    ['content', { content: 'not json' }],
    ['content', { content: undefined, value: undefined }],
    ['actionIds', { content: JSON.stringify({ cardPrivateData: { actionIds: Array(21).fill('a') } }) }],
  ])('refuses a bad %s', (field, change) => {
    expect(parseCardCallback({ ...click, ...change })).toEqual({ ok: false, faults: expect.stringContaining(field) });
  });

  it('never throws on any JSON', () => {
    fc.assert(fc.property(fc.jsonValue(), (raw) => void parseCardCallback(raw)));
    fc.assert(fc.property(fc.json(), (odd) => void parseCardCallback({ ...click, content: odd })));
  });

  it('answers by key, for everybody and for the clicker', () => {
    expect(buildCardResponse({ everybody: { status: 'approved' }, clicker: { canAct: 'false' } })).toEqual({
      cardUpdateOptions: { updateCardDataByKey: true, updatePrivateDataByKey: true },
      cardData: { cardParamMap: { status: 'approved' } },
      userPrivateData: { cardParamMap: { canAct: 'false' } },
    });
    expect(buildCardResponse({})).not.toHaveProperty('cardData');
  });
});
