import { describe, expect, it } from '@jest/globals';
import { runPolicyCases } from './index.ts';
import { ASK, askPermit, CALL, look } from './policy-test-support.ts';

const files = [
  {
    name: 'own.cedar',
    text: `@id("reads") ${CALL} when { resource.effect == "read" };\n${askPermit(`@id("asks") ${ASK}`)}`,
  },
];
const run = (casesText: string) => runPolicyCases({ files, tools: [look], casesText });

describe('runPolicyCases', () => {
  it('counts what holds and says what does not', () => {
    const result = run(`
tools: { cut: {} }
given: { roles: [ops] }
cases:
  - { name: one, given: { tool: look }, expect: allow }
  - { name: two, given: { tool: cut }, expect: { verdict: ask, quorum: 1, approvers: [[approver]], policies: [asks] } }
  - { name: three, given: { tool: cut, roles: [lead] }, expect: { verdict: allow, quorum: 2 } }
  - { name: four, given: { tool: gone }, expect: { verdict: deny, reason: unknown_tool } }
  - { name: five, given: { tool: look }, expect: { verdict: allow, quorum: 1 } }
`);
    expect(result).toEqual({
      passed: 3,
      failed: [
        { name: 'three', faults: ['verdict is ask, expected allow', 'quorum is 1, expected 2'] },
        { name: 'five', faults: ['quorum is nothing, expected 1'] },
      ],
      policyHash: expect.stringMatching(/^[0-9a-f]{64}$/),
    });
  });

  it('lets the tools of the file go before those of the installation', () => {
    expect(
      run('{ tools: { look: { effect: write } }, cases: [{ name: a, given: { tool: look }, expect: ask }] }').failed,
    ).toEqual([]);
  });

  it.each<[string, string]>([
    ['no YAML', 'cases: [}'],
    ['a word that nobody knows', '{ cases: [{ name: a, given: { tol: look }, expect: allow }] }'],
    ['an expectation that is none', '{ cases: [{ name: a, given: { tool: look }, expect: maybe }] }'],
    ['no case at all', '{ cases: [] }'],
    [
      'too many aliases',
      `a: &a [1]\nb: &b [${Array(90).fill('*a').join(',')}]\nc: [${Array(90).fill('*b').join(',')}]`,
    ],
    ['a file without measure', `# ${'x'.repeat(1_048_576)}`],
  ])('refuses %s', (_, text) => {
    expect(() => run(text)).toThrow(expect.objectContaining({ code: 'POLICY_CASES_INVALID', retryable: false }));
  });

  it('fails a case that names no tool', () => {
    expect(run('{ cases: [{ name: a, expect: allow }] }').failed).toEqual([
      { name: 'a', faults: ['the case names no tool'] },
    ]);
  });
});
