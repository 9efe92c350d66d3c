import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { classifyResponse } from './classify-response.ts';
import type { SendDoor } from './classify-response.ts';
import { cardRows } from './card-errors.ts';
import { legacyRows } from './legacy-errors.ts';
import { openApiRows } from './open-api-errors.ts';

const classify = (door: SendDoor, httpStatus: number, body: unknown) => classifyResponse({ door, httpStatus, body });
const nobody = { invalidStaffIds: [], flowControlledStaffIds: [] };

describe('accepted', () => {
  it.each([0, '0'])('takes errcode %j of a webhook as accepted', (errcode) => {
    expect(classify('session', 200, { errcode, errmsg: 'ok' })).toEqual({ kind: 'accepted', ...nobody });
    expect(classify('custom_robot', 200, { errcode })).toEqual({ kind: 'accepted', ...nobody });
  });

  it('reads the key and both lists of a batch send', () => {
    const body = { processQueryKey: 'zcxx', invalidStaffIdList: ['a'], flowControlledStaffIdList: ['b', 'c'] };
    expect(classify('open_api', 200, body)).toEqual({
      kind: 'accepted',
      processQueryKey: 'zcxx',
      invalidStaffIds: ['a'],
      flowControlledStaffIds: ['b', 'c'],
    });
  });

  it('reads the key of a group send and an answer that reached nobody', () => {
    expect(classify('open_api', 200, { processQueryKey: 'k' })).toEqual({
      kind: 'accepted',
      processQueryKey: 'k',
      ...nobody,
    });
    expect(classify('open_api', 200, { invalidStaffIdList: ['a'] })).toMatchObject({ invalidStaffIds: ['a'] });
  });
});

describe('refused by oapi with HTTP 200', () => {
  it.each([
    ['-1', 'retryable'],
    ['15', 'unknown'],
    ['40014', 'token'],
    ['42001', 'token'],
    ['40001', 'token'],
    ['41001', 'token'],
    ['40035', 'invalid'],
    ['40004', 'invalid'],
    ['40008', 'invalid'],
    ['43002', 'invalid'],
    ['43004', 'invalid'],
    ['60020', 'permanent'],
    ['90002', 'retryable'],
    ['90018', 'retryable'],
    ['90020', 'permanent'],
    ['90001', 'retryable'],
    ['90014', 'retryable'],
    ['130101', 'retryable'],
    ['410100', 'retryable'],
    ['101002', 'invalid'],
    ['460101', 'invalid'],
    ['300001', 'permanent'],
    ['300005', 'permanent'],
    ['310000', 'permanent'],
    ['400013', 'permanent'],
    ['400101', 'permanent'],
    ['400102', 'permanent'],
    ['400106', 'permanent'],
    ['400105', 'invalid'],
    ['430101', 'permanent'],
    ['430104', 'permanent'],
    ['33012', 'invalid'],
    ['40003', 'invalid'],
    ['60121', 'invalid'],
    ['999999', 'permanent'],
  ])('calls errcode %s %s, as number and as text', (code, kind) => {
    for (const errcode of [Number(code), code]) {
      expect(classify('custom_robot', 200, { errcode, errmsg: '%s' })).toMatchObject({ kind, code });
    }
  });

  it('calls 300001 on a session webhook a dead session', () => {
    expect(classify('session', 200, { errcode: 300001, errmsg: 'session 不存在' })).toMatchObject({
      kind: 'session_gone',
      code: '300001',
    });
  });

  it.each([
    ['60011', 'permanent', '88/60011'],
    [40014, 'token', '88/40014'],
    ['', 'unknown', '88'],
    [undefined, 'unknown', '88'],
    ['77777', 'permanent', '88/77777'],
  ])('reads 88 by its sub_code %j', (sub_code, kind, code) => {
    expect(classify('session', 200, { errcode: 88, sub_code, errmsg: 'ding talk error' })).toMatchObject({
      kind,
      code,
    });
  });

  it('says how long a held-back custom robot must wait', () => {
    expect(classify('custom_robot', 200, { errcode: 130101 })).toMatchObject({ scope: 'robot', retryAfterMs: 600_000 });
  });
});

describe('the answers of cards and recalls', () => {
  const delivered = (...deliverResults: object[]) => ({ success: true, result: { outTrackId: 'a', deliverResults } });

  it('takes a card as accepted only if every delivery succeeded, and its carrier as the handle', () => {
    const one = { spaceType: 'IM_GROUP', spaceId: 'cid', success: true, carrierId: 'key', errorMsg: '' };
    expect(classify('card', 200, delivered(one))).toEqual({ kind: 'accepted', processQueryKey: 'key', ...nobody });
    // `deliver` alone answers a list, and samples write booleans as text.
    expect(classify('card', 200, { success: 'true', result: [{ success: 'true' }] })).toEqual({
      kind: 'accepted',
      ...nobody,
    });
    const failed = { ...one, success: false, errorMsg: '%s' };
    expect(classify('card', 200, delivered(one, failed))).toMatchObject({
      kind: 'permanent',
      code: 'CARD_NOT_DELIVERED',
      scope: 'target',
    });
  });

  it.each<[SendDoor, object]>([
    ['card', delivered()],
    ['card', { success: true, result: {} }],
    ['card', { success: false, result: { deliverResults: [{ success: true }] } }],
    ['card_update', { success: true, result: false }],
    ['card_update', { success: false }],
    ['card_update', { processQueryKey: 'k' }],
    ['recall', { successResult: [], failedResult: {} }],
    ['recall', {}],
    ['directory', { result: { userid: 'x' } }],
  ])('does not take %s %j for a success', (door, body) => {
    expect(classify(door, 200, body)).toMatchObject({ kind: 'unknown', code: 'UNREADABLE_ANSWER' });
  });

  it('takes an update, a recall and a look-up by their own proof', () => {
    expect(classify('card_update', 200, { success: true, result: true })).toMatchObject({ kind: 'accepted' });
    expect(classify('recall', 200, { successResult: ['k'], failedResult: {} })).toMatchObject({ kind: 'accepted' });
    expect(classify('directory', 200, { errcode: 0, result: {} })).toMatchObject({ kind: 'accepted' });
  });

  it('calls a recall refused when one handle failed', () => {
    const body = { successResult: ['a'], failedResult: { b: '%s' } };
    expect(classify('recall', 200, body)).toMatchObject({ kind: 'permanent', code: 'RECALL_REFUSED' });
  });
});

describe('refused by the API with an HTTP status', () => {
  it.each([
    [400, 'invalidClientIdOrSecret', 'permanent'],
    [401, 'authFailed', 'permanent'],
    [400, 'InvalidAuthentication', 'token'],
    [400, 'token.notExisted', 'token'],
    [400, 'invalidParameter.token.invalid', 'token'],
    [401, 'anythingElse', 'token'],
    [403, 'Forbidden.AccessDenied.QpsLimitForAppkeyAndApi', 'retryable'],
    [403, 'Forbidden.AccessDenied.QpmLimitForAppkeyAndApi', 'retryable'],
    [403, 'Forbidden.AccessDenied.QpsLimitForApi', 'retryable'],
    [403, 'Forbidden.AccessDenied.ApiCountLimitForOrg', 'permanent'],
    [403, 'Forbidden.AccessDenied.AccessTokenPermissionDenied', 'permanent'],
    [403, 'Forbidden.AccessDenied.IpNotInWhiteList', 'permanent'],
    [400, 'send.too.fast', 'retryable'],
    [400, 'qps.exceed.limit', 'retryable'],
    [400, 'unknown.send.result', 'unknown'],
    [400, 'invalidParameter.robotCode.notExsit', 'permanent'],
    [400, 'bot.stopped', 'permanent'],
    [400, 'group.disbanded', 'permanent'],
    [400, 'conversation.org.notMatch', 'permanent'],
    [400, 'staffId.notExisted', 'invalid'],
    [400, 'invalidParameter.userIds.overMax', 'invalid'],
    [400, 'invalidParameter.msgKey.invalid', 'invalid'],
    [400, 'invalidParameter.msgParam.tooLong', 'invalid'],
    [400, 'miss.param.msgKey', 'invalid'],
    [400, 'session.notExisted', 'session_gone'],
    [400, 'session.expired', 'session_gone'],
    [400, 'contain.unsafe.url', 'permanent'],
    [400, 'bot.forbidden.sendMessage', 'permanent'],
    [400, 'illegal.receivers', 'permanent'],
    [400, 'param.cardAlreadyExist', 'permanent'],
    [400, 'param.templateNotExist', 'permanent'],
    [400, 'param.templateUnpublished', 'permanent'],
    [400, 'param.cardNotExist', 'permanent'],
    [400, 'param.openSpaceIdInvalid', 'permanent'],
    [400, 'param.userIdNotExist', 'permanent'],
    [400, 'param.contentUnsafe', 'permanent'],
    [400, 'param.outTrackIdEmpty', 'invalid'],
    [400, 'param.openDeliverModelEmpty', 'invalid'],
    [400, 'outTrackId.outOfLimit', 'invalid'],
    [500, 'system.busy', 'retryable'],
    [500, 'system.error', 'retryable'],
    [500, 'brand.new', 'unknown'],
    [400, 'brand.new', 'permanent'],
    [429, 'brand.new', 'retryable'],
  ])('calls HTTP %i %s %s', (httpStatus, code, kind) => {
    const body = { code, message: '%s', requestid: 'r' };
    expect(classify('open_api', httpStatus, body)).toMatchObject({ kind, code });
  });

  it('tells the app rate from the platform rate', () => {
    const body = (name: string) => ({ code: `Forbidden.AccessDenied.${name}` });
    expect(classify('open_api', 403, body('QpsLimitForApi'))).toMatchObject({ scope: 'platform' });
    expect(classify('open_api', 403, body('QpsLimitForAppkeyAndApi'))).toMatchObject({ scope: 'app' });
  });
});

describe('answers that are not the normal body', () => {
  it.each([
    ['the ban of an address', 200, { status: 1111, wait: 5, source: 'x5', punish: 'deny', uuid: 'u' }, 'retryable'],
    ['the ban as a page', 403, '<html>denied</html>', 'retryable'],
    ['a page with 200', 200, '<html>welcome</html>', 'unknown'],
    ['nothing with 200', 200, '', 'unknown'],
    ['an empty object with 200', 200, {}, 'unknown'],
    ['502', 502, '<html>', 'unknown'],
    ['504', 504, '', 'unknown'],
    ['500 without a body', 500, '', 'unknown'],
    ['503', 503, '', 'retryable'],
    ['429', 429, '', 'retryable'],
    ['401 without a body', 401, '', 'token'],
    ['a redirect', 302, '', 'permanent'],
    ['a null body', 200, null, 'unknown'],
  ])('classifies %s', (_name, httpStatus, body, kind) => {
    expect(classify('open_api', httpStatus, body)).toMatchObject({ kind });
    expect(classify('session', httpStatus, body)).toMatchObject({ kind });
  });

  it('never calls anything accepted that proves no success, and never throws', () => {
    const doors = fc.constantFrom<SendDoor>(
      ...(['session', 'custom_robot', 'open_api', 'directory', 'card', 'card_update', 'recall'] as const),
    );
    fc.assert(
      fc.property(doors, fc.integer({ min: 100, max: 599 }), fc.jsonValue(), (door, httpStatus, body) => {
        const outcome = classify(door, httpStatus, body);
        if (outcome.kind === 'accepted')
          expect(JSON.stringify(body)).toMatch(/errcode|processQueryKey|StaffIdList|success/);
        else expect(outcome.code).toMatch(/^[\w./?-]{0,100}$/);
      }),
    );
  });
});

it('lists every code once, in rows with different names', () => {
  for (const rows of [legacyRows, [...openApiRows, ...cardRows]]) {
    const codes = rows.flatMap((row) => row.codes);
    expect(new Set(codes).size).toBe(codes.length);
    expect(new Set(rows.map((row) => row.name)).size).toBe(rows.length);
  }
});
