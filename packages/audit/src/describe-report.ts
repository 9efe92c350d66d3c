import type { VerifyReport } from './audit-log-check.ts';
import type { BundleReport } from './verify-bundle.ts';

/** A report of `verifyAudit` in plain lines. Pure. */
export function describeReport(report: VerifyReport): string[] {
  const faults = report.faults.map(({ text }) => `WRONG: ${text}`);
  const more = report.faultCount - report.faults.length;
  return [
    ...faults,
    ...(more > 0 ? [`and ${more} more`] : []),
    `${report.entries} entries in ${report.blocks} blocks checked${spanOf(report)}`,
    ...report.keys.map(({ keyId, fromBlock, toBlock }) => `blocks ${fromBlock} to ${toBlock}: key ${keyId}`),
    ...report.retired.map(
      ({ name, rows, exportSha256, by }) => `${name}: ${rows} entries retired by ${by}, export sha256 ${exportSha256}`,
    ),
    `personal text: ${report.details.whole} whole, ${report.details.erasedCount} erased`,
    ...report.details.erased.map(({ entryId, by, at }) => `entry ${entryId}: erased by ${by} at ${at}`),
    `${report.unsealed} entries not sealed yet`,
    tailOf(report),
    { fine: 'FINE', bad: 'BAD', unwitnessed: 'NOTHING WRONG FOUND, BUT THE TAIL IS NOT WITNESSED' }[report.outcome],
  ];
}

const spanOf = ({ first, newest }: VerifyReport): string =>
  first === null || newest === null
    ? ''
    : ` (block ${first.number} of ${first.sealedAt} to block ${newest.number} of ${newest.sealedAt})`;

function tailOf({ witnessed, first, newest }: VerifyReport): string {
  if (witnessed === null) return `tail not witnessed since ${first?.sealedAt ?? 'the beginning'}: give a checkpoint`;
  if (witnessed.number === newest?.number) return `witnessed up to its last block ${witnessed.number}`;
  return `witnessed up to block ${witnessed.number} of ${witnessed.sealedAt}; tail not witnessed since then`;
}

const policyStates = {
  whole: 'its text is in the bundle, and is the one that was in force',
  missing: 'its text is not in the bundle',
  altered: 'its text was altered',
} as const;

/** A report of `verifyBundle` in plain lines. Pure. */
export function describeBundleReport(report: BundleReport): string[] {
  return [
    ...report.faults.map(({ text }) => `WRONG: ${text}`),
    `${report.entries} entries of correlation id ${report.correlationId}: ${report.proved} proved by signed blocks, ` +
      `${report.unsealed} not sealed when the bundle was made, ${report.erased} with erased personal text`,
    report.linked
      ? 'their blocks are one unbroken run'
      : 'they are not in one unbroken run of blocks; what is proved, is proved by the signature of its own block',
    ...report.policies.map(({ hash, text }) => `policy set ${hash}: ${policyStates[text]}`),
    { fine: 'FINE', bad: 'BAD', unproved: 'NOTHING WRONG FOUND, BUT NOT EVERY ENTRY IS PROVED' }[report.outcome],
  ];
}
