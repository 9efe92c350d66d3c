export type { Effect, Json, JsonObject, Principal, ToolDefinition } from './tool-definition.ts';
export type { JudgeInput, Obligations, Verdict, VerdictReason } from './verdict.ts';
export { canonicalJson, sha256Hex } from './canonical-json.ts';
export {
  approvalDigest,
  approvalIdentity,
  hashDefinition,
  MAX_ARGUMENT_BYTES,
  type ApprovalSubject,
} from './approval-digest.ts';
export { checkParameterSchema, type Checked } from './parameter-schema.ts';
export { checkArguments } from './check-arguments.ts';
export type { JudgedTool } from './build-schema.ts';
export type { Policy, PolicyFile, PolicyStatement } from './policy.ts';
export { buildPolicy } from './build-policy.ts';
export { loadPolicy, readPolicyFiles } from './load-policy.ts';
export { judge } from './judge.ts';
export { explain, type Explanation } from './explain.ts';
export { diffVerdicts, type Flip } from './diff-verdicts.ts';
export { runPolicyCases, type CaseResult } from './policy-cases.ts';
export {
  decideRequest,
  isNoStricter,
  isReachable,
  mayVote,
  whoMayDecide,
  type Person,
  type RoledPerson,
  type StricterWhy,
  type Vote,
  type VoteRefusal,
} from './approval-rules.ts';
export { toSignedClaims } from './signed-claims.ts';
export { toArguments } from './to-arguments.ts';
export { wholePlaceholder } from './placeholders.ts';
export { httpToolSchema, type HeaderTemplates, type HttpToolFile } from './http-tool-schema.ts';
export { readToolFiles, toolsInvalid, type ReadToolFile } from './read-tool-files.ts';
export { builtinDefinitions, builtinLimits, builtinToolNames } from './builtin-definitions.ts';
export { findToolHosts, loadToolDefinitions, toHttpDefinition } from './tool-definitions.ts';
