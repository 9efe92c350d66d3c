import { describe, expect, it } from '@jest/globals';
import { AppError, redact, redactText, registerSecret } from './index.ts';
import { isSecretName } from './secret-name.ts';

describe('secret names', () => {
  it.each(
    `secret token password authorization cookie sessionWebhook ticket appSecret apiKey aesKey sign access_token session
     key-material set-cookie X-ACS-DINGTALK-ACCESS-TOKEN clientSecret encodingAESKey APPSECRET REPLY_KEY signature
     proxy-authorization refresh_token token2 passwd privateKey sign-secret x-dingtalk-sign openSessionWebhook auth`.split(
      /\s+/,
    ),
  )('takes %s for a secret', (name) => {
    expect(isSecretName(name)).toBe(true);
  });

  it.each(
    `tokenCount design assignee appKey robotCode appSecretFile tokenFile key idempotencyKey author ticketId msgId
     sessionWebhookExpiredTime signal tokenizer dedupeKey monkey turnkey secretsDir event conversationId`.split(/\s+/),
  )('takes %s for no secret', (name) => {
    expect(isSecretName(name)).toBe(false);
  });
});

describe('redact', () => {
  it('masks by name at any depth and keeps the rest', () => {
    expect(redact({ a: [{ appSecret: 'x1', n: 1 }], m: new Map([['cookie', 'y']]), s: new Set([1]) })).toEqual({
      a: [{ appSecret: '[redacted]', n: 1 }],
      m: { cookie: '[redacted]' },
      s: [1],
    });
  });

  it('keeps absence, flags and counts, which are no secrets', () => {
    expect(redact({ token: null, secret: false, password: '', promptTokens: 12, tokens: 3 })).toEqual({
      token: null,
      secret: false,
      password: '',
      promptTokens: 12,
      tokens: 3,
    });
  });

  it.each([
    ['https://h/robot/sendBySession?session=abc123&x=1', 'https://h/robot/sendBySession?session=[redacted]&x=1'],
    [
      'https://h/robot/send?access_token=abc&timestamp=1&sign=x%2By%3D',
      /access_token=\[redacted\].*sign=\[redacted\]$/,
    ],
    ['wss://h/connect?ticket=1234', 'wss://h/connect?ticket=[redacted]'],
    ['amqp://steward:p@ss@rabbit:5672/v', 'amqp://steward:[redacted]@rabbit:5672/v'],
    ['postgres://u:p/w@db/x', 'postgres://u:[redacted]@db/x'],
    ['http://127.0.0.1:8080/a/@b', 'http://127.0.0.1:8080/a/@b'],
    ['Authorization: Basic dXNlcjpwYXNz next\nhost: h', 'Authorization: [redacted]\nhost: h'],
    ['sent Bearer abcdef.ghi', 'sent Bearer [redacted]'],
    [`key SEC${'0a'.repeat(32)}.`, 'key [redacted].'],
    ['Key (robot, msg_id)=(ding1, a (b) c) already exists.', 'Key (robot, msg_id)=([redacted]) already exists.'],
    ['Failing row contains (1, what people said', 'Failing row contains ([redacted])'],
    ['{"a":{"password":"p\\"q"},"b":1}', '{"a":{"password":"[redacted]"},"b":1}'],
    ['body {\\"ticket\\":\\"t1\\",\\"n\\":1}', 'body {\\"ticket\\":\\"[redacted]\\",\\"n\\":1}'],
    ['body {"tokens":["a","b"],"n":1}', 'body {"tokens":[redacted],"n":1}'],
    ['u=https%3A%2F%2Fh%3Fsession%3Dabc', 'u=https://h?session=[redacted]'],
    ['{"\\u0074oken":"abc"}', '{"token":"[redacted]"}'],
    ['-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----', '[redacted]'],
    ['at run (file:///app/secret-file.ts:12:3)', 'at run (file:///app/secret-file.ts:12:3)'],
    ['an ordinary sentence about a design: nothing to hide', 'an ordinary sentence about a design: nothing to hide'],
  ])('cleans the text %s', (text, expected) => {
    const clean = redactText(text);
    if (typeof expected === 'string') expect(clean).toBe(expected);
    else expect(clean).toMatch(expected);
  });

  it('changes nothing the second time', () => {
    const once = redact({ url: 'amqp://u:p@h?token=1', list: ['Cookie', 'a=b'], text: 'password: a b' });
    expect(redact(once)).toEqual(once);
  });

  it('masks raw header lists, pairs, and name-value records', () => {
    const clean = JSON.stringify(
      redact([
        ['Authorization', 'xxxx', 'Host', 'h'],
        { name: 'Cookie', value: 'xxxx' },
        new Headers({ cookie: 'xxxx', host: 'h' }),
      ]),
    );
    expect(clean).not.toContain('xxxx');
    expect(clean).toContain('"h"');
  });

  it('reads errors with their cause, stack and collected errors', () => {
    const inner = Object.assign(new Error('token=abc'), { headers: { cookie: 'abc' } });
    const clean = redact(
      new AggregateError([inner], 'several', { cause: new AppError('X', 'y', { retryable: true }) }),
    );
    expect(clean).toMatchObject({
      message: 'several',
      cause: { code: 'X', retryable: true },
      errors: [{ message: 'token=[redacted]', headers: { cookie: '[redacted]' } }],
    });
    expect(JSON.stringify(clean)).not.toContain('abc');
  });

  it('survives cycles, throwing getters, hostile proxies and odd values', () => {
    const circular: Record<string, unknown> = { n: 1n, f: () => 1, s: Symbol('s'), nan: Number.NaN };
    circular['self'] = circular;
    Object.defineProperty(circular, 'bad', { enumerable: true, get: () => fail() });
    const hostile = new Proxy({}, { ownKeys: fail, get: fail, getPrototypeOf: fail });
    expect(
      redact({ circular, hostile, bare: Object.assign(Object.create(null), { a: 1 }), bytes: Buffer.from('ab') }),
    ).toEqual({
      circular: { n: '1', f: '[function]', s: 'Symbol(s)', nan: 'NaN', self: '[circular]', bad: '[unreadable]' },
      hostile: '[unreadable]',
      bare: { a: 1 },
      bytes: '[2 bytes]',
    });
  });

  it('bounds depth, width and length', () => {
    let deep: unknown = 'x';
    for (let level = 0; level < 1_000; level += 1) deep = { deep };
    const wide = Object.fromEntries(Array.from({ length: 500 }, (_, n) => [`k${n}`, n]));
    let shared: unknown = 'leaf';
    for (let level = 0; level < 8; level += 1) shared = Array.from({ length: 40 }, () => shared);
    const clean = JSON.stringify(redact({ deep, wide, many: Array.from({ length: 10_000 }, () => 1), shared }));
    expect(clean.length).toBeLessThan(60_000);
    expect(clean).toContain('[too deep]');
    expect(clean).toContain('[9950 more]');
    expect(redactText('x'.repeat(100_000)).length).toBeLessThan(4_200);
  });

  it('does not show the half of a secret that lies across the cut', () => {
    for (let before = 3_000; before < 5_200; before += 7) {
      const clean = redactText(`${'x '.repeat(before / 2)} amqp://u:${'Zq7'.repeat(100)}@host`);
      expect(clean).not.toContain('Zq7');
    }
  });

  it('stays quick on texts made to be slow', () => {
    const startedAt = performance.now();
    for (const part of ['a', 'a:', '://', 'token="', '\\', '%41', '{"token":[', '-----BEGIN PRIVATE KEY-----', 'key '])
      redactText(part.repeat(20_000));
    expect(performance.now() - startedAt).toBeLessThan(3_000);
  });

  it('masks a registered value everywhere, in every spelling, also as a name', () => {
    registerSecret('correct horse "battery"');
    const clean = JSON.stringify(
      redact({
        a: 'x correct horse "battery" y',
        b: encodeURIComponent('correct horse "battery"'),
        'correct horse "battery"': 1,
        c: JSON.stringify({ note: 'correct horse "battery"' }),
      }),
    );
    expect(clean).not.toMatch(/correct|battery/);
  });

  it('forgets the oldest of the values that rotate, and no other value', () => {
    const valueOf = (kind: string, n: number) => `Q${kind}${String(n).padStart(5, '0')}Zx`;
    for (let n = 0; n < 1_000; n += 1) registerSecret(valueOf('fix', n));
    for (let n = 0; n < 1_000; n += 1) {
      registerSecret(valueOf('rot', n), { rotating: true });
      registerSecret(valueOf('rot', 0), { rotating: true });
    }
    for (let n = 0; n < 1_000; n += 1) expect(redactText(`a ${valueOf('fix', n)}`)).toBe('a [redacted]');
    const kept = Array.from({ length: 1_000 }, (_, n) => n).filter(
      (n) => redactText(valueOf('rot', n)) === '[redacted]',
    );
    expect(kept).toEqual([0, ...Array.from({ length: 399 }, (_, n) => 601 + n)]);
  });

  it('ignores registered values too short to be told from words', () => {
    registerSecret('robot');
    expect(redactText('a robot')).toBe('a robot');
  });

  it('learns the password of a registered URL', () => {
    registerSecret('postgres://steward:Tr0ub4dor-and-3@db/steward');
    expect(redactText('auth failed with Tr0ub4dor-and-3!')).not.toContain('Tr0ub4dor');
  });
});

function fail(): never {
  throw new Error('no');
}
