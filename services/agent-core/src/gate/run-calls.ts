import { endCall, hasBegunSince } from './end-call.ts';
import { attemptCall, resumeCall, type Held } from './attempt-call.ts';
import { findDrift, holdApproved } from './find-drift.ts';
import { findTool, type GateContext, type GatedTurn } from './gate-context.ts';
import { loadCalls, type CallRow } from './load-calls.ts';
import { proposeCall, type ProposedCall } from './propose-call.ts';
import { voidRequest } from '../approvals/end-request.ts';
import { transact } from './transact.ts';

/**
 * `waiting`: some call of the step waits for people or for another service; the turn goes on when that has ended. `isHeld`: one
 * may run and must not yet (frozen, its rate spent, another policy set in force): it is looked at again after a while.
 */
export type CallsOutcome = { kind: 'waiting'; calls: CallRow[]; isHeld: boolean } | { kind: 'ended'; calls: CallRow[] };

/**
 * Takes the calls of one step as far as they can go now: judges those that are new, runs what may run, and leaves what waits.
 * A new, a crashed and a resumed turn enter by this same door; each call is judged once and has its effect at most once.
 */
export async function runCalls(
  context: GateContext,
  gated: GatedTurn,
  o: { step: number; calls: readonly ProposedCall[]; signal: AbortSignal },
): Promise<CallsOutcome> {
  const { turn } = gated;
  const load = () => loadCalls(context.db, { turnId: turn.id, step: o.step });
  const known = new Set((await load()).map(({ position }) => position));
  for (const [position, call] of o.calls.entries()) {
    if (!known.has(position)) await proposeCall(context, gated, { step: o.step, position }, call);
  }
  let isHeld = false;
  for (const call of await load()) {
    o.signal.throwIfAborted();
    if ((await advanceCall(context, gated, call, o.signal)) === 'held') isHeld = true;
  }
  const calls = await load();
  return calls.every(isEnded) ? { kind: 'ended', calls } : { kind: 'waiting', calls, isHeld };
}

const isEnded = ({ status }: CallRow) => status !== 'ready' && status !== 'waiting' && status !== 'running';

async function advanceCall(
  context: GateContext,
  gated: GatedTurn,
  call: CallRow,
  signal: AbortSignal,
): Promise<Held | undefined> {
  if (call.status === 'ready') return startCall(context, gated, call, signal);
  if (call.status === 'waiting' && call.requestStatus === 'approved') return startCall(context, gated, call, signal);
  return call.status === 'running' ? resumeCall(context, gated, call, signal) : undefined;
}

/** Looks once more at everything that may have changed since the verdict, then opens the first attempt. */
async function startCall(
  context: GateContext,
  gated: GatedTurn,
  call: CallRow,
  signal: AbortSignal,
): Promise<Held | undefined> {
  const tool = findTool(context.tools, call.tool, call.environment);
  const drift = await findDrift(context, gated, call, tool, signal).catch((error: unknown) =>
    holdApproved(call, error),
  );
  if (drift === 'held') return 'held';
  if (drift === null && tool !== null) return attemptCall(context, gated, call, tool, signal);
  const code = drift ?? 'definition_changed';
  if (call.requestId !== null) {
    await voidRequest(context, call, code);
    return undefined;
  }
  return transact(context, async (trx) => {
    if (await hasBegunSince(trx, call)) return 'held';
    await endCall(trx, call, { status: 'void', code });
    return undefined;
  });
}
