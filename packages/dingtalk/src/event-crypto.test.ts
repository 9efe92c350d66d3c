import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { decryptEvent, encryptEvent, readEventQuery, signEvent } from './event-crypto.ts';

const official = {
  keys: {
    token: '123456',
    aesKey: '1234567890123456789012345678901234567890123',
    ownerKey: 'dingsnotzck6pm5veliw',
  },
  sealed: {
    signature: '9a95a004dd16f5c307e849b994173f76aa26e5eb',
    timestamp: '1614767836',
    nonce: 'A7Co0cJLMzIDtMMI',
    encrypt: 'YvkvaGe4hQxd3VxRmEty0dVlnCOAqwf56xwTRHDHoOURqhalbmBJQk5FNcRk42Gl5T0YQXZNwpwWSm1xAFJ5ZA==',
  },
};
const keys = { token: 'tok3n', aesKey: 'abcdefghijabcdefghijabcdefghijabcdefghijabc', ownerKey: 'dingAppKey123' };
const random = Buffer.from('0123456789abcdef');
const stamp = { timestamp: '1783610513', nonce: '123456' };

const seal = (text: string, by = keys) => {
  const { msg_signature: signature, encrypt } = encryptEvent(by, { text, random, ...stamp });
  return { signature, encrypt, ...stamp };
};
const resign = (encrypt: string) => ({
  encrypt,
  ...stamp,
  signature: signEvent({ token: keys.token, encrypt, ...stamp }),
});
const platformCode = (code: number) => expect.objectContaining({ retryable: false, details: { platformCode: code } });
const failure = (run: () => unknown): unknown => {
  try {
    return run();
  } catch (error) {
    return error;
  }
};

describe('encrypted events', () => {
  it('decrypts the official vector', () => {
    expect(decryptEvent(official.keys, official.sealed)).toBe('success');
  });

  it.each([
    [
      'success',
      'rOdhVblQ9KJG0aDOanfKanfUkWPQHBifndg0BgKAvWFfLmUmyUcZGzKOf4zDjVQlRw2+dKxOYZuN4A7PjC9qlA==',
      'ebdfa22051d6771c0526114955206e130efaea78',
    ],
    [
      '{"EventType":"check_url"}',
      'rOdhVblQ9KJG0aDOanfKamOyvS9kNvuzKtPN8hVin7vqdoXVvD2mtKkm6hHFyk5J7ZWDT7Bl97NL5U0Szeh1Ig==',
      '53de6170cdf9704e5b5a4d4700e460d047d54162',
    ],
  ])('encrypts %s as the reference does', (text, encrypt, msg_signature) => {
    expect(encryptEvent(keys, { text, random, ...stamp })).toEqual({
      msg_signature,
      timeStamp: '1783610513',
      nonce: '123456',
      encrypt,
    });
  });

  it('returns any text unchanged', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 200 }), (text) => {
        expect(decryptEvent(keys, seal(text))).toBe(text);
      }),
    );
  });

  it('refuses a bad key with 900004', () => {
    const short = { ...keys, aesKey: 'short' };
    expect(failure(() => decryptEvent(short, seal('x')))).toEqual(platformCode(900004));
  });

  it.each(['signature', 'timestamp', 'nonce', 'encrypt'] as const)('refuses a changed %s with 900005', (part) => {
    const sealed = seal('x');
    const changed = { ...sealed, [part]: `${sealed[part]}0` };
    expect(failure(() => decryptEvent(keys, changed))).toEqual(platformCode(900005));
  });

  it.each([
    ['not base64', '***'],
    ['not whole blocks', 'AAAA'],
    ['too short', Buffer.alloc(16).toString('base64')],
    ['noise', Buffer.alloc(64, 7).toString('base64')],
  ])('refuses a signed ciphertext that is %s with 900008', (_name, encrypt) => {
    expect(failure(() => decryptEvent(keys, resign(encrypt)))).toEqual(platformCode(900008));
  });

  it('refuses another owner with 900010', () => {
    const sealed = seal('x', { ...keys, ownerKey: 'somebodyElse' });
    expect(failure(() => decryptEvent(keys, sealed))).toEqual(platformCode(900010));
  });

  it('names no secret in its errors', () => {
    const error = failure(() => decryptEvent({ ...keys, ownerKey: 'other' }, seal('private words')));
    expect(JSON.stringify([error, String(error)])).not.toMatch(/tok3n|abcdefghij|private words/);
  });

  it('reads both spellings of the query', () => {
    const read = { signature: 's', timestamp: '1', nonce: 'n' };
    expect(readEventQuery({ msg_signature: 's', timestamp: '1', nonce: 'n' })).toEqual(read);
    expect(readEventQuery({ signature: 's', timeStamp: '1', nonce: 'n' })).toEqual(read);
    expect(readEventQuery({ msg_signature: 's', signature: 'other', timestamp: '1', nonce: 'n' })).toEqual(read);
    expect(readEventQuery({ msg_signature: ['s', 't'], timestamp: '1', nonce: 'n' })).toBeNull();
    expect(readEventQuery({ msg_signature: 's', nonce: 'n' })).toBeNull();
  });
});
