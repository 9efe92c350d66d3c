import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import {
  decideRequest,
  isNoStricter,
  isReachable,
  mayVote,
  whoMayDecide,
  type Obligations,
  type RoledPerson,
  type Verdict,
  type Vote,
} from './index.ts';

const base: Obligations = {
  approverGroups: [['approver', 'lead']],
  quorum: 1,
  denyQuorum: 1,
  approveWithinSeconds: 900,
  runWithinSeconds: 600,
  reasonRequired: false,
  selfApproval: false,
};
const requester = { corpId: 'ding1', staffId: 'li' };
const person = (staffId: string, roles: string[] = ['approver'], corpId = 'ding1'): RoledPerson => ({
  corpId,
  staffId,
  roles,
});
const vote = (by: RoledPerson, decision: Vote['decision'] = 'approve', reason: string | null = null): Vote => ({
  ...by,
  decision,
  reason,
});
const decide = (obligations: Partial<Obligations>, ...votes: Vote[]) =>
  decideRequest({ obligations: { ...base, ...obligations }, requester, votes });

/* Few names and roles, so that people, roles and groups meet each other often. */
const aPerson = fc.record({
  corpId: fc.constantFrom('ding1', 'ding1', 'ding1', 'ding2'),
  staffId: fc.constantFrom('li', 'han', 'wang', 'zhao', 'sun'),
  roles: fc.subarray(['approver', 'lead', 'owner', 'guest']),
});
const aVote: fc.Arbitrary<Vote> = fc
  .tuple(
    aPerson,
    fc.constantFrom('approve' as const, 'approve' as const, 'deny' as const),
    fc.constantFrom(null, '', ' ', 'why'),
  )
  .map(([by, decision, reason]) => ({ ...by, decision, reason }));
const someObligations: fc.Arbitrary<Obligations> = fc.record({
  approverGroups: fc.array(fc.subarray(['approver', 'lead', 'owner'], { minLength: 1 }), {
    minLength: 1,
    maxLength: 2,
  }),
  quorum: fc.integer({ min: 1, max: 3 }),
  denyQuorum: fc.integer({ min: 1, max: 2 }),
  approveWithinSeconds: fc.constant(900),
  runWithinSeconds: fc.constant(600),
  reasonRequired: fc.boolean(),
  selfApproval: fc.boolean(),
});
const votes = fc.array(aVote, { maxLength: 8 });
const nameOf = ({ corpId, staffId }: Vote) => `${corpId} ${staffId}`;

/** The rules again, written down differently: all at once, without an order. */
function mayBeApproved(obligations: Obligations, cast: readonly Vote[]): boolean {
  const wanted = new Set(obligations.approverGroups.flat());
  const able = cast.filter(
    (one) =>
      one.corpId === 'ding1' &&
      one.roles.some((role) => wanted.has(role)) &&
      (one.decision === 'deny' ||
        ((one.staffId !== 'li' || obligations.selfApproval) && (!obligations.reasonRequired || one.reason === 'why'))),
  );
  const good = firstOfEach(able).filter(({ decision }) => decision === 'approve');
  return (
    good.length >= obligations.quorum &&
    obligations.approverGroups.every((group) => good.some(({ roles }) => roles.some((role) => group.includes(role))))
  );
}

function firstOfEach(all: readonly Vote[]): Vote[] {
  return [...new Map(all.toReversed().map((one) => [nameOf(one), one])).values()].toReversed();
}

describe('decideRequest', () => {
  it('approves by a quorum of distinct people', () => {
    expect(decide({})).toBe('pending');
    expect(decide({}, vote(person('han')))).toBe('approved');
    expect(decide({ quorum: 2 }, vote(person('han')), vote(person('han')))).toBe('pending');
    expect(decide({ quorum: 2 }, vote(person('han')), vote(person('wang')))).toBe('approved');
  });

  it('wants an approver of every group', () => {
    const groups = { approverGroups: [['approver'], ['owner']], quorum: 2 };
    expect(decide(groups, vote(person('han')), vote(person('wang')))).toBe('pending');
    expect(decide(groups, vote(person('han')), vote(person('wang', ['owner'])))).toBe('approved');
    expect(decide({ ...groups, quorum: 1 }, vote(person('han', ['owner', 'approver'])))).toBe('approved');
  });

  it('ends by a denial, or by as many as the policy wants', () => {
    expect(decide({ quorum: 2 }, vote(person('han')), vote(person('wang'), 'deny'), vote(person('zhao')))).toBe(
      'denied',
    );
    expect(decide({ denyQuorum: 2 }, vote(person('wang'), 'deny'), vote(person('han')))).toBe('approved');
    expect(decide({ denyQuorum: 2 }, vote(person('wang'), 'deny'), vote(person('wang'), 'deny'))).toBe('pending');
  });

  it('does not count the requester, strangers, people without the role or of another organisation, or without a reason', () => {
    expect(decide({}, vote(person('li')))).toBe('pending');
    expect(decide({ selfApproval: true }, vote(person('li')))).toBe('approved');
    expect(
      decide({}, vote(person('han', ['ops'])), vote(person('han', [])), vote(person('sun', ['approver'], 'ding2'))),
    ).toBe('pending');
    expect(decide({}, vote(person('sun', ['approver'], 'ding2'), 'deny'), vote(person('sun', ['ops']), 'deny'))).toBe(
      'pending',
    );
    expect(decide({ reasonRequired: true }, vote(person('han'), 'approve', '  '))).toBe('pending');
    expect(decide({ reasonRequired: true }, vote(person('han'), 'approve', 'checked'))).toBe('approved');
  });

  it('takes the other person of the same id in another organisation for somebody else', () => {
    expect(decide({ selfApproval: false }, vote(person('li', ['approver'], 'ding2')))).toBe('pending');
  });

  it('is settled by the first votes that settle it: what comes after changes nothing', () => {
    fc.assert(
      fc.property(someObligations, votes, votes, (obligations, first, later) => {
        const settled = decideRequest({ obligations, requester, votes: first });
        if (settled !== 'pending')
          expect(decideRequest({ obligations, requester, votes: [...first, ...later] })).toBe(settled);
      }),
    );
  });

  it('approves exactly when the votes until then fulfil it', () => {
    fc.assert(
      fc.property(someObligations, votes, (obligations, cast) => {
        const prefixes = cast.map((_, at) => cast.slice(0, at + 1));
        const approvedAt = prefixes.findIndex((prefix) => mayBeApproved(obligations, prefix));
        const settled = decideRequest({ obligations, requester, votes: cast });
        if (settled === 'approved') expect(approvedAt).toBeGreaterThanOrEqual(0);
        if (settled === 'pending') expect(approvedAt).toBe(-1);
      }),
      { numRuns: 1_000 },
    );
  });

  it('does not depend on the order of approvals', () => {
    const approvals = fc
      .uniqueArray(aVote, { selector: nameOf, maxLength: 6 })
      .map((all) => all.map((one) => ({ ...one, decision: 'approve' as const })));
    fc.assert(
      fc.property(someObligations, approvals, fc.infiniteStream(fc.nat()), (obligations, cast, random) => {
        const keyed = cast.map((one) => [random.next().value, one] as const);
        const shuffled = keyed.toSorted(([a], [b]) => a - b).map(([, one]) => one);
        expect(decideRequest({ obligations, requester, votes: shuffled })).toBe(
          decideRequest({ obligations, requester, votes: cast }),
        );
      }),
    );
  });

  it('never counts one person twice, nor the requester where that is not allowed', () => {
    fc.assert(
      fc.property(someObligations, votes, (obligations, cast) => {
        const doubled = cast.flatMap((one) => [one, one]);
        expect(decideRequest({ obligations, requester, votes: doubled })).toBe(
          decideRequest({ obligations, requester, votes: cast }),
        );
        const without = cast.filter(
          ({ corpId, staffId, decision }) => corpId !== 'ding1' || staffId !== 'li' || decision === 'deny',
        );
        // Their approval may not even keep them from denying later: it is as if it had never been.
        if (!obligations.selfApproval) {
          expect(decideRequest({ obligations, requester, votes: without })).toBe(
            decideRequest({ obligations, requester, votes: cast }),
          );
        }
      }),
    );
  });
});

describe('whoMayDecide and isReachable', () => {
  const people = [
    person('li'),
    person('han'),
    person('wang', ['owner']),
    person('zhao', ['ops']),
    person('sun', ['lead'], 'ding2'),
    person('han'),
  ];
  const o = (change: Partial<Obligations>) => ({ obligations: { ...base, ...change }, requester, people });

  it('finds everybody whose approval would count, each once', () => {
    expect(whoMayDecide(o({})).map(({ staffId }) => staffId)).toEqual(['han']);
    expect(whoMayDecide(o({ selfApproval: true })).map(({ staffId }) => staffId)).toEqual(['li', 'han']);
    expect(whoMayDecide(o({ approverGroups: [['approver'], ['owner']] })).map(({ staffId }) => staffId)).toEqual([
      'han',
      'wang',
    ]);
  });

  it('says whether asking is of any use', () => {
    expect(isReachable(o({}))).toBe(true);
    expect(isReachable(o({ quorum: 2 }))).toBe(false);
    expect(isReachable(o({ quorum: 2, selfApproval: true }))).toBe(true);
    expect(isReachable(o({ approverGroups: [['approver'], ['owner']], quorum: 2 }))).toBe(true);
    expect(isReachable(o({ approverGroups: [['approver'], ['lead']] }))).toBe(false);
  });

  it('agrees with the decision if all of them approve', () => {
    fc.assert(
      fc.property(someObligations, fc.array(aPerson, { maxLength: 6 }), (obligations, all) => {
        const able = whoMayDecide({ obligations, requester, people: all });
        const settled = decideRequest({
          obligations,
          requester,
          votes: able.map((one) => vote(one, 'approve', 'why')),
        });
        expect(isReachable({ obligations, requester, people: all })).toBe(settled === 'approved');
      }),
    );
  });
});

describe('mayVote', () => {
  type Try = Parameters<typeof mayVote>[0];
  const fine: Try = {
    obligations: base,
    requester,
    request: { isPending: true, isInTime: true, tooLarge: false },
    voter: person('han'),
    decision: 'approve',
    reason: null,
    door: 'stream',
    hasVoted: false,
    wasShown: false,
  };

  it('accepts what would count', () => {
    expect(mayVote(fine)).toBeNull();
    expect(mayVote({ ...fine, decision: 'deny', reason: 'not now' })).toBeNull();
    expect(mayVote({ ...fine, decision: 'deny', door: 'card' })).toBeNull();
    expect(mayVote({ ...fine, request: { ...fine.request, tooLarge: true }, wasShown: true })).toBeNull();
    expect(mayVote({ ...fine, voter: person('li'), obligations: { ...base, selfApproval: true } })).toBeNull();
    expect(mayVote({ ...fine, voter: person('li'), decision: 'deny', reason: 'changed my mind' })).toBeNull();
  });

  it.each<[string, Partial<Try>]>([
    ['vote_of_unknown_person', { voter: { ...person('han'), staffId: null } }],
    ['vote_of_unknown_person', { voter: { ...person('han'), corpId: null } }],
    ['vote_of_another_corp', { voter: person('han', ['approver'], 'ding2') }],
    ['vote_on_closed_request', { request: { ...fine.request, isPending: false } }],
    ['vote_after_expiry', { request: { ...fine.request, isInTime: false } }],
    ['vote_repeated', { hasVoted: true }],
    ['vote_without_role', { voter: person('han', ['ops']) }],
    ['vote_without_role', { voter: person('han', ['ops']), decision: 'deny', reason: 'no' }],
    ['vote_of_requester', { voter: person('li') }],
    ['vote_unseen', { request: { ...fine.request, tooLarge: true } }],
    ['vote_without_reason', { obligations: { ...base, reasonRequired: true }, reason: ' ' }],
    ['vote_without_reason', { decision: 'deny', reason: null }],
  ])('refuses with %s', (refusal, change) => {
    expect(mayVote({ ...fine, ...change })).toBe(refusal);
  });

  it('accepts a vote only if the decision counts it', () => {
    fc.assert(
      fc.property(someObligations, aVote, (obligations, one) => {
        const refusal = mayVote({
          ...fine,
          obligations,
          voter: one,
          decision: one.decision,
          reason: one.reason,
          door: 'card',
        });
        const single = {
          ...obligations,
          quorum: 1,
          denyQuorum: 1,
          approverGroups: [obligations.approverGroups.flat()],
        };
        const settled = decideRequest({ obligations: single, requester, votes: [one] });
        expect(refusal === null).toBe(settled !== 'pending');
      }),
    );
  });
});

const refusalOf = (obligations: Obligations, one: Vote) =>
  mayVote({
    obligations,
    requester,
    request: { isPending: true, isInTime: true, tooLarge: false },
    voter: one,
    decision: one.decision,
    reason: one.reason,
    door: 'card',
    hasVoted: false,
    wasShown: false,
  });

describe('isNoStricter', () => {
  const verdictOf = (change: Partial<Obligations>): Verdict => ({
    verdict: 'ask',
    reason: 'needs_approval',
    policyHash: 'h',
    policyIds: ['p'],
    obligations: { ...base, ...change },
  });
  const deny: Verdict = { verdict: 'deny', reason: 'forbidden', policyHash: 'h', policyIds: [], obligations: null };
  const met = {
    votes: [vote(person('han'), 'approve', 'ok')],
    requester,
    decidedAfterSeconds: 60,
    sinceDecisionSeconds: 5,
  };

  it('stands while the verdict is allow, or asks for no more than was met', () => {
    expect(isNoStricter({ ...met, after: { ...deny, verdict: 'allow', reason: 'permitted' } })).toEqual({ ok: true });
    for (const change of [
      {},
      { reasonRequired: true },
      { approverGroups: [['approver']] },
      { approveWithinSeconds: 60 },
      { denyQuorum: 2 },
    ]) {
      expect(isNoStricter({ ...met, after: verdictOf(change) })).toEqual({ ok: true });
    }
  });

  it('does not mistake somebody of the same id in another organisation for an approver', () => {
    const twin = vote(person('han', ['approver'], 'ding2'));
    expect(isNoStricter({ ...met, votes: [twin, ...met.votes], after: verdictOf({}) })).toEqual({ ok: true });
    expect(isNoStricter({ ...met, votes: [twin], after: verdictOf({}) })).toEqual({
      ok: false,
      why: 'other_approvers',
    });
  });

  it.each<[string, Partial<typeof met>, Verdict]>([
    ['denied_now', {}, deny],
    ['denied_now', { votes: [...met.votes, vote(person('wang'), 'deny')] }, verdictOf({})],
    ['more_approvers', {}, verdictOf({ quorum: 2 })],
    ['more_approvers', { votes: [...met.votes, ...met.votes] }, verdictOf({ quorum: 2 })],
    ['other_approvers', {}, verdictOf({ approverGroups: [['lead']] })],
    ['other_approvers', {}, verdictOf({ approverGroups: [['approver'], ['owner']] })],
    ['reason_needed', { votes: [vote(person('han'))] }, verdictOf({ reasonRequired: true })],
    ['self_approval', { votes: [vote(person('li'))] }, verdictOf({})],
    ['too_late', {}, verdictOf({ approveWithinSeconds: 59 })],
    ['too_late', { sinceDecisionSeconds: 601 }, verdictOf({})],
  ])('is void with %s', (why, change, after) => {
    expect(isNoStricter({ ...met, ...change, after })).toEqual({ ok: false, why });
  });

  it('always stands under the obligations that the votes were cast for, and only if they decide as well under the new', () => {
    fc.assert(
      fc.property(someObligations, someObligations, votes, (before, after, cast) => {
        const upTo = cast.findIndex(
          (_, at) => decideRequest({ obligations: before, requester, votes: cast.slice(0, at + 1) }) !== 'pending',
        );
        const settled = cast.slice(0, upTo + 1);
        if (decideRequest({ obligations: before, requester, votes: settled }) !== 'approved') return;
        // What may not count is not recorded either.
        const recorded = firstOfEach(settled.filter((one) => refusalOf(before, one) === null));
        const stands = (obligations: Obligations) =>
          isNoStricter({ ...met, votes: recorded, after: verdictOf(obligations) }).ok;
        expect(stands(before)).toBe(true);
        expect(stands(after)).toBe(
          mayBeApproved(after, recorded) &&
            recorded.filter(({ decision }) => decision === 'deny').length < after.denyQuorum,
        );
      }),
      { numRuns: 2_000 },
    );
  });
});
