import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { diffVerdicts, explain, judge, type JudgeInput, type Obligations } from './index.ts';
import { combineObligations } from './obligations.ts';
import { ASK, askPermit, CALL, inputWith, look, policyOf, toolNamed } from './policy-test-support.ts';

const always = `@id("always") ${CALL};\n`;
const asks = askPermit(`@id("asks") ${ASK}`);
const forbid = (condition = '') => `@id("never") forbid (principal, action, resource) ${condition};\n`;
const judged = (text: string, change?: Parameters<typeof inputWith>[0]) => judge(policyOf(text), inputWith(change));

describe('judge', () => {
  it('allows what is permitted, names the policy and the hash of the set', () => {
    const policy = policyOf(always);
    expect(judge(policy, inputWith())).toEqual({
      verdict: 'allow',
      reason: 'permitted',
      policyHash: policy.hash,
      policyIds: ['always'],
      obligations: null,
    });
  });

  it('asks where only a call with approval is permitted', () => {
    expect(judged(asks)).toMatchObject({
      verdict: 'ask',
      reason: 'needs_approval',
      policyIds: ['asks'],
      obligations: {
        approverGroups: [['approver']],
        quorum: 1,
        denyQuorum: 1,
        approveWithinSeconds: 900,
        runWithinSeconds: 600,
        reasonRequired: false,
        selfApproval: false,
      },
    });
    expect(judged(always + asks).verdict).toBe('allow');
  });

  it('denies what nothing permits', () => {
    expect(judged(`${CALL} when { context.audited == false };`)).toMatchObject({
      verdict: 'deny',
      reason: 'no_rule',
      policyIds: [],
      obligations: null,
    });
  });

  it('lets a forbid beat every permit, approvals included', () => {
    expect(judged(always + asks + forbid())).toMatchObject({
      verdict: 'deny',
      reason: 'forbidden',
      policyIds: ['never'],
    });
  });

  it('denies on an evaluation error of any policy, which Cedar alone would skip', () => {
    // Strict validation cannot see an overflow coming.
    const overflow = 'when { context.arguments has replicas && context.arguments.replicas * 9007199254740991 > 0 }';
    const head = (group: string) => `action == Steward::Action::"${group} scale"`;
    const failing = `@id("never") forbid (principal, action in [Steward::Action::"call scale", Steward::Action::"callWithApproval scale"], resource) ${overflow};`;
    const big = { arguments: { service: 'web', replicas: 9_007_199_254_740_991 } };
    expect(judged(always + failing, big)).toMatchObject({
      verdict: 'deny',
      reason: 'evaluation_error',
      policyIds: ['never'],
    });
    // Also when only the question fails that would not have decided.
    const other = `@id("asks") ${ASK} permit (principal, ${head('callWithApproval')}, resource) ${overflow};`;
    expect(judged(always + other, big)).toMatchObject({
      verdict: 'deny',
      reason: 'evaluation_error',
      policyIds: ['asks'],
    });
    expect(judged(always + other)).toMatchObject({ verdict: 'allow' });
  });

  it('denies somebody for whom the platform does not vouch, whatever the policies say', () => {
    for (const staffId of [null, '']) {
      const principal = { corpId: 'ding1', staffId, roles: ['ops'] };
      expect(judged(always, { principal })).toMatchObject({ verdict: 'deny', reason: 'unknown_person' });
    }
  });

  it('denies a tool of the other environment, whatever the policies say', () => {
    const testOnly = toolNamed('reset', { environments: ['test'] });
    const policy = policyOf(always + forbid('unless { resource in context.environment }'), [testOnly]);
    const input = inputWith({ tool: testOnly, arguments: {} });
    expect(judge(policy, { ...input, environment: 'test' }).verdict).toBe('allow');
    expect(judge(policy, input)).toMatchObject({ verdict: 'deny', reason: 'unknown_tool', policyIds: ['never'] });
    expect(judge(policyOf(always, [testOnly]), input)).toMatchObject({
      verdict: 'deny',
      reason: 'unknown_tool',
      policyIds: [],
    });
    // A caller's word that it is of both environments does not help.
    const stretched = { ...testOnly, environments: ['test', 'production'] as const };
    expect(judge(policyOf(always, [testOnly]), { ...input, tool: stretched })).toMatchObject({
      reason: 'unknown_tool',
    });
  });

  it('denies a tool that the policy set was not loaded for', () => {
    expect(judged(always, { tool: toolNamed('gone') })).toMatchObject({ verdict: 'deny', reason: 'unknown_tool' });
  });

  it('denies arguments that do not fit the tool', () => {
    const unfit: JudgeInput['arguments'][] = [
      {},
      { service: 1 },
      { service: 'web', evil: true },
      { service: { __entity: { type: 'Steward::Role', id: 'lead' } } },
    ];
    for (const args of unfit) {
      expect(judged(always, { arguments: args })).toMatchObject({ verdict: 'deny', reason: 'invalid_arguments' });
    }
  });

  it('never throws: what cannot be evaluated is a no', () => {
    expect(judged(always, { timeZone: 'Mars/Olympus' })).toMatchObject({ verdict: 'deny', reason: 'evaluation_error' });
    expect(judged(always, { now: new Date(Number.NaN) })).toMatchObject({ reason: 'evaluation_error' });
    expect(judged(always, { room: '\ud800' })).toMatchObject({ reason: 'evaluation_error' });
  });

  it.each<[string, string, Parameters<typeof inputWith>[0], Parameters<typeof inputWith>[0]]>([
    ['a role', 'principal in Steward::Role::"lead"', { roles: ['ops', 'lead'] }, { roles: ['ops'] }],
    [
      'a person',
      'principal == Steward::User::"ding1/li"',
      {},
      { principal: { corpId: 'ding2', staffId: 'li', roles: [] } },
    ],
    [
      'an organisation',
      'principal.corpId == "ding1"',
      {},
      { principal: { corpId: 'ding2', staffId: 'li', roles: [] } },
    ],
    ['the tool', 'resource == Steward::Tool::"scale"', {}, { tool: look, arguments: {} }],
    ['an effect', 'resource.effect == "write"', {}, { tool: look, arguments: {} }],
    ['the room', 'context has room && context.room == Steward::Room::"ops-room"', {}, { room: 'other' }],
    ['a room at all', 'context has room', {}, { room: null }],
    ['the robot', 'context.robot == Steward::Robot::"ops"', {}, { robot: 'other' }],
    ['the environment', 'context.environment == Steward::Environment::"production"', {}, { environment: 'test' }],
    ['the lane', 'context.lane == "answer"', {}, { lane: 'bulk' }],
    ['the audit log', 'context.audited', {}, { audited: false }],
    ['an open window', 'context.calendar.contains("freeze")', { calendar: ['a', 'freeze'] }, { calendar: ['freezer'] }],
    [
      'office hours',
      'context.time.hour >= 9 && context.time.hour < 18',
      {},
      { now: new Date('2026-01-07T18:00:00+08:00') },
    ],
    ['a weekday', 'context.time.weekday <= 5', {}, { now: new Date('2026-01-10T10:00:00+08:00') }],
    ['midnight', 'context.time.hour == 0 && context.time.minute == 0', { now: new Date('2026-01-07T16:00:00Z') }, {}],
    [
      'a date',
      'context.time.date < 20260108',
      { now: new Date('2026-01-07T23:59:59+08:00') },
      { now: new Date('2026-01-08T00:00:00+08:00') },
    ],
  ])('lets a policy look at %s', (_, condition, matching, other) => {
    const text = `${CALL} when { ${condition} };`;
    expect(judged(text, matching).verdict).toBe('allow');
    expect(judged(text, other).verdict).toBe('deny');
  });

  it.each<[string, JudgeInput['arguments'], JudgeInput['arguments']]>([
    ['context.arguments.service like "web*"', { service: 'web-1' }, { service: 'db' }],
    [
      'context.arguments has replicas && context.arguments.replicas <= 3',
      { service: 'a', replicas: 3 },
      { service: 'a', replicas: 4 },
    ],
    ['context.arguments has force && context.arguments.force', { service: 'a', force: true }, { service: 'a' }],
    [
      'context.arguments has hosts && context.arguments.hosts.containsAll(["x"])',
      { service: 'a', hosts: ['y', 'x'] },
      { service: 'a', hosts: [] },
    ],
  ])('lets a policy of one tool look at its arguments: %s', (condition, matching, other) => {
    const text = `permit (principal, action == Steward::Action::"call scale", resource) when { ${condition} };`;
    expect(judged(text, { arguments: matching }).verdict).toBe('allow');
    expect(judged(text, { arguments: other }).verdict).toBe('deny');
  });

  it('judges with several sets side by side', () => {
    const [open, closed] = [policyOf(always), policyOf(always + forbid())];
    for (let round = 0; round < 3; round += 1) {
      expect([judge(open, inputWith()).verdict, judge(closed, inputWith()).verdict]).toEqual(['allow', 'deny']);
    }
  });

  it('keeps people apart whose ids run together', () => {
    const text = `${CALL} when { principal == Steward::User::"ding/1/li" };`;
    for (const [corpId, staffId] of [
      ['ding', '1/li'],
      ['ding/1', 'li'],
    ] as const) {
      expect(judged(text, { principal: { corpId, staffId, roles: [] } }).verdict).toBe('deny');
    }
  });
});

describe('the obligations of several permits', () => {
  const strict = askPermit(
    '@id("b") @approvers("lead, owner") @quorum("2") @expires("5m") @run_within("1h") @reason("required") @deny_quorum("2")',
  );
  const own = askPermit(
    '@id("c") @approvers("approver") @quorum("1") @expires("2h") @run_within("90s") @self_approval("allowed") @deny_quorum("3")',
  );

  it('are the strictest of all', () => {
    expect(judged(strict + own)).toMatchObject({
      policyIds: ['b', 'c'],
      obligations: {
        approverGroups: [['approver'], ['lead', 'owner']],
        quorum: 2,
        denyQuorum: 2,
        approveWithinSeconds: 300,
        runWithinSeconds: 90,
        reasonRequired: true,
        selfApproval: false,
      },
    });
    expect(judged(own).obligations).toMatchObject({ selfApproval: true, denyQuorum: 3 });
  });

  const roles = fc.uniqueArray(fc.constantFrom('a', 'b', 'c', 'd'), { minLength: 1, maxLength: 3 });
  const obligations: fc.Arbitrary<Obligations> = fc.record({
    approverGroups: fc.array(roles, { minLength: 1, maxLength: 2 }),
    quorum: fc.integer({ min: 1, max: 20 }),
    denyQuorum: fc.integer({ min: 1, max: 20 }),
    approveWithinSeconds: fc.integer({ min: 30, max: 9_000 }),
    runWithinSeconds: fc.integer({ min: 5, max: 9_000 }),
    reasonRequired: fc.boolean(),
    selfApproval: fc.boolean(),
  });

  it('are never weaker than any of them, in any order', () => {
    fc.assert(
      fc.property(fc.array(obligations, { minLength: 1, maxLength: 4 }), (all) => {
        const combined = combineObligations(all);
        expect(combineObligations(all.toReversed())).toEqual(combined);
        if (combined === null) throw new Error('nothing came of something');
        for (const one of all) {
          expect(combined.quorum).toBeGreaterThanOrEqual(one.quorum);
          expect(combined.denyQuorum).toBeLessThanOrEqual(one.denyQuorum);
          expect(combined.approveWithinSeconds).toBeLessThanOrEqual(one.approveWithinSeconds);
          expect(combined.runWithinSeconds).toBeLessThanOrEqual(one.runWithinSeconds);
          expect(combined.reasonRequired || !one.reasonRequired).toBe(true);
          expect(!combined.selfApproval || one.selfApproval).toBe(true);
          for (const group of one.approverGroups) expect(combined.approverGroups).toContainEqual(group.toSorted());
        }
      }),
    );
  });
});

describe('explain', () => {
  const text = `${CALL} when { principal in Steward::Role::"lead" }; ${askPermit(ASK, 'when { principal in Steward::Role::"ops" }')}
    @id("never") forbid (principal in Steward::Role::"guest", action, resource);`;

  it('says which role would lead further', () => {
    const policy = policyOf(text);
    expect(explain(policy, inputWith({ roles: [] }))).toMatchObject({
      verdict: { verdict: 'deny', reason: 'no_rule' },
      deciding: [],
      missingRoles: [
        { role: 'lead', verdict: 'allow' },
        { role: 'ops', verdict: 'ask' },
      ],
    });
    expect(explain(policy, inputWith({ roles: ['ops'] })).missingRoles).toEqual([
      { role: 'lead', verdict: 'allow', policyIds: ['own.cedar#1'] },
    ]);
    expect(explain(policy, inputWith({ roles: ['lead'] })).missingRoles).toEqual([]);
  });

  it('shows the policy that decided, in full and with its place', () => {
    const { deciding, missingRoles } = explain(policyOf(text), inputWith({ roles: ['guest', 'lead'] }));
    expect(deciding).toEqual([
      expect.objectContaining({
        id: 'never',
        effect: 'forbid',
        file: 'own.cedar',
        text: expect.stringContaining('forbid (principal in'),
      }),
    ]);
    expect(missingRoles).toEqual([]);
  });
});

describe('diffVerdicts', () => {
  it('lists the calls that two sets judge differently, with what changed', () => {
    const before = policyOf(`${CALL} when { resource.effect == "read" }; ${asks}`);
    const after = policyOf(askPermit('@approvers("approver") @quorum("2") @expires("15m") @run_within("10m")'));
    const inputs = [
      { key: 'a read', input: inputWith({ tool: look, arguments: {} }) },
      { key: 'a write', input: inputWith() },
      { key: 'a stranger', input: inputWith({ principal: { corpId: 'ding1', staffId: null, roles: [] } }) },
    ];
    expect(diffVerdicts(before, after, inputs)).toMatchObject([
      { key: 'a read', kind: 'verdict', before: { verdict: 'allow' }, after: { verdict: 'ask' } },
      {
        key: 'a write',
        kind: 'obligations',
        before: { obligations: { quorum: 1 } },
        after: { obligations: { quorum: 2 } },
      },
    ]);
    expect(diffVerdicts(before, before, inputs)).toEqual([]);
  });
});
