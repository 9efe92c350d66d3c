import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { laneOf, parseCommand } from './parse-command.ts';

describe('a command as people type it', () => {
  it.each([
    ['/help', 'help', ''],
    ['／help', 'help', ''],
    ['／ＨＥＬＰ', 'help', ''],
    ['　/help　', 'help', ''],
    ['/HeLp', 'help', ''],
    ['/帮助', 'help', ''],
    ['/ 状态', 'status', ''],
    ['@Steward /ping', 'ping', ''],
    ['@Steward　@运维 ／我是谁', 'whoami', ''],
    ['/approve 7F3K  because\nit works ', 'approve', '7F3K  because\nit works'],
    // Names that every object has are no commands.
    ['/constructor', 'constructor', ''],
    ['/__proto__', '__proto__', ''],
  ])('%j is /%s', (text, name, argument) => {
    expect(parseCommand(text)).toEqual({ kind: 'command', name, argument });
  });

  it.each([
    ['hello', 'hello'],
    ['  what is /help? ', 'what is /help?'],
    ['@Steward how are you', 'how are you'],
    ['/', '/'],
    ['', ''],
    ['help', 'help'],
    ['/var/log is full', '/var/log is full'],
    ['／var／log is full', '／var／log is full'],
    ['/.bashrc', '/.bashrc'],
    ['/help.', '/help.'],
    ['/[点我](http://evil.cn/x)', '/[点我](http://evil.cn/x)'],
    ['/f(x)', '/f(x)'],
    [`/${'x'.repeat(33)}`, `/${'x'.repeat(33)}`],
  ])('%j is words', (text, words) => {
    expect(parseCommand(text)).toEqual({ kind: 'words', text: words });
  });

  it.each([
    ['/help', 'control'],
    ['/群', 'control'],
    ['/h', 'control'],
    ['/run x', 'answer'],
    ['/constructor', 'answer'],
    ['hello', 'answer'],
  ])('%j stands in the lane %s', (text, lane) => {
    expect(laneOf(parseCommand(text))).toBe(lane);
  });

  it('reads any text at all without throwing, as a trimmed command or trimmed words', () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.string().map((rest) => `/${rest}`),
      fc
        .array(fc.constantFrom('/', '／', '@', ' ', '　', '\n', 'help', '帮助', '\ud800', '\u0000'))
        .map((all) => all.join('')),
      fc.constantFrom(...Object.getOwnPropertyNames(Object.prototype)).map((name) => `/${name}`),
    );
    fc.assert(
      fc.property(text, (typed) => {
        const parsed = parseCommand(typed);
        expect(['control', 'answer']).toContain(laneOf(parsed));
        const kept = parsed.kind === 'command' ? [parsed.name, parsed.argument] : [parsed.text];
        for (const part of kept) expect(part).toBe(part.trim());
        if (parsed.kind === 'command') expect(parsed.name).toMatch(/^\S+$/);
      }),
      { numRuns: 2_000 },
    );
  });

  it('stays quick on long hostile texts', () => {
    const startedAt = performance.now();
    for (const text of ['@ '.repeat(10_000), '@'.repeat(20_000), `/${' '.repeat(20_000)}`, ' /'.repeat(10_000)])
      parseCommand(text);
    expect(performance.now() - startedAt).toBeLessThan(3_000);
  });
});
