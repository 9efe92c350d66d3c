import { describe, expect, it } from '@jest/globals';
import { AppError } from '@steward/service-kit';
import { buildPolicy, sha256Hex, type JudgedTool } from './index.ts';
import { ASK, askPermit, CALL, look, policyOf, scale, toolNamed } from './policy-test-support.ts';

function faultsOf(text: string, tools?: readonly JudgedTool[]): string[] {
  try {
    policyOf(text, tools);
    return [];
  } catch (error) {
    if (!(error instanceof AppError) || error.code !== 'POLICY_INVALID') throw error;
    expect(error.retryable).toBe(false);
    return error.details['faults'] as string[];
  }
}

const inGroup = (...groups: string[]) => `[${groups.map((group) => `Steward::Action::"${group}"`).join(', ')}]`;

describe('the loader of policies', () => {
  it('accepts permits of either question, and forbids of both', () => {
    const text = `${CALL}; ${askPermit(ASK)} forbid (principal, action, resource) when { context.audited };
      forbid (principal, action in ${inGroup('call', 'callWithApproval')}, resource == Steward::Tool::"gone");
      forbid (principal, action in ${inGroup('call scale', 'callWithApproval scale')}, resource)
      when { context.arguments has replicas && context.arguments.replicas > 10 };`;
    expect(faultsOf(text)).toEqual([]);
    expect([...policyOf(text).statements.keys()]).toEqual([1, 2, 3, 4, 5].map((n) => `own.cedar#${n}`));
  });

  it.each<[string, string, RegExp]>([
    ['is not Cedar', 'permit (principal, action);', /^own\.cedar:1 - /],
    ['is a template', 'permit (principal == ?principal, action, resource);', /:1 - .*template/],
    ['is cut off', CALL, /:1 - /],
    ['names an attribute that does not exist', `${CALL} when { resource.effekt == "read" };`, /:1 - .*effekt/],
    [
      'names an action of a tool that is not there',
      'permit (principal, action == Steward::Action::"call gone", resource);',
      /:1 - .*call gone/,
    ],
    ['compares unlike things', `${CALL} when { context.time.hour == "9" };`, /:1 - /],
    [
      'reads an argument that may be absent',
      `permit (principal, action == Steward::Action::"call scale", resource) when { context.arguments.replicas > 1 };`,
      /:1 - .*replicas/,
    ],
    ['reads a room that may be absent', `${CALL} when { context.room == Steward::Room::"a" };`, /:1 - .*room/],
    ['has an id twice', `@id("a")\n${CALL};\n@id("a")\n${CALL};`, /own\.cedar:3 - @id is the same as at own\.cedar:1/],
    ['has an id that is none', `@id("a b") ${CALL};`, /@id must be/],
    ['has an annotation that nobody knows', `@approver("a") ${CALL};`, /@approver is not known/],
    ['permits without saying which question', 'permit (principal, action, resource);', /which question/],
    [
      'permits both questions',
      `${ASK} permit (principal, action in ${inGroup('call', 'callWithApproval')}, resource);`,
      /one of the two questions/,
    ],
    [
      'permits both questions of different tools',
      `${ASK} permit (principal, action in ${inGroup('call look', 'callWithApproval scale')}, resource);`,
      /one of the two questions/,
    ],
    ['asks without saying whom', askPermit('@quorum("1") @expires("15m") @run_within("10m")'), /@approvers is missing/],
    ['asks without a number', askPermit('@approvers("a") @expires("15m") @run_within("10m")'), /@quorum is missing/],
    [
      'asks without a time to decide',
      askPermit('@approvers("a") @quorum("1") @run_within("10m")'),
      /@expires is missing/,
    ],
    ['asks without a time to run', askPermit('@approvers("a") @quorum("1") @expires("15m")'), /@run_within is missing/],
    [
      'asks without anything for one tool',
      `permit (principal, action == Steward::Action::"callWithApproval scale", resource);`,
      /@approvers is missing/,
    ],
    ['says whom to ask where nobody is asked', `@approvers("a") ${CALL};`, /@approvers belongs on/],
    ['lets a forbid take a quorum', `@quorum("2") forbid (principal, action, resource);`, /@quorum belongs on/],
    [
      'forbids only the call',
      `forbid (principal, action in ${inGroup('call')}, resource);`,
      /alike; this one does not for every tool/,
    ],
    ['forbids only the asking', `forbid (principal, action in ${inGroup('callWithApproval')}, resource);`, /alike/],
    [
      'forbids only the call of one tool',
      `forbid (principal, action == Steward::Action::"call scale", resource);`,
      /does not for scale/,
    ],
    [
      'forbids the call of all and the asking of one',
      `forbid (principal, action in ${inGroup('call', 'callWithApproval scale')}, resource);`,
      /does not for every tool, look/,
    ],
    [
      'forbids a group by equality',
      `forbid (principal, action == Steward::Action::"call", resource);`,
      /write `action in`/,
    ],
    [
      'permits a group by equality',
      `permit (principal, action == Steward::Action::"call", resource);`,
      /write `action in`/,
    ],
    [
      'looks at the action in a condition',
      `forbid (principal, action, resource) when { action in Steward::Action::"call" };`,
      /must not look at `action`/,
    ],
    [
      'hides the action deep in a condition',
      `forbid (principal, action, resource) when { true && !(context.audited || [action].contains(Steward::Action::"call look")) };`,
      /must not look at `action`/,
    ],
    ['turns the direction of writing', `${CALL} when { resource.name == "a\u202eb" };`, /:1 - an invisible character/],
    ['hides a character of no width in a comment', `// a\u200bb\n${CALL};`, /:1 - an invisible character/],
  ])('refuses a policy that %s', (_, text, fault) => {
    const faults = faultsOf(text);
    expect(faults.join('\n')).toMatch(fault);
    for (const one of faults) expect(one).toMatch(/^own\.cedar:\d+ - /);
  });

  it.each([
    ['quorum', '0'],
    ['quorum', '21'],
    ['quorum', '1.5'],
    ['quorum', 'two'],
    ['quorum', ''],
    ['approvers', ''],
    ['approvers', 'a,,b'],
    ['approvers', 'A'],
    ['approvers', 'a, a'],
    ['approvers', 'a;b'],
    ['expires', '15'],
    ['expires', '0m'],
    ['expires', '29s'],
    ['expires', '169h'],
    ['expires', '1d'],
    ['expires', '-5m'],
    ['run_within', '4s'],
    ['run_within', '25h'],
    ['run_within', '10 m'],
    ['reason', 'optional'],
    ['reason', ''],
    ['self_approval', 'yes'],
    ['deny_quorum', '0'],
  ])('refuses @%s(%j)', (name, value) => {
    const all = { approvers: 'a', quorum: '1', expires: '15m', run_within: '10m', [name]: value };
    const annotations = Object.entries(all)
      .map(([key, text]) => `@${key}("${text}")`)
      .join(' ');
    expect(faultsOf(askPermit(annotations))).toEqual([
      expect.stringMatching(new RegExp(`^own\\.cedar:1 - @${name} must be`)),
    ]);
  });

  it('refuses rules of lopsided forbids also where there is no tool yet', () => {
    expect(faultsOf(`forbid (principal, action in ${inGroup('call')}, resource);`, [])).toHaveLength(1);
    expect(faultsOf(askPermit(''), [])).toHaveLength(4);
  });

  it('tells every fault of every file, with its line also after Chinese comments', () => {
    const files = [
      {
        name: 'b.cedar',
        text: `// 审批\n// 需要审批的操作\n\npermit (principal, action, resource)\nwhen { nonsense\n&& true\n&& true };\n`,
      },
      { name: 'a.cedar', text: `// 第一\n${CALL};\n// 第二\n@nope("x")\n${CALL};\n` },
    ];
    expect(() => buildPolicy({ files, tools: [look] })).toThrow(
      expect.objectContaining({
        details: {
          faults: [expect.stringMatching(/^a\.cedar:4 - @nope/), expect.stringMatching(/^b\.cedar:5 - .*nonsense/)],
        },
      }),
    );
  });

  it('refuses a set without policies, and tools that cannot be judged', () => {
    expect(faultsOf('// nothing')).toEqual([expect.stringContaining('no policy')]);
    expect(faultsOf(`${CALL};`, [look, look])).toEqual(['tool look - exists twice']);
    expect(faultsOf(`${CALL};`, [toolNamed('look', { parameters: { type: 'object' } })])).toHaveLength(1);
    expect(faultsOf(`${CALL};`, [toolNamed('Look "a"')])).toEqual(['a tool has a name that cannot be one']);
  });

  it('says which arguments policies cannot see', () => {
    expect(policyOf(`${CALL};`).invisibleArguments).toEqual([{ tool: 'scale', path: 'share', why: 'type number' }]);
  });

  it('warns of a policy that can never match with these tools', () => {
    const text = `${CALL} when { context.arguments has colour && context.arguments.colour == "red" };`;
    expect(policyOf(`// above\n\n${text}`).warnings).toEqual([expect.stringMatching(/^own\.cedar:3 - .*impossible/)]);
  });

  it('collects the roles that policies name, in heads and in conditions', () => {
    const text = `permit (principal in Steward::Role::"lead", action in Steward::Action::"call", resource)
      when { principal in Steward::Role::"ops" || principal in [Steward::Role::"a", Steward::Role::"b"] };`;
    expect(policyOf(text).roles).toEqual(['a', 'b', 'lead', 'ops']);
  });
});

describe('the hash of a policy set', () => {
  const hashOf = (text: string, tools: readonly JudgedTool[] = [look, scale]) => policyOf(text, tools).hash;

  it('is the same for the same files and tools in any order', () => {
    const files = [
      { name: 'a.cedar', text: `${CALL};` },
      { name: 'b.cedar', text: askPermit(ASK) },
    ];
    const one = buildPolicy({ files, tools: [look, scale] });
    expect(buildPolicy({ files: files.toReversed(), tools: [scale, look] }).hash).toBe(one.hash);
    expect(one.hash).toMatch(/^[0-9a-f]{64}$/);
  });

  it('is that of a text which has the files word for word, so that it can be shown what was in force', () => {
    const text = `// why: 值\n${CALL};`;
    const policy = buildPolicy({ files: [{ name: 'a.cedar', text }], tools: [look] });
    expect(sha256Hex(policy.source)).toBe(policy.hash);
    expect(JSON.parse(policy.source)).toMatchObject({
      files: [{ name: 'a.cedar', text }],
      tools: [{ name: look.name }],
      schema: { Steward: {} },
    });
  });

  it('is of at most what the audit log keeps', () => {
    const files = ['a', 'b', 'c', 'd', 'e'].map((name) => ({
      name: `${name}.cedar`,
      text: `// ${'x'.repeat(250_000)}\n${name === 'a' ? `${CALL};` : ''}`,
    }));
    expect(() => buildPolicy({ files, tools: [look] })).toThrow(
      expect.objectContaining({ code: 'POLICY_INVALID', message: expect.stringContaining('1 MiB') }),
    );
  });

  it('changes with the text, a name of a file, and whatever of the tools a verdict depends on', () => {
    const base = hashOf(`${CALL};`);
    const others = [
      hashOf(`${CALL} ;`),
      buildPolicy({ files: [{ name: 'other.cedar', text: `${CALL};` }], tools: [look, scale] }).hash,
      hashOf(`${CALL};`, [look]),
      hashOf(`${CALL};`, [{ ...look, effect: 'write' }, scale]),
      hashOf(`${CALL};`, [{ ...look, environments: ['test'] }, scale]),
      hashOf(`${CALL};`, [{ ...look, repeatable: true }, scale]),
      hashOf(`${CALL};`, [
        { ...look, parameters: { ...look.parameters, properties: { a: { type: 'string' } } } },
        scale,
      ]),
    ];
    expect(new Set([base, ...others]).size).toBe(others.length + 1);
  });
});
