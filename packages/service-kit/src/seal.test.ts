import { randomBytes } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { openText, parseSealKeys, redactText, sealText } from './index.ts';

const newLine = (id: string): string => `${id}:${randomBytes(32).toString('base64')}`;

describe('seals', () => {
  it('open to the same text for any text and any aad, and look different each time', () => {
    const keys = parseSealKeys(newLine('k1'));
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), fc.string(), (text, aad) => {
        const sealed = sealText(keys, text, aad);
        expect(openText(keys, sealed, aad)).toBe(text.toWellFormed());
        expect(sealText(keys, text, aad)).not.toBe(sealed);
      }),
    );
  });

  it('do not open when any one character was changed, or for another aad', () => {
    const keys = parseSealKeys(newLine('k1'));
    const sealed = sealText(keys, 'https://oapi.dingtalk.com/robot/sendBySession?session=x', 'conversation 1');
    for (let at = 0; at < sealed.length; at += 1) {
      const changed = sealed.slice(0, at) + (sealed[at] === 'A' ? 'B' : 'A') + sealed.slice(at + 1);
      // The last base64 character carries unused bits; a change of those alone is the same seal.
      if (Buffer.from(changed.slice(6), 'base64url').equals(Buffer.from(sealed.slice(6), 'base64url'))) continue;
      expect(() => openText(keys, changed, 'conversation 1')).toThrow(/seal/);
    }
    expect(() => openText(keys, sealed, 'conversation 2')).toThrow('the seal does not open');
  });

  it.each(['', 'v1', 'v1.k1.', 'v1.k1.AAAA', 'v2.k1.AAAA', 'text'])('refuse %j as broken', (sealed) => {
    expect(() => openText(parseSealKeys(newLine('k1')), sealed, '')).toThrow(
      expect.objectContaining({ code: 'SEAL_BROKEN', retryable: false }),
    );
  });

  it('survive a rotation: the first key seals, all keys open, a removed key does not', () => {
    const [old, fresh] = [newLine('2026-01'), newLine('2026-02')];
    const sealedBefore = sealText(parseSealKeys(old), 'before', 'a');
    const rotated = parseSealKeys(`# newest first\n${fresh}\r\n\n  ${old}  \n`);
    expect(openText(rotated, sealedBefore, 'a')).toBe('before');
    expect(sealText(rotated, 'after', 'a')).toMatch(/^v1\.2026-02\./);
    expect(() => openText(parseSealKeys(fresh), sealedBefore, 'a')).toThrow(
      expect.objectContaining({ code: 'SEAL_KEY_UNKNOWN' }),
    );
  });

  it.each([
    ['', 'no key'],
    ['k1', 'line 1'],
    ['k1:c2hvcnQ=', 'line 1'],
    [`k1:${randomBytes(31).toString('base64')}`, 'line 1'],
    [`# x\nk 1:${randomBytes(32).toString('base64')}`, 'line 2'],
    [`${newLine('k1')}\n${newLine('k1')}`, 'line 2'],
  ])('refuse the key file %#, naming the line and not its content', (text, where) => {
    expect(() => parseSealKeys(text)).toThrow(
      expect.objectContaining({ code: 'SEAL_KEYS_INVALID', message: expect.stringContaining(where) }),
    );
    expect(() => parseSealKeys(text)).not.toThrow(expect.stringContaining('c2hvcnQ'));
  });

  it('keep their keys out of every log line', () => {
    const line = newLine('k1');
    parseSealKeys(line);
    expect(redactText(`read ${line.slice(3)} from the file`)).toBe('read [redacted] from the file');
  });
});
