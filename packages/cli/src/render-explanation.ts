import type { Explanation, JudgeInput, Obligations } from '@steward/governance';
import { toLocalTime } from './to-local-time.ts';
import { toVisible } from './to-visible.ts';

/** What a call comes to and why, in plain lines. Pure. */
export function renderExplanation(input: JudgeInput, { verdict, deciding, missingRoles }: Explanation): string[] {
  const { principal, tool } = input;
  const lines: [string, string][] = [
    ['verdict', `${verdict.verdict} (${verdict.reason})`],
    ['person', `staffId ${principal.staffId ?? 'unknown'}, roles ${principal.roles.join(', ') || 'none'}`],
    ['place', `${input.room ?? 'single chat'}, robot ${input.robot}, ${input.environment}, lane ${input.lane}`],
    ['tool', `${tool.name} (${tool.effect}${tool.repeatable ? ', repeatable' : ''})`],
    ['arguments', JSON.stringify(input.arguments)],
    ['at', toLocalTime(input.now, input.timeZone)],
    ['audited', input.audited ? 'yes' : 'no'],
    ...(input.calendar.length > 0 ? [['calendar', input.calendar.join(', ')] as [string, string]] : []),
    ...deciding.map(({ id, effect, file, line, description }): [string, string] => [
      'decided by',
      `${id}: ${effect} at ${file}:${line}${description === null ? '' : `, ${description}`}`,
    ]),
    ...(verdict.obligations === null ? [] : renderObligations(verdict.obligations)),
    ...missingRoles.map(({ role, verdict: better, policyIds }): [string, string] => [
      'missing role',
      `with ${role} it would be ${better} (${policyIds.join(', ')})`,
    ]),
    ['policy set', verdict.policyHash],
  ];
  return lines.map(([name, text]) => `${name.padEnd(13)} ${toVisible(text)}`);
}

function renderObligations(obligations: Obligations): [string, string][] {
  const groups = obligations.approverGroups.map((group) => group.join(' or ')).join(', and ');
  const extra = [
    ...(obligations.reasonRequired ? ['a reason is required'] : []),
    ...(obligations.selfApproval ? ['the requester may approve'] : []),
    ...(obligations.denyQuorum > 1 ? [`${obligations.denyQuorum} people end it by denying`] : []),
  ];
  return [
    ['approvers', [`${obligations.quorum} of ${groups}`, ...extra].join('; ')],
    [
      'clocks',
      `decide within ${obligations.approveWithinSeconds} s, run within ${obligations.runWithinSeconds} s after`,
    ],
  ];
}
