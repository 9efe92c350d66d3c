import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { quoteBlock } from './quote-block.ts';

describe('a text of several lines, quoted', () => {
  it.each([
    ['web is back\nall good', '> web is back\n>\n> all good'],
    ['a\r\nb\u2028c', '> a\n>\n> b\n>\n> c'],
    ['[点我](http://evil.cn/x)', '> ［点我］（http://evil.cn/x）'],
    ['**Approved** by @all', '> ＊＊Approved＊＊ by ＠all'],
    ['# 已批准\n---\n- a\n1. b', '> ＃ 已批准\n>\n> －--\n>\n> － a\n>\n> 1． b'],
    ['```\ncode', '> ｀｀｀\n>\n> code'],
    ['a\u202eb\u200bc\u0000d', '> a b c d'],
    ['| a | b |', '> ｜ a ｜ b ｜'],
    ['snake_case stays, _this_ not', '> snake_case stays, ＿this＿ not'],
    ['a\n\nb', '> a\n>\n>\n>\n> b'],
  ])('%j is said as %j', (text, said) => {
    expect(quoteBlock(text)).toBe(said);
  });

  it('stays one quotation, and keeps every letter and number', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 300 }), (text) => {
        const said = quoteBlock(text);
        expect(said.split('\n').every((line) => line === '>' || line.startsWith('> '))).toBe(true);
        expect(said.replace(/^> ?/gm, '')).not.toMatch(/[[\]()!*#<>`@~|\\]/);
        const letters = (some: string) => some.replace(/[^\p{L}\p{N}]/gu, '');
        expect(letters(said)).toBe(letters(text));
      }),
    );
  });
});
