import { newId } from '@steward/service-kit';
import { appendAudit, type Trx } from '@steward/postgres';
import {
  checkArguments,
  hashDefinition,
  judge,
  type JsonObject,
  type JudgeInput,
  type Verdict,
} from '@steward/governance';
import { requestApproval } from '../approvals/request-approval.ts';
import { useBreakGlass } from '../approvals/break-glass.ts';
import type { AgentTables } from '../database.ts';
import type { CallStatus, Proposer } from '../governance-tables.ts';
import type { Tool } from '../tool.ts';
import { actorOf, findTool, type GateContext, type GatedTurn } from './gate-context.ts';
import { transact } from './transact.ts';

/** A call that somebody proposed; nothing about it has been decided. `arguments` is null where they could not be read. */
export type ProposedCall = {
  modelCallId: string | null;
  tool: string;
  arguments: JsonObject | null;
  proposedBy: Proposer;
  model?: { name: string; promptHash: string };
};

/** Where in a turn a call stands: its step and its place there. Each place holds one call, for ever. */
export type CallPlace = { step: number; position: number };

/** What was judged, ready to become a row. */
export type JudgedCall = ProposedCall & {
  id: string;
  at: CallPlace;
  known: Tool | null;
  definitionHash: string | null;
  arguments: JsonObject;
  verdict: Verdict;
  faults: readonly string[];
};

/**
 * Judges a proposed call and writes it down with its verdict, once for each place in a turn. An `ask` becomes an approval
 * request in the same transaction, a `deny` is over at once. Nothing is called here.
 */
export async function proposeCall(
  context: GateContext,
  gated: GatedTurn,
  at: CallPlace,
  call: ProposedCall,
): Promise<void> {
  await context.policy.assertActive();
  const judged = await judgeCall(context, gated, at, call);
  if (judged.verdict.verdict !== 'ask' || judged.known === null) {
    const status = judged.verdict.verdict === 'allow' ? 'ready' : 'refused';
    await transact(context, (trx) => recordCall(trx, gated, judged, { status, code: judged.verdict.reason }));
    return;
  }
  if (await useBreakGlass(context, gated, judged)) return;
  await requestApproval(context, gated, { ...judged, known: judged.known });
}

async function judgeCall(
  context: GateContext,
  gated: GatedTurn,
  at: CallPlace,
  call: ProposedCall,
): Promise<JudgedCall> {
  const { turn } = gated;
  const known = findTool(context.tools, call.tool, turn.environment);
  const args = call.arguments ?? {};
  const faults = call.arguments === null ? ['not a JSON object'] : known ? faultsOf(known, args) : [];
  const policy = context.policy.current();
  const refused = (reason: Verdict['reason']): Verdict => ({
    verdict: 'deny',
    reason,
    policyHash: policy.hash,
    policyIds: [],
    obligations: null,
  });
  const verdict =
    known === null
      ? refused('unknown_tool')
      : faults.length > 0
        ? refused('invalid_arguments')
        : judge(policy, await toJudgeInput(context, gated, known, args));
  return {
    ...call,
    id: newId(),
    at,
    known,
    faults,
    arguments: args,
    verdict,
    definitionHash: known && hashDefinition(known.definition),
  };
}

function faultsOf(tool: Tool, args: JsonObject): readonly string[] {
  const checked = checkArguments(tool.definition.parameters, args);
  return checked.ok ? [] : checked.faults;
}

/** Everything that a policy can look at, as it is now. */
export async function toJudgeInput(
  context: GateContext,
  { turn, access, principal }: GatedTurn,
  tool: Tool,
  args: JsonObject,
): Promise<JudgeInput> {
  const now = context.now();
  return {
    principal,
    tool: tool.definition,
    arguments: args,
    environment: turn.environment,
    robot: context.directory.robots.get(turn.robotCode)?.name ?? '',
    room: turn.inbound.conversation.kind === 'group' ? access.place : null,
    lane: turn.lane,
    audited: await context.isAudited(),
    now,
    timeZone: context.timeZone,
    calendar: context.governance.calendar
      .filter(({ from, to }) => Date.parse(from) <= now.getTime() && now.getTime() < Date.parse(to))
      .map(({ name }) => name),
  };
}

/** Writes the judged call and its verdict's audit entry. Part of the transaction of whatever else follows from it. */
export async function recordCall(
  trx: Trx<AgentTables>,
  { turn, principal }: GatedTurn,
  judged: JudgedCall,
  o: { status: CallStatus; code: string | null; result?: string },
): Promise<void> {
  const { verdict, known } = judged;
  await trx
    .insertInto('tool_call')
    .values({
      id: judged.id,
      turn_id: turn.id,
      step: judged.at.step,
      position: judged.at.position,
      model_call_id: judged.modelCallId,
      proposed_by: judged.proposedBy,
      tool: judged.tool.slice(0, 200),
      effect: known?.definition.effect ?? null,
      definition_hash: judged.definitionHash,
      arguments: JSON.stringify(judged.arguments),
      environment: turn.environment,
      robot_code: turn.robotCode,
      conversation_id: turn.conversationId,
      correlation_id: turn.correlationId,
      requester_staff_id: principal.staffId,
      requester_corp_id: principal.corpId,
      verdict: verdict.verdict,
      verdict_reason: verdict.reason,
      policy_hash: verdict.policyHash,
      policy_ids: JSON.stringify(verdict.policyIds),
      status: o.status,
      code: o.code,
      result: o.result ?? (judged.faults.length > 0 ? judged.faults.join('; ').slice(0, 2_000) : null),
      ...(o.status === 'refused' && { ended_at: new Date() }),
    })
    .execute();
  await appendAudit(trx, 'agent-core', [
    {
      kind: 'call.judged',
      outcome: verdict.verdict,
      correlationId: turn.correlationId,
      environment: turn.environment,
      robotCode: turn.robotCode,
      conversationId: turn.conversationId,
      actor: actorOf(principal),
      door: turn.inbound.door,
      subjectId: judged.id,
      policyHash: verdict.policyHash,
      model: judged.model?.name ?? null,
      promptHash: judged.model?.promptHash ?? null,
      detail: {
        tool: judged.tool.slice(0, 200),
        effect: known?.definition.effect ?? null,
        definitionHash: judged.definitionHash,
        reason: verdict.reason,
        policyIds: verdict.policyIds,
        proposedBy: judged.proposedBy,
        status: o.status,
        code: o.code,
      },
      personal: { arguments: judged.arguments },
    },
  ]);
}
