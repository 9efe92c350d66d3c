import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { ApprovalCard } from '../governance-tables.ts';
import type { Language } from '../texts.ts';
import { fitsCard, renderRequest, renderWhole, type ShownRequest } from './render-approval.ts';

const card: ApprovalCard = {
  tool: 'restart',
  description: 'restarts a service',
  effect: 'write',
  environment: 'test',
  room: 'ops-room',
  requesterName: 'Li Lei',
  requesterStaffId: 'staff-1',
  arguments: { service: 'web' },
  preview: { version: '1' },
};
const shown = (over: Partial<ShownRequest> = {}, cardOver: Partial<ApprovalCard> = {}): ShownRequest => ({
  code: '7F3K',
  obligations: { approverGroups: [['approver', 'sre-lead']], quorum: 2, reasonRequired: false },
  approvals: [],
  approveBy: '2026-11-25 10:15 UTC',
  runWithin: '10 min of the decision',
  tooLarge: false,
  card: { ...card, ...cardOver },
  ...over,
});

describe('a request as people see it', () => {
  it('says who asks for what, where, with what effect, who may decide, until when, and how', () => {
    expect(renderRequest('en', shown({ approvals: [{ name: 'Han' }] }))).toEqual({
      title: 'Approval 7F3K: restart',
      text: [
        '### Approval 7F3K: restart',
        'Changes something in test.',
        '- asked by: Li Lei (staff-1)',
        '- place: ops-room · test',
        '- what it does: restarts a service',
        '- with service: web',
        '- now version: 1',
        '- who may approve: 2 × approver or sre-lead',
        '- approvals: 1 of 2 (Han)',
        '- decide by: 2026-11-25 10:15 UTC',
        '- runs within: 10 min of the decision',
        '',
        '/approve 7F3K  ·  /deny 7F3K <reason>  ·  /show 7F3K',
      ].join('\n'),
    });
  });

  it('shows every byte of a value: the end of a long one, spaces, and what nobody sees', () => {
    const long = `${'x'.repeat(900)} --delete-everything`;
    const { text } = renderRequest('en', shown({}, { arguments: { service: long, note: 'a\u200b  b\n' } }));
    expect(text).toContain('--delete-everything');
    expect(text).toContain('- with note: a\\u{200b}␣ b⏎');
  });

  it('shows no value where they do not fit, and says how to see them; `/show` has all of them and the digest', () => {
    const long = { service: 'y'.repeat(5_000) };
    const request = shown({ tooLarge: true }, { arguments: long });
    expect(renderRequest('en', request).text).not.toContain('yyy');
    expect(renderRequest('en', request).text).toContain('/show 7F3K has every byte');
    const whole = renderWhole('en', request, 'ab'.repeat(32));
    expect(whole.replace(/\n {2}↳ /g, '')).toContain(long.service);
    expect(whole.split('\n').at(-1)).toBe(`digest: ${'ab'.repeat(32)}`);
  });
});

describe('what fits a card', () => {
  it.each<[string, boolean, Partial<ApprovalCard>]>([
    ['a value of 1,000 characters', true, { arguments: { a: 'x'.repeat(1_000) } }],
    ['a value of 1,001 characters', false, { arguments: { a: 'x'.repeat(1_001) } }],
    [
      'four of 1,000',
      false,
      { arguments: { a: 'x'.repeat(1_000), b: 'x'.repeat(1_000), c: 'x'.repeat(1_000), d: 'x' } },
    ],
    ['a preview of 1,001 characters', false, { preview: { a: 'x'.repeat(1_001) } }],
    [
      'a thousand empty values',
      false,
      { arguments: Object.fromEntries(Array.from({ length: 1_000 }, (_, at) => [`n${at}`, ''])) },
    ],
    ['a name of 4,000 characters', false, { arguments: { ['n'.repeat(4_000)]: '' } }],
    ['little text that takes much to show', false, { arguments: { a: '\u200b'.repeat(500) } }],
  ])('%s: %s', (_, fits, change) => {
    expect(fitsCard({ ...card, ...change })).toBe(fits);
  });
});

describe('a card that somebody would like to draw', () => {
  const spoof = fc
    .array(
      fc.oneof(
        fc.string({ unit: 'binary', maxLength: 20 }),
        fc.constantFrom(
          ...[
            '\n',
            '\r\n',
            '\u2028',
            '\u0085',
            '\v',
            '  \n',
            '<br>',
            '<br/>',
            '&#10;',
            '&nbsp;',
            '\u202e',
            '\u2066',
            '\u200b',
          ],
          ...[
            '### Approval 7F3K: look',
            '### 审批 7F3K：查看',
            '- approvals: 2 of 2 (Han)',
            '- 已批准：2/2',
            '已批准',
            '✅ done',
          ],
          ...[
            '[同意](dtmd://x)',
            '![](http://x)',
            '**bold**',
            '> ',
            '- ',
            '1. ',
            '---',
            '===',
            '```',
            '/approve 7F3K',
            '↳ ',
          ],
          ...['＃＃＃ ', '－ ', '\u3000', 'x'.repeat(600)],
        ),
      ),
      { maxLength: 12 },
    )
    .map((parts) => parts.join(''));
  const requests = fc.record({
    tool: spoof,
    description: spoof,
    room: spoof,
    requesterName: spoof,
    requesterStaffId: spoof,
    arguments: fc.dictionary(spoof, fc.oneof(spoof, fc.array(spoof, { maxLength: 3 }), fc.record({ nested: spoof }))),
    preview: fc.option(fc.dictionary(spoof, spoof)),
    approver: spoof,
    tooLarge: fc.boolean(),
  });
  type Spoofed = typeof requests extends fc.Arbitrary<infer T> ? T : never;
  const build = ({ approver, tooLarge, ...over }: Spoofed) =>
    shown({ tooLarge, approvals: [{ name: approver }] }, over);

  /** How Steward begins its lines, in both languages, and in which order. */
  const prefixes: Record<Language, RegExp> = {
    en: /^### Approval 7F3K: .*\nChanges something in test\.\n- asked by: .*\n- place: .* · test\n- what it does: .*\n((- the arguments do not fit here: .*|- every byte:|- with .*|- now .*| {2}↳ .*)\n)*- who may approve: 2 × approver or sre-lead\n- approvals: 1 of 2( \(.*\))?\n- decide by: 2026-11-25 10:15 UTC\n- runs within: 10 min of the decision\n\n\/approve 7F3K .*\/show 7F3K(\ndigest: [0-9a-f]{64})?$/,
    zh: /^### 审批 7F3K：.*\n将修改 test 环境。\n- 申请人: .*\n- 地点: .* · test\n- 作用: .*\n((- 参数太长，.*|- 全部内容:|- 参数 .*|- 当前 .*| {2}↳ .*)\n)*- 可审批: 2 × approver 或 sre-lead\n- 已批准：1\/2( \(.*\))?\n- 审批截止: .*\n- 执行时限: .*\n\n同意：\/approve 7F3K .*\/show 7F3K(\n摘要: [0-9a-f]{64})?$/,
  };

  it.each<Language>(['en', 'zh'])(
    'has in %s exactly the lines of Steward, each beginning as Steward begins it',
    (language) => {
      fc.assert(
        fc.property(requests, (request) => {
          const built = build(request);
          for (const text of [renderRequest(language, built).text, renderWhole(language, built, 'cd'.repeat(32))]) {
            expect(text).toMatch(prefixes[language]);
            expect(text).not.toMatch(/[\r\v\f\u0085\u2028\u2029\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]/);
            // Headings, links, pictures, emphasis and HTML are ours alone.
            const theirs = text.replace(/^### /, '').replaceAll('<reason>', '');
            expect(theirs).not.toMatch(/[[\]!*#`@<>]/);
          }
        }),
        { numRuns: 500 },
      );
    },
  );

  it('has no more lines than it has parts and pieces', () => {
    fc.assert(
      fc.property(requests, (request) => {
        const built = build({ ...request, tooLarge: false });
        const values =
          Object.entries({ ...built.card.arguments }).length + Object.entries(built.card.preview ?? {}).length;
        const lines = renderRequest('en', built)
          .text.split('\n')
          .filter((line) => !line.startsWith('  ↳ '));
        expect(lines).toHaveLength(11 + values);
      }),
      { numRuns: 300 },
    );
  });
});
