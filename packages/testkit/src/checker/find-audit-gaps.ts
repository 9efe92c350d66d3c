import type { AuditFacts, LedgerFacts } from './run-facts.ts';

/**
 * What verifying the log found, every change of state in the ledger that has no entry (or two), and every such entry that
 * speaks of something the ledger does not have.
 */
export function findAuditGaps(ledger: LedgerFacts, audit: AuditFacts): string[] {
  const expected = countExpected(ledger);
  const kinds = new Set([...expected.keys()].map(kindOf));
  const missing = [...expected].filter(([name, count]) => (audit.entries.get(name) ?? 0) !== count);
  const strange = [...audit.entries.keys()].filter((name) => kinds.has(kindOf(name)) && !expected.has(name));
  return [
    ...audit.faults,
    ...missing.map(([name, count]) => `${name}: ${audit.entries.get(name) ?? 0} audit entries instead of ${count}`),
    ...strange.map((name) => `${name}: an audit entry of something that is not in the ledger`),
  ];
}

const kindOf = (name: string): string => name.slice(0, name.indexOf(' '));

function countExpected(ledger: LedgerFacts): Map<string, number> {
  const names = [
    ...ledger.events.map(({ id }) => `inbound.recorded ${id}`),
    ...ledger.turns
      .filter(({ status }) => status === 'done' || status === 'failed')
      .map(({ id }) => `turn.ended ${id}`),
    ...ledger.messages.map(({ id }) => `outbound.recorded ${id}`),
    ...ledger.messages.filter(({ isEnded }) => isEnded).map(({ id }) => `outbound.ended ${id}`),
    ...ledger.toolCalls.map(({ id }) => `call.judged ${id}`),
    // A call that the policy refuses ends by its verdict: `call.judged` is the entry of its end, too.
    ...ledger.toolCalls
      .filter(({ isEnded, status }) => isEnded && status !== 'refused')
      .map(({ id }) => `call.ended ${id}`),
    ...ledger.toolAttempts.map(({ subjectId }) => `attempt.opened ${subjectId}`),
    ...ledger.toolAttempts.filter(({ isOpen }) => !isOpen).map(({ subjectId }) => `attempt.closed ${subjectId}`),
  ];
  const counts = new Map<string, number>();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  return counts;
}

/** The kinds of entry that the ledger answers for. */
export const countedKinds = [
  'inbound.recorded',
  'turn.ended',
  'outbound.recorded',
  'outbound.ended',
  'call.judged',
  'call.ended',
  'attempt.opened',
  'attempt.closed',
] as const;
