import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { degradeMarkdown } from './degrade-markdown.ts';

describe('degrading markdown', () => {
  it('makes a list of a table, each line with the names of its columns', () => {
    const table = [
      'before',
      '',
      '| host | CPU | memory |',
      '|:---|---:|:-:|',
      '| web-1 | 80 % | 40 % |',
      '| web-2 | | 9 % |',
    ];
    expect(degradeMarkdown([...table, '', 'after'].join('\n'))).toBe(
      ['before', '', '- **web-1** – CPU: 80 %, memory: 40 %', '- **web-2** – memory: 9 %', '', 'after'].join('\n'),
    );
  });

  it('takes a table without outer bars, bars within cells, and rows of another length', () => {
    const table = ['name | rule', '--- | ---', 'a\\|b | `x`', '*one*', '`c` | d | e'];
    expect(degradeMarkdown(table.join('\n'))).toBe(['- **a|b** – rule: `x`', '*one*', '`c` | d | e'].join('\n'));
    expect(degradeMarkdown('|a|b|\n|-|-|\n|`c`|d|e|')).toBe('- `c` – b: d, e');
  });

  it('loses no word of a table without rows', () => {
    expect(degradeMarkdown('| a | b |\n|---|---|')).toBe('- **a** – b');
  });

  it('quotes fenced code line by line, also when its end is missing', () => {
    expect(degradeMarkdown('run:\n```sh\nls -l\n\ndf\n```\ndone')).toBe('run:\n> ls -l  \n>   \n> df  \ndone');
    expect(degradeMarkdown('~~~\na ``` b\n```\nc')).toBe('> a ``` b  \n> ```  \n> c  ');
  });

  it('leaves alone what DingTalk shows', () => {
    const text = '### Title\n\n> quote\n**bold** *it* [a](https://a.example)\n1. one\n- two | three\n---\na | b';
    expect(degradeMarkdown(text)).toBe(text);
  });

  it('changes nothing the second time', () => {
    const line = fc.constantFrom(
      '| a | b |',
      '|---|---|',
      '```',
      '~~~',
      '> ```',
      'a | b',
      '- c',
      '',
      'text',
      '--- | -',
    );
    fc.assert(
      fc.property(fc.array(line, { maxLength: 12 }), (lines) => {
        const once = degradeMarkdown(lines.join('\n'));
        expect(degradeMarkdown(once)).toBe(once);
      }),
    );
  });

  it('takes a text that is long and odd', () => {
    const odd = `${'|'.repeat(100_000)}\n${'-|'.repeat(50_000)}\n${'```\n'.repeat(20_001)}${'\\|'.repeat(50_000)}`;
    expect(degradeMarkdown(odd)).toMatch(/^- \n/);
  });
});
