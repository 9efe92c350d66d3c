import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { renderForModel, renderOutput, renderWaiting } from './describe-calls.ts';
import type { CallRow } from './gate/load-calls.ts';
import type { CallStatus } from './governance-tables.ts';

const call = (over: Partial<CallRow>): CallRow => ({
  id: 'id',
  turnId: 'turn',
  step: 1,
  position: 0,
  modelCallId: 'c1',
  proposedBy: 'model',
  tool: 'restart',
  effect: 'write',
  definitionHash: 'hash',
  arguments: {},
  environment: 'test',
  robotCode: 'dingtest',
  conversationId: 'cid-1',
  correlationId: 'correlation',
  requesterStaffId: 'staff-1',
  requesterCorpId: 'corp-1',
  verdict: 'ask',
  verdictReason: 'needs_approval',
  policyHash: 'hash',
  status: 'done',
  code: null,
  result: null,
  requestId: null,
  requestCode: null,
  requestStatus: null,
  preview: null,
  runByMs: null,
  grantId: null,
  breakGlassId: null,
  digest: null,
  attemptCount: 0,
  attempt: null,
  hasUnknown: false,
  ...over,
});

describe('a tool’s output for people', () => {
  it.each([
    ['{"ok":true,"hosts":["a","b"]}', ['- ok: true', '- hosts: a, b']],
    ['[{"name":"web","up":1},"x",null]', ['- name web · up 1', '- x', '- null']],
    ['"done"', ['> done']],
    ['42', ['> 42']],
    ['plain\n\n# heading', ['> plain', '> ＃ heading']],
    ['a\u2028b\u0085c', ['> a', '> b', '> c']],
    ['', []],
    ['{"a\\n### b":"c\\n✅ d"}', ['- a ＃＃＃ b: c ✅ d']],
  ])('%j is shown as %j', (text, lines) => {
    expect(renderOutput(text)).toEqual(lines);
  });

  it('begins each line with a mark of ours, whatever it says, and has an end', () => {
    const output = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.json(),
      fc
        .array(fc.constantFrom('✅ x: done', '### Approval 7F3K', '\n', '\r', '> ', '- ', '<br>'))
        .map((all) => all.join('')),
    );
    fc.assert(
      fc.property(output, (text) => {
        for (const line of renderOutput(text)) {
          expect(line).toMatch(/^(- |> |…$)/);
          expect(line.slice(2)).not.toMatch(/[\n\r[\]()!*#<>`@]/);
        }
      }),
      { numRuns: 1_000 },
    );
    expect(renderOutput('x\n'.repeat(10_000)).length).toBeLessThanOrEqual(61);
  });
});

describe('a call as the model hears of it', () => {
  it.each<[CallStatus, RegExp]>([
    ['failed', /^FAILED \(CODE\)\. Nothing was changed/],
    ['unknown', /^OUTCOME UNKNOWN.*Do not propose it again/],
    ['refused', /^REFUSED \(CODE\)/],
    ['denied', /^NOT DONE: the approval is denied/],
    ['expired', /^NOT DONE: the approval is expired/],
    ['cancelled', /^NOT DONE: the approval is cancelled/],
    ['void', /^NOT DONE: the approval is void/],
    ['ready', /^Waiting for 7F3K/],
    ['waiting', /^Waiting for 7F3K/],
    ['running', /^Waiting for 7F3K/],
  ])('that is %s never reads as done', (status, expected) => {
    expect(renderForModel(call({ status, code: 'CODE', requestCode: '7F3K' }))).toMatch(expected);
  });

  it('that is done reads as what it said', () => {
    expect(renderForModel(call({ result: '{"ok":true}' }))).toBe('{"ok":true}');
    expect(renderForModel(call({}))).toContain('said nothing');
  });
});

it('a waiting turn leaves one closed line for each call that waits, and none for those that ended', () => {
  const calls = [
    call({ status: 'waiting', requestCode: '7F3K' }),
    call({ status: 'done' }),
    call({ status: 'running', tool: 'say' }),
  ];
  expect(renderWaiting('en', calls)).toBe('restart: waiting for 7F3K\nsay: waiting for its outcome');
});
