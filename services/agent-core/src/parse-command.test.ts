import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { laneOf, parseCommand, parseInbound, parsePairs } from './parse-command.ts';

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

describe('a decision as people say it', () => {
  const read = (text: string, quotedText: string | null = null) => parseInbound({ text, quotedText });
  const request = '### Approval 7F3K: restart\n/approve 7F3K  ·  /deny 7F3K <reason>  ·  /show 7F3K';

  it.each([
    ['同意 7F3K', 'approve', '7F3K'],
    ['批准7F3K', 'approve', '7F3K'],
    ['同意：7f3k 可以', 'approve', '7f3k 可以'],
    ['同意　７Ｆ３Ｋ', 'approve', '７Ｆ３Ｋ'],
    ['@Steward 拒绝 7F3K 原因', 'deny', '7F3K 原因'],
    ['驳回，7F3K 不行', 'deny', '7F3K 不行'],
    ['/approve 7F3K', 'approve', '7F3K'],
  ])('%j decides', (text, name, argument) => {
    expect(read(text)).toEqual({ kind: 'command', name, argument });
    expect(laneOf(read(text))).toBe('control');
  });

  it.each([
    '同意',
    '同意大家的看法',
    '我同意 7F3K',
    '不同意 7F3K',
    '同意 7F3KX',
    '同意 7F3',
    '同意一下7F3K',
    'approve 7F3K',
    'yes 7F3K',
    '请问 批准 7F3K 了吗',
    '批准 А7F3',
    '',
  ])('%j is words', (text) => {
    expect(read(text).kind).toBe('words');
  });

  it('under a quoted request is answered with that request, and decides nothing', () => {
    expect(read('批准', request)).toEqual({ kind: 'command', name: 'show', argument: '7F3K' });
    expect(read('拒绝 现在不行', request)).toEqual({ kind: 'command', name: 'show', argument: '7F3K' });
    // A code that is typed is meant, whatever is quoted.
    expect(read('批准 2222', request)).toEqual({ kind: 'command', name: 'approve', argument: '2222' });
  });

  it.each([
    ['nothing', null],
    ['no request', 'restart web please'],
    ['several requests', `${request}\n/approve 2222`],
    ['a code in small letters', '/approve 7f3k'],
    ['a longer code', '/approve 7F3KX'],
    ['a full-width slash, as the model’s words have it', '／approve 7F3K'],
    ['a code alone', '7F3K'],
  ])('quoting %s is words', (_, quotedText) => {
    expect(read('批准', quotedText).kind).toBe('words');
  });

  it('is never made of what is quoted alone', () => {
    for (const text of ['', '好的', '👍', 'ok', '收到']) expect(read(text, request)).toEqual({ kind: 'words', text });
  });
});

describe('key=value as people type it', () => {
  it.each<[string, Record<string, string> | null]>([
    ['', {}],
    ['service=web', { service: 'web' }],
    [' service = web  replicas＝3 ', { service: 'web', replicas: '3' }],
    ['a="x y" b=“中 文” c=\'z "q"\'', { a: 'x y', b: '中 文', c: 'z "q"' }],
    ['a="" b=1', { a: '', b: '1' }],
    ['a=b=c', { a: 'b=c' }],
    ['text="two\nlines"', { text: 'two\nlines' }],
    ['web', null],
    ['service=web now', null],
    ['=web', null],
    ['1a=x', null],
    ['a="x"b=y', { a: '"x"b=y' }],
    ['a="open', { a: '"open' }],
    ['сервис=web', null],
  ])('%j is %j', (text, pairs) => {
    expect(parsePairs(text)).toEqual(pairs);
  });

  it('sets no prototype', () => {
    const pairs = parsePairs('__proto__=x constructor=y');
    expect(Object.keys(pairs ?? {})).toEqual(['__proto__', 'constructor']);
    expect(Object.getPrototypeOf(pairs)).toBe(Object.prototype);
  });

  it('reads any text without throwing, and stays quick on hostile ones', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => void parsePairs(text)));
    fc.assert(
      fc.property(
        fc.dictionary(fc.stringMatching(/^[a-z_]\w{0,10}$/), fc.stringMatching(/^[^"\s=]{1,10}$/)),
        (pairs) => {
          const typed = Object.entries(pairs).map(([name, value]) => `${name}="${value}"`);
          expect(parsePairs(typed.join(' '))).toEqual({ ...pairs });
        },
      ),
    );
    for (const text of ['a='.repeat(10_000), `a="${'x'.repeat(20_000)}`, 'a ='.repeat(7_000), 'a=" '.repeat(5_000)])
      parsePairs(text);
  });
});
