import { sql } from 'kysely';
import { redactText } from '@steward/service-kit';
import { appendAudit, type Trx } from '@steward/postgres';
import type { AgentTables } from '../database.ts';
import type { CallStatus } from '../governance-tables.ts';
import { toStorableText } from '../to-storable-text.ts';
import type { ToolResult } from '../tool.ts';
import type { CallRow } from './load-calls.ts';

/** The call as far as its ending needs to know it. */
export type EndingCall = Pick<
  CallRow,
  | 'id'
  | 'turnId'
  | 'tool'
  | 'effect'
  | 'environment'
  | 'robotCode'
  | 'conversationId'
  | 'correlationId'
  | 'requesterStaffId'
  | 'requesterCorpId'
  | 'policyHash'
  | 'digest'
>;

/** How a call ended. `code` is a word of ours or of the system's, never what a person wrote. */
export type CallEnding = { status: CallStatus; code: string | null; result?: string | null; durationMs?: number };

/** What every audit entry about a call says of it. */
export const aboutCall = (call: EndingCall) => ({
  correlationId: call.correlationId,
  environment: call.environment,
  robotCode: call.robotCode,
  conversationId: call.conversationId,
  actor: { staffId: call.requesterStaffId, corpId: call.requesterCorpId },
  subjectId: call.id,
  digest: call.digest?.toString('hex') ?? null,
  policyHash: call.policyHash,
});

/** Ends a call for good, once, with its audit entry. False: it had ended already, and nothing was changed. */
export async function endCall(trx: Trx<AgentTables>, call: EndingCall, o: CallEnding): Promise<boolean> {
  const { numUpdatedRows } = await trx
    .updateTable('tool_call')
    .set({ status: o.status, code: o.code, result: o.result ?? null, ended_at: sql<Date>`now()` })
    .where('id', '=', call.id)
    .where('ended_at', 'is', null)
    .executeTakeFirst();
  if (numUpdatedRows !== 1n) return false;
  await appendAudit(trx, 'agent-core', [
    {
      kind: 'call.ended',
      outcome: o.status,
      ...aboutCall(call),
      detail: {
        tool: call.tool,
        effect: call.effect,
        code: o.code,
        durationMs: o.durationMs ?? null,
        resultBytes: Buffer.byteLength(o.result ?? ''),
      },
    },
  ]);
  return true;
}

/**
 * Whether a process that had the turn before has begun the call after it was loaded here. Waits for one that is just
 * beginning; whoever asks holds the call until the transaction ends.
 */
export async function hasBegunSince(
  trx: Trx<AgentTables>,
  call: Pick<CallRow, 'id' | 'attemptCount'>,
): Promise<boolean> {
  await trx.selectFrom('tool_call').select('id').where('id', '=', call.id).forUpdate().execute();
  const attempts = await trx.selectFrom('tool_attempt').select('id').where('tool_call_id', '=', call.id).execute();
  return attempts.length > call.attemptCount;
}

/**
 * Closes an attempt with what the call came to. False when it was closed already: another process took the call for
 * abandoned, and what this one knows comes too late to be the outcome.
 */
export async function closeAttempt(
  trx: Trx<AgentTables>,
  call: EndingCall,
  attemptId: string,
  o: { outcome: 'unknown' | 'done' | 'failed'; code: string | null; durationMs: number | null },
): Promise<boolean> {
  const { numUpdatedRows } = await trx
    .updateTable('tool_attempt')
    .set({ outcome: o.outcome, code: o.code, duration_ms: o.durationMs, closed_at: sql<Date>`now()` })
    .where('id', '=', attemptId)
    .where('closed_at', 'is', null)
    .executeTakeFirst();
  if (numUpdatedRows !== 1n) return false;
  await appendAudit(trx, 'agent-core', [
    {
      kind: 'attempt.closed',
      outcome: o.outcome,
      ...aboutCall(call),
      detail: { tool: call.tool, attemptId, code: o.code, durationMs: o.durationMs },
    },
  ]);
  return true;
}

/** What a result becomes as a row: capped by bytes, storable, without any secret that this process knows. */
export function toEnding(
  result: ToolResult,
  maxOutputBytes: number,
): { status: 'done' | 'failed' | 'unknown'; code: string | null; result: string | null } {
  switch (result.kind) {
    case 'done':
      return {
        status: 'done',
        code: null,
        result: capBytes(toStorableText(redactText(result.output)), maxOutputBytes),
      };
    case 'failed':
      return { status: 'failed', code: result.code, result: capBytes(toStorableText(redactText(result.text)), 2_000) };
    case 'unknown':
      return { status: 'unknown', code: result.code, result: null };
    default:
      return result satisfies never;
  }
}

function capBytes(text: string, maxBytes: number): string {
  const bytes = Buffer.from(text, 'utf8');
  if (bytes.length <= maxBytes) return text;
  // A character that was cut in half decodes to U+FFFD.
  return `${bytes
    .subarray(0, maxBytes)
    .toString('utf8')
    .replace(/\uFFFD$/, '')}…`;
}
