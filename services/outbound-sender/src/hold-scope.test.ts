import { describe, expect, it } from '@jest/globals';
import { classifyResponse, type SendDoor, type SendRefused } from '@steward/dingtalk';
import { wishOf } from './hold-scope.ts';

const refused = (over: Partial<SendRefused>): SendRefused => ({
  ...{ kind: 'retryable', code: 'x', text: 'x', retryAfterMs: 2_000, scope: 'app' },
  ...over,
});

describe('what a refusal pauses', () => {
  it.each<[string, Partial<SendRefused>, ReturnType<typeof wishOf>]>([
    ['the scope that it names, for its time', {}, { scope: 'app', ms: 2_000 }],
    ['nothing but the message for its content', { scope: 'content' }, null],
    ['nothing but the message for its recipient', { scope: 'target' }, null],
    ['nothing without a time', { retryAfterMs: undefined }, null],
    ['every robot for a ban', { scope: 'egress', code: '1111' }, { scope: 'egress', ms: 2_000 }],
    ['every robot for no odd answer', { scope: 'egress', code: 'HTTP_404' }, null],
    [
      'the organisation when its month is spent',
      { kind: 'permanent', scope: 'organisation' },
      { scope: 'organisation', ms: 600_000 },
    ],
    ['nothing for another permanent refusal', { kind: 'permanent' }, null],
  ])('is %s', (_, over, wish) => {
    expect(wishOf(refused(over))).toEqual(wish);
  });

  const forbidden = (reason: string) => ({ code: `Forbidden.AccessDenied.${reason}` });
  it.each<[string, SendDoor, number, unknown, ReturnType<typeof wishOf>]>([
    ['a custom robot that said too much', 'custom_robot', 200, { errcode: 130101 }, { scope: 'robot', ms: 600_000 }],
    ['the same by its other code', 'custom_robot', 200, { errcode: 410100 }, { scope: 'robot', ms: 600_000 }],
    ['an app by the second', 'open_api', 403, forbidden('QpsLimitForAppkeyAndApi'), { scope: 'app', ms: 2_000 }],
    ['an app by the minute', 'open_api', 403, forbidden('QpmLimitForAppkeyAndApi'), { scope: 'app', ms: 60_000 }],
    ['an API for everybody', 'open_api', 403, forbidden('QpsLimitForApi'), { scope: 'platform', ms: 5_000 }],
    ['a robot that is too fast', 'open_api', 400, { code: 'send.too.fast' }, { scope: 'robot', ms: 5_000 }],
    ['the legacy rate of an API', 'session', 200, { errcode: 90002 }, { scope: 'platform', ms: 5_000 }],
    ['an organisation for a while', 'session', 200, { errcode: 90003 }, { scope: 'organisation', ms: 300_000 }],
    ['a banned address', 'open_api', 200, { status: 1111, punish: 'deny' }, { scope: 'egress', ms: 300_000 }],
    ['the page of a ban', 'open_api', 403, '<!doctype html><title>405</title>', { scope: 'egress', ms: 300_000 }],
  ])('and for how long: %s', (_, door, httpStatus, body, wish) => {
    expect(wishOf(classifyResponse({ door, httpStatus, body }))).toEqual(wish);
  });
});
