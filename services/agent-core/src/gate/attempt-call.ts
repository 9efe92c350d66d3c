import { setTimeout as delay } from 'node:timers/promises';
import { describeError, newId, redact } from '@steward/service-kit';
import { hashDefinition } from '@steward/governance';
import { tellRun, tellUnknown } from '../approvals/end-request.ts';
import { leaseSeconds } from '../claim-turn.ts';
import { tellOutbound } from '../tell-outbound.ts';
import type { Tool, ToolResult } from '../tool.ts';
import { closeAttempt, endCall, hasBegunSince, toEnding, type CallEnding } from './end-call.ts';
import { findTool, toCallContext, type GateContext, type GatedTurn } from './gate-context.ts';
import type { CallRow } from './load-calls.ts';
import { maxAttempts, openToolAttempt, type NotOpened, type OpenToolAttempt } from './open-tool-attempt.ts';
import { transact } from './transact.ts';

/** A call that may run and must not yet: its turn is put aside for a while. */
export type Held = 'held';

/** Makes the call: opens an attempt, calls or tells, closes the attempt. A repeatable call whose outcome is unknown is repeated. */
export async function attemptCall(
  context: GateContext,
  gated: GatedTurn,
  call: CallRow,
  tool: Tool,
  signal: AbortSignal,
): Promise<Held | undefined> {
  if (tool.run.kind === 'tell') return tellCall(context, gated, call, tool);
  const openingMs = performance.now();
  const opened = await transact(context, (trx) => openToolAttempt(trx, gated, { call, tool, outboundMessageId: null }));
  if (typeof opened === 'string') return endUnlessHeld(context, gated, call, opened);
  const started = performance.now();
  // A process that was paused here may have lost the turn, and its call counts as unknown: it must not happen after that.
  const isLate = started - openingMs > leaseSeconds * 1_000;
  const result = isLate ? lateResult : await callTool(gated, tool, call, signal);
  const durationMs = Math.round(performance.now() - started);
  return settleAttempt(context, gated, { call, tool, opened, result, durationMs, signal });
}

const lateResult: ToolResult = {
  kind: 'failed',
  code: 'LEASE_ENDED',
  text: 'the process was paused before the call, so it was not made',
};

/**
 * What becomes of a call that could not be begun. One with an approval is held while it may still run; one that may have
 * happened already is unknown, whatever keeps it from being repeated; anything else is a no, said now.
 */
async function endUnlessHeld(
  context: GateContext,
  gated: GatedTurn,
  call: CallRow,
  why: NotOpened,
): Promise<Held | undefined> {
  if (why === 'lost' && !(await isOurs(context, gated))) return undefined;
  if (!mayHaveHappened(call) && call.requestId !== null) return 'held';
  const codes = { frozen: 'FROZEN', throttled: 'THROTTLED', lost: 'run_by' } as const;
  // The grant of a broken glass is gone when its minutes are over.
  const status = why === 'lost' ? 'expired' : 'failed';
  return transact(context, async (trx) => {
    if (await hasBegunSince(trx, call)) return 'held';
    await finishCall(trx, context, call, { status, code: codes[why], result: null });
    return undefined;
  });
}

async function isOurs(context: GateContext, { turn }: GatedTurn): Promise<boolean> {
  const row = await context.db
    .selectFrom('turn')
    .select('id')
    .where('id', '=', turn.id)
    .where('attempt', '=', turn.attempt)
    .where('status', '=', 'running')
    .executeTakeFirst();
  return row !== undefined;
}

/** An earlier attempt of a change ended unknown: no later failure can say that nothing was changed. */
const mayHaveHappened = (call: CallRow): boolean => call.hasUnknown && call.effect !== 'read';

type Trx = Parameters<typeof endCall>[0];

/** Ends a call with what is true of all its attempts together, and tells whoever must know. False: it had ended already. */
async function finishCall(trx: Trx, context: GateContext, call: CallRow, ending: CallEnding): Promise<boolean> {
  const whole: CallEnding =
    mayHaveHappened(call) && ending.status !== 'done' ? { ...ending, status: 'unknown', result: null } : ending;
  if (!(await endCall(trx, call, whole))) return false;
  if (whole.status === 'unknown') await tellUnknown(trx, context, call);
  else await tellRun(trx, context, call, whole.status);
  return true;
}

/** A call that takes effect in outbound-sender: its attempt and the request to the sender are one fact (note A10). */
async function tellCall(context: GateContext, gated: GatedTurn, call: CallRow, tool: Tool): Promise<Held | undefined> {
  if (tool.run.kind !== 'tell') return undefined;
  const request = tool.run.toRequest(call.arguments, toCallContext(gated, call));
  if ('kind' in request) {
    const ending = toEnding(request, tool.definition.maxOutputBytes);
    await transact(context, (trx) => finishCall(trx, context, call, ending));
    return undefined;
  }
  const outboundMessageId = newId();
  const opened = await transact(context, async (trx) => {
    const attempt = await openToolAttempt(trx, gated, { call, tool, outboundMessageId });
    if (typeof attempt === 'string') return attempt;
    await tellOutbound(trx, {
      ...request,
      outboundMessageId,
      after: null,
      environment: call.environment,
      lane: 'bulk',
      correlationId: call.correlationId,
      causationId: call.id,
      now: context.now(),
    });
    return attempt;
  });
  if (typeof opened === 'string') return endUnlessHeld(context, gated, call, opened);
  context.onTold();
  return undefined;
}

/** Never rejects: whatever surprise comes out of a call that had begun means that nobody knows. */
async function callTool(gated: GatedTurn, tool: Tool, call: CallRow, signal: AbortSignal): Promise<ToolResult> {
  if (tool.run.kind !== 'call')
    return { kind: 'failed', code: 'NOT_CALLABLE', text: 'this tool is not called from here' };
  const timeout = AbortSignal.timeout(tool.definition.timeoutMs);
  // A change that has begun is not cut off because this process stops: it has its own time limit.
  const limit = call.effect === 'read' ? AbortSignal.any([signal, timeout]) : timeout;
  try {
    return await tool.run.call(call.arguments, toCallContext(gated, call), limit);
  } catch (error) {
    const { code } = describeError(error);
    return call.effect === 'read'
      ? { kind: 'failed', code, text: 'the tool could not be called' }
      : { kind: 'unknown', code };
  }
}

type Settled = {
  call: CallRow;
  tool: Tool;
  opened: OpenToolAttempt;
  result: ToolResult;
  durationMs: number;
  signal: AbortSignal;
};

async function settleAttempt(context: GateContext, gated: GatedTurn, o: Settled): Promise<Held | undefined> {
  const { call, tool, opened, durationMs } = o;
  const ending = { ...toEnding(o.result, tool.definition.maxOutputBytes), durationMs };
  const again = ending.status === 'unknown' && tool.definition.repeatable && opened.number < maxAttempts;
  // Not under the fence of the turn: what came of a call is true whoever has the turn by now. Its own fence is that the
  // attempt is still open; once another process has closed it as unknown, this changes nothing.
  const ours = await context.db.transaction().execute(async (trx) => {
    const closed = await closeAttempt(trx, call, opened.attemptId, {
      outcome: ending.status,
      code: ending.code,
      durationMs,
    });
    if (closed && !again) await finishCall(trx, context, call, ending);
    return closed;
  });
  logCall(context, o, { outcome: ours ? ending.status : 'too_late', again });
  if (!ours || !again) return undefined;
  await delay(500 * 2 ** opened.number);
  return attemptCall(context, gated, { ...call, attemptCount: opened.number, hasUnknown: true }, tool, o.signal);
}

/**
 * A call that was running when its turn stopped. What takes effect in another service is waited for. Otherwise the process
 * died in the middle: a repeatable call is made again with the same key, anything else is unknown, and people are told.
 */
export async function resumeCall(
  context: GateContext,
  gated: GatedTurn,
  call: CallRow,
  signal: AbortSignal,
): Promise<Held | undefined> {
  const { attempt } = call;
  if (attempt === null || (attempt.isOpen && attempt.outboundMessageId !== null)) return undefined;
  const tool = findTool(context.tools, call.tool, call.environment);
  const isSame = tool !== null && hashDefinition(tool.definition) === call.definitionHash;
  const isRepeatable = isSame && (tool.definition.repeatable || call.effect === 'read');
  const again = isRepeatable && call.attemptCount < maxAttempts;
  const interrupted = { ...call, hasUnknown: true };
  await transact(context, async (trx) => {
    await closeAttempt(trx, call, attempt.id, { outcome: 'unknown', code: 'PROCESS_DIED', durationMs: null });
    if (again) return;
    await finishCall(trx, context, interrupted, { status: 'failed', code: 'PROCESS_DIED', result: null });
  });
  return again ? attemptCall(context, gated, interrupted, tool, signal) : undefined;
}

function logCall(context: GateContext, o: Settled, ended: { outcome: string; again: boolean }): void {
  const { call, durationMs } = o;
  context.metrics
    .counter('steward_tool_call_total', 'Attempts to call a tool, by how they came out', ['tool', 'effect', 'outcome'])
    .inc({ tool: call.tool, effect: call.effect ?? 'none', outcome: ended.outcome });
  context.metrics
    .histogram('steward_tool_call_seconds', 'How long tools take', ['tool'])
    .observe({ tool: call.tool }, durationMs / 1_000);
  if (!context.logToolCalls) return;
  context.log.info('tool.called', {
    correlationId: call.correlationId,
    toolCallId: call.id,
    tool: call.tool,
    effect: call.effect,
    verdict: call.verdict,
    arguments: redact(call.arguments),
    attempt: o.opened.number,
    durationMs,
    ...ended,
  });
}
