export { checkRun, columns, renderCounts, type Column, type RunReport } from './check-run.ts';
export { codeOf, ticketOf } from './check-effects.ts';
export { countFates, isMarkedRepeat, markOf, toAsked, toHeard, type Fates } from './count-fates.ts';
export { findLeaks } from './find-leaks.ts';
export { readAudit, readLedger, readSimulator, readStoredTexts, type Sql } from './read-facts.ts';
export type {
  AuditFacts,
  Canary,
  CollectedText,
  LedgerFacts,
  RateLimit,
  RunFacts,
  RunRules,
  SimulatorFacts,
  UnknownAllowance,
} from './run-facts.ts';
