import type { LedgerAttempt, LedgerFacts, UnknownAllowance } from './run-facts.ts';

/** A clock in another process may be a little off, and a statement takes its time. */
const slackMs = 1_000;

/**
 * Every attempt whose outcome nobody knows, open ones included. It is explained by its reason in the ledger together with
 * an injected fault that was in force when it was begun; one without either is not.
 */
export function explainUnknown(
  ledger: LedgerFacts,
  allowances: readonly UnknownAllowance[],
): { count: number; explained: string[]; unexplained: string[] } {
  const attempts = [
    ...ledger.sends.map((attempt) => ({ kind: 'send' as const, attempt })),
    ...ledger.toolAttempts.map((attempt) => ({ kind: 'tool' as const, attempt })),
  ].filter(({ attempt }) => attempt.isOpen || attempt.outcome === 'unknown');
  const explained: string[] = [];
  const unexplained: string[] = [];
  for (const { kind, attempt } of attempts) {
    const name = `${kind} attempt ${attempt.id} of ${attempt.subjectId}`;
    const reason = attempt.isOpen ? 'still open' : attempt.code;
    const allowance = allowances.find((one) => one.kind === kind && covers(one, attempt));
    if (reason === null) unexplained.push(`${name} is unknown without a reason`);
    else if (allowance === undefined)
      unexplained.push(`${name} is unknown (${reason}), and no injected fault allows that`);
    else explained.push(`${name}: ${reason}, under fault ${allowance.fault}`);
  }
  return { count: attempts.length, explained, unexplained };
}

const covers = ({ since, until }: UnknownAllowance, { startedAt }: LedgerAttempt): boolean =>
  startedAt >= since - slackMs && startedAt <= until + slackMs;
