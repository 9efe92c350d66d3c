import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { quoteExactly } from './quote-exactly.ts';

const hostile = fc
  .array(
    fc.oneof(
      fc.string({ unit: 'binary', maxLength: 5 }),
      fc.constantFrom(
        ...[
          '\n',
          '\r\n',
          '\t',
          '  ',
          ' ',
          '\u00a0',
          '\u3000',
          '\u200b',
          '\u202e',
          '\u2066',
          '\u2028',
          '\ufeff',
          '\u{e0041}',
        ],
        ...[
          '\ufe0f',
          '\u3164',
          '\u2800',
          '\ud800',
          '\\',
          '\\u{200b}',
          '⏎',
          '␣',
          '⇥',
          '＃',
          '＼',
          '［',
          '# ',
          '- ',
          '> ',
          '1. ',
        ],
        ...['<br>', '&#10;', '&nbsp;', '**', '__', '_', '`', '[x](y)', '![x](y)', '~~', '|', '@all', '✅', '已批准'],
      ),
    ),
    { maxLength: 30 },
  )
  .map((parts) => parts.join(''));

describe('a text of which every character is shown', () => {
  it.each([
    ['two\nlines\r\n', 'two⏎lines\\u{d}⏎'],
    [' a  b ', '␣a␣ b␣'],
    ['w\u0435b', 'w\u0435b'],
    ['we\u200bb\u202e', 'we\\u{200b}b\\u{202e}'],
    ['a\u00a0b\u3000c', 'a\\u{a0}b\\u{3000}c'],
    ['### **x** [y](z)', '＃＃＃ ＊＊x＊＊ ［y］（z）'],
    ['<br>&#10;', '＜br＞＆＃10;'],
    ['my_service _x_', 'my_service ＿x＿'],
    ['\\u{200b}', '＼u{200b}'],
    ['⏎', '\\u{23ce}'],
    ['李雷 重启', '李雷 重启'],
    ['', ''],
  ])('%j is shown as %j', (text, shown) => {
    expect(quoteExactly(text, { tellTwins: false })).toBe(shown);
  });

  it('is one line without anything unseen, and without any sign of Markdown', () => {
    fc.assert(
      fc.property(hostile, fc.boolean(), (text, tellTwins) => {
        const shown = quoteExactly(text, { tellTwins });
        expect(shown).not.toMatch(/[\p{C}\p{DI}\p{Zl}\p{Zp}\u00a0\u2000-\u200a\u3000\u2800]/u);
        expect(shown).not.toMatch(/[[\]()!*#<>`@~|&]/);
        expect(shown).not.toMatch(/^ | $| {2}/);
        expect(shown).not.toMatch(/\\(?!u\{[0-9a-f]+\})/);
      }),
      { numRuns: 2_000 },
    );
  });

  it('can be read back: two different texts never look the same', () => {
    const back = (shown: string) =>
      shown
        .replace(/[［］（）！＊＃＜＞｀＠～｜＼＆＿]/gu, (twin) =>
          String.fromCharCode(twin.charCodeAt(0) - 0xfee0 + 0xe000),
        )
        .replace(/⏎/g, '\n')
        .replace(/⇥/g, '\t')
        .replace(/␣/g, ' ')
        .replace(/\\u\{([0-9a-f]+)\}/g, (_, hex: string) => String.fromCodePoint(parseInt(hex, 16)))
        .replace(/[\ue021-\ue07e]/g, (stood) => String.fromCharCode(stood.charCodeAt(0) - 0xe000));
    fc.assert(
      fc.property(
        hostile.filter((text) => !/[\ue000-\ue0ff]/.test(text)),
        (text) => expect(back(quoteExactly(text, { tellTwins: true }))).toBe(text),
      ),
      { numRuns: 2_000 },
    );
  });
});
