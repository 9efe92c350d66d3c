import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { cutText, jsonBytes, splitText } from './split-text.ts';

const family = '👨‍👩‍👧‍👦';

describe('split text', () => {
  it('leaves short text alone', () => {
    expect(splitText('你好', { maxBytes: 200 })).toEqual(['你好']);
    expect(splitText('', { maxBytes: 200 })).toEqual(['']);
  });

  it('prefers the border of a paragraph, then of a line, then of a word', () => {
    const words = (count: number) => Array(count).fill('word').join(' ');
    expect(splitText(`${words(25)}\n\n${words(25)}`, { maxBytes: 200 })[0]).toBe(`${words(25)}\n\n`);
    expect(splitText(`${words(25)}\n${words(25)}`, { maxBytes: 200 })[0]).toBe(`${words(25)}\n`);
    expect(splitText(words(60), { maxBytes: 200 })[0]).toMatch(/word $/);
  });

  it('counts bytes, not characters', () => {
    const parts = splitText('汉'.repeat(200), { maxBytes: 200 });
    expect(parts.join('')).toBe('汉'.repeat(200));
    expect(Math.max(...parts.map((part) => Buffer.byteLength(part)))).toBeLessThanOrEqual(200);
  });

  it('never cuts a family of emoji', () => {
    const parts = splitText(family.repeat(100), { maxBytes: 200 });
    expect(parts.length).toBeGreaterThan(1);
    for (const part of parts) expect(part.replaceAll(family, '')).toBe('');
  });

  it('cuts an endless grapheme between code points', () => {
    const text = `e${'\u0301'.repeat(500)}`;
    const parts = splitText(text, { maxBytes: 200 });
    expect(parts.join('')).toBe(text);
  });

  it('closes a cut fence and opens it again with its language', () => {
    const line = 'const answer = 42;\n';
    const parts = splitText(`Look:\n\n\`\`\`ts\n${line.repeat(20)}\`\`\`\nDone.`, { maxBytes: 200 });
    expect(parts.length).toBeGreaterThan(2);
    for (const part of parts) expect(part.match(/^```/gm)?.length).toBe(2);
    for (const part of parts.slice(1)) expect(part).toMatch(/^```ts\nconst/);
    expect(parts.at(-1)).toMatch(/```\nDone\.$/);
  });

  it('moves a fence that would open at the very end into the next part', () => {
    const parts = splitText(`${'x'.repeat(130)}\n\`\`\`\n${'code '.repeat(40)}\n\`\`\``, { maxBytes: 200 });
    expect(parts[0]).toBe(`${'x'.repeat(130)}\n`);
    expect(parts[1]).toMatch(/^```\ncode/);
  });

  it('leaves out blank parts', () => {
    const parts = splitText(`a${' '.repeat(600)}b`, { maxBytes: 200 });
    expect(parts.every((part) => part.trim() !== '')).toBe(true);
  });

  it('refuses a limit too small for a fence', () => {
    expect(() => splitText('x', { maxBytes: 50 })).toThrow(RangeError);
  });

  it('keeps the content and the limit for any text', () => {
    const piece = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 40 }),
      fc.string({ unit: 'grapheme', maxLength: 40 }),
      fc.constantFrom('\n', '\n\n', ' ', '```', '\n```\n', '\n```ts\n', '````\n', '"\\', family, '\ud800', '\u0000'),
      fc.constantFrom('x'.repeat(90), '汉'.repeat(60), '``` long info '.repeat(9)),
    );
    const texts = fc.array(piece, { maxLength: 40 }).map((pieces) => pieces.join(''));
    fc.assert(
      fc.property(texts, fc.integer({ min: 112, max: 600 }), (text, maxBytes) => {
        const cuts = cutText(text, { maxBytes });
        expect(cuts.map((cut) => cut.body).join('')).toBe(text);
        for (const { prefix, body, suffix } of cuts) {
          expect(jsonBytes(prefix + body + suffix)).toBeLessThanOrEqual(maxBytes);
          expect(prefix).toMatch(/^(`{3,8}[\w+#.-]*\n)?$/);
          expect(suffix).toMatch(/^(\n?`{3,8})?$/);
        }
      }),
      { numRuns: 500 },
    );
  });
});
