import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { renderTable } from './render-table.ts';
import { toVisible, toVisibleJson } from './to-visible.ts';

describe('what a terminal is shown', () => {
  it.each([
    ['\u001b[2J', String.raw`\u{1b}[2J`],
    ['a\rb\nc\td', String.raw`a\u{d}b\u{a}c\u{9}d`],
    ['\u202egpj.exe', String.raw`\u{202e}gpj.exe`],
    ['pro\u200bduction', String.raw`pro\u{200b}duction`],
    ['\u009b31m', String.raw`\u{9b}31m`],
    ['\u2028', String.raw`\u{2028}`],
    ['a\u00a0b', String.raw`a\u{a0}b`],
    ['\ud800', String.raw`\u{d800}`],
    ['运维 Li 🙂', '运维 Li 🙂'],
  ])('turns %j into what can be seen', (given, shown) => {
    expect(toVisible(given)).toBe(shown);
  });

  it('never holds a character that draws nothing or elsewhere', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => !/[\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/u.test(toVisible(text))),
    );
  });

  it('shows different values differently, and all of each', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), (one, other) => {
        const same = JSON.stringify(one) === JSON.stringify(other);
        expect(toVisibleJson(one) === toVisibleJson(other)).toBe(same);
      }),
    );
    expect(toVisibleJson({ text: '\u200b' })).not.toBe(toVisibleJson({ text: String.raw`\u{200b}` }));
  });

  it('keeps a table in its lines and columns', () => {
    const lines = renderTable(
      ['NAME', 'ID'],
      [
        ['运维', '1\n2'],
        ['a', null],
      ],
    );
    expect(lines).toEqual(['NAME  ID', String.raw`运维  1\u{a}2`, 'a     -']);
  });
});
