import { describe, expect, it } from '@jest/globals';
import {
  buildCustomRobotUrl,
  equalsInConstantTime,
  signCardCallback,
  signCustomRobot,
  signRobotCallback,
  verifyCardSignature,
  verifyRobotSignature,
} from './signatures.ts';

const timestamp = '1577262236757';
const at = Number(timestamp);
const hour = 3_600_000;
const appSecret = 'this is a secret';
const sign = 'DJrE6qdyVGCQz9z5r2MDuNcNAhwYnuAkyj13cx169CA=';

describe('robot callback signature', () => {
  it('matches the reference vector', () => {
    expect(signRobotCallback({ timestamp, appSecret })).toBe(sign);
    expect(verifyRobotSignature({ timestamp, sign, appSecret, nowMs: at })).toEqual({ ok: true });
  });

  it.each([
    ['an absent timestamp', { timestamp: undefined }, 'missing'],
    ['an empty sign', { sign: '' }, 'missing'],
    ['a clock 1 ms more than an hour behind', { nowMs: at + hour + 1 }, 'stale'],
    ['a clock 1 ms more than an hour ahead', { nowMs: at - hour - 1 }, 'stale'],
    ['a timestamp in exponent form', { timestamp: '1.5e12' }, 'stale'],
    ['a negative timestamp', { timestamp: '-1577262236757' }, 'stale'],
    ['a timestamp with a space', { timestamp: ` ${timestamp}` }, 'stale'],
    ['another secret', { appSecret: 'this is a secret ' }, 'mismatch'],
    ['a cut sign', { sign: sign.slice(0, -1) }, 'mismatch'],
    ['the url-encoded sign', { sign: encodeURIComponent(sign) }, 'mismatch'],
    ['a sign for another timestamp', { timestamp: '1577262236758' }, 'mismatch'],
  ])('refuses %s', (_name, change, reason) => {
    expect(verifyRobotSignature({ timestamp, sign, appSecret, nowMs: at, ...change })).toEqual({ ok: false, reason });
  });

  it('accepts exactly one hour in both directions', () => {
    for (const nowMs of [at - hour, at + hour]) {
      expect(verifyRobotSignature({ timestamp, sign, appSecret, nowMs })).toEqual({ ok: true });
    }
  });
});

describe('custom robot signature', () => {
  it('matches the reference vector, percent-encoded', () => {
    expect(signCustomRobot({ timestampMs: at, secret: 'this is secret' })).toBe(
      'hmPWwU%2B7lVdm3ZZz0r9tSfx0L4Q26jWOZr9%2BGs6EZQM%3D',
    );
  });

  it('builds an address with and without a secret', () => {
    const robot = { oapiUrl: 'https://oapi.dingtalk.com', accessToken: 'a b', nowMs: at };
    expect(buildCustomRobotUrl({ ...robot, secret: null })).toBe(
      'https://oapi.dingtalk.com/robot/send?access_token=a%20b',
    );
    const signed = new URL(buildCustomRobotUrl({ ...robot, secret: 'this is secret' }));
    expect(signed.searchParams.get('sign')).toBe('hmPWwU+7lVdm3ZZz0r9tSfx0L4Q26jWOZr9+Gs6EZQM=');
    expect(signed.searchParams.get('timestamp')).toBe(timestamp);
  });
});

describe('card callback signature', () => {
  const card = { timestamp, sign: 'zyMk1b2I60L5lWlUZImvCHMSdMtolnOzrhCiQAlqOCw=', apiSecret: 'my-secret', nowMs: at };
  it('matches the reference vector', () => {
    expect(signCardCallback(card)).toBe(card.sign);
    expect(verifyCardSignature(card)).toEqual({ ok: true });
  });
  it('refuses a wrong secret and an old clock', () => {
    expect(verifyCardSignature({ ...card, apiSecret: 'x' })).toEqual({ ok: false, reason: 'mismatch' });
    expect(verifyCardSignature({ ...card, nowMs: at + 2 * hour })).toEqual({ ok: false, reason: 'stale' });
  });
});

it('compares secrets of different lengths without throwing', () => {
  expect(equalsInConstantTime('a', 'ab')).toBe(false);
  expect(equalsInConstantTime('ab', 'ab')).toBe(true);
});
