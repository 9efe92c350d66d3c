import { judge } from './judge.ts';
import type { Policy, PolicyStatement } from './policy.ts';
import type { JudgeInput, Verdict } from './verdict.ts';

const STRENGTH = { deny: 0, ask: 1, allow: 2 } as const;

export type Explanation = {
  verdict: Verdict;
  /** The policies that decided, in full. */
  deciding: readonly PolicyStatement[];
  /** Roles that would help, each by itself, and what they would lead to. */
  missingRoles: readonly { role: string; verdict: 'ask' | 'allow'; policyIds: readonly string[] }[];
};

/** The verdict with its reasons: the deciding policies, and which role named by any policy would have led further. */
export function explain(policy: Policy, input: JudgeInput): Explanation {
  const verdict = judge(policy, input);
  const { principal } = input;
  const missingRoles = policy.roles
    .filter((role) => !principal.roles.includes(role))
    .flatMap((role) => {
      const better = judge(policy, { ...input, principal: { ...principal, roles: [...principal.roles, role] } });
      if (better.verdict === 'deny' || STRENGTH[better.verdict] <= STRENGTH[verdict.verdict]) return [];
      return [{ role, verdict: better.verdict, policyIds: better.policyIds }];
    });
  const deciding = verdict.policyIds.flatMap((id) => policy.statements.get(id) ?? []);
  return { verdict, deciding, missingRoles };
}
