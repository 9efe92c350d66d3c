export type { Query, Transact } from './query.ts';
export { canonicalEntry, hashEntry, type EntryRow } from './canonical-entry.ts';
export { hashLeaf, inclusionPath, merkleRoot, rootOfPath } from './merkle.ts';
export { checkSignature, hashBlock, signBlock, type Block } from './block.ts';
export {
  generateSealKey,
  keyIdOf,
  publicKeyPemOf,
  readPublicKeys,
  readSealKey,
  type PublicKeys,
  type SealKey,
} from './seal-key.ts';
export { sealEntries, type SealOptions, type SealOutcome } from './seal-entries.ts';
export { appendCheckpoint, checkpointLine, readCheckpoints, type Checkpoint } from './checkpoint.ts';
export { verifyAudit, type VerifyOptions, type VerifyReport } from './audit-log-check.ts';
export type { Fault } from './fault.ts';
export { collectBundle, type Bundle } from './bundle.ts';
export { verifyBundle, type BundleReport } from './verify-bundle.ts';
export { describeBundleReport, describeReport } from './describe-report.ts';
export { exportEntries, retirePartition, type ExportFormat, type ExportOptions } from './export-entries.ts';
export { explainTrace, readTrace } from './explain-trace.ts';
export { renderStep, type TraceStep } from './render-step.ts';
export { whoTouched, type Touch } from './who-touched.ts';
