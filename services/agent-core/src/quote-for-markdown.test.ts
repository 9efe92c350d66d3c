import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { quoteForMarkdown } from './quote-for-markdown.ts';

describe('what others wrote, in our Markdown', () => {
  it.each([
    ['[点我](http://evil.cn/x)', '［点我］（http://evil.cn/x）'],
    ['**admin** @all', '＊＊admin＊＊ ＠all'],
    ['# a\n> b\r\n\u2028<font>', '＃ a ＞ b ＜font＞'],
    ['![x](y) `z` _w_', '！［x］（y） ｀z｀ ＿w＿'],
    ['\u202eabc\u0000', 'abc'],
  ])('%j is shown as %j', (text, shown) => {
    expect(quoteForMarkdown(text)).toBe(shown);
  });

  it.each(['cidXyz+/9a==', '0147238602', 'ding_abc-1', '李雷'])('leaves %s to be copied', (id) => {
    expect(quoteForMarkdown(id)).toBe(id);
  });

  it('is one line of bounded length without any special character, and whole characters', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 400 }), (text) => {
        const shown = quoteForMarkdown(text);
        expect(shown).not.toMatch(/[[\]()!*#<>`@\n\r]/);
        expect(Array.from(shown).length).toBeLessThanOrEqual(200);
        expect(shown.isWellFormed()).toBe(true);
      }),
    );
    expect(quoteForMarkdown('x'.repeat(201))).toHaveLength(200);
  });
});
