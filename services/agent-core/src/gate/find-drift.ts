import { AppError } from '@steward/service-kit';
import { hashDefinition, isNoStricter, judge, type JsonObject } from '@steward/governance';
import { loadVotes } from '../approvals/load-request.ts';
import type { Tool } from '../tool.ts';
import { digestOfCall } from './digest-of-call.ts';
import { toCallContext, type GateContext, type GatedTurn } from './gate-context.ts';
import type { CallRow } from './load-calls.ts';
import { toJudgeInput } from './propose-call.ts';

/**
 * Why the call may not run as it was permitted, or null. A grant stands only for the very definition that was shown, for the
 * compared fields of the preview, and under a policy that is no stricter than what was met (notes A1, A9).
 */
export async function findDrift(
  context: GateContext,
  gated: GatedTurn,
  call: CallRow,
  tool: Tool | null,
  signal: AbortSignal,
): Promise<string | null> {
  const isPlainRead = call.effect === 'read' && call.verdict === 'allow';
  // First of all: a replica of before or after an upgrade knows other tools, and must not call an approval void for that.
  if (!isPlainRead) await context.policy.assertActive();
  if (tool === null || hashDefinition(tool.definition) !== call.definitionHash) return 'definition_changed';
  if (call.digest !== null && !digestOfCall(context, call).equals(call.digest)) return 'digest_changed';
  if (isPlainRead) return null;
  const verdict = judge(context.policy.current(), await toJudgeInput(context, gated, tool, call.arguments));
  if (verdict.verdict === 'deny') return `policy_${verdict.reason}`;
  if (call.verdict === 'allow') return verdict.verdict === 'allow' ? null : 'policy_stricter';
  if (call.requestId === null) return null;
  const { votes, requester, decidedAfterSeconds, sinceDecisionSeconds } = await loadVotes(context.db, call.requestId);
  const stands = isNoStricter({ votes, requester, decidedAfterSeconds, sinceDecisionSeconds, after: verdict });
  if (!stands.ok) return `policy_${stands.why}`;
  return (await hasPreviewChanged(gated, tool, call, signal)) ? 'preview_changed' : null;
}

async function hasPreviewChanged(gated: GatedTurn, tool: Tool, call: CallRow, signal: AbortSignal): Promise<boolean> {
  const fields = tool.definition.comparedPreviewFields;
  if (tool.preview === undefined || fields.length === 0) return false;
  const now = await tool.preview(call.arguments, toCallContext(gated, call), signal).catch((): JsonObject => ({}));
  return fields.some((field) => JSON.stringify(now[field]) !== JSON.stringify(call.preview?.[field]));
}

/**
 * While an upgrade goes on, a replica may judge by another policy set than the one that counts. An approved call is held for
 * one that may judge, as long as its clock runs, and this was no failed try.
 */
export function holdApproved(call: CallRow, error: unknown): 'held' {
  if (call.requestId !== null && error instanceof AppError && error.code === 'POLICY_CHANGING') return 'held';
  throw error;
}
