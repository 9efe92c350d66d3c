import { toArguments, type JsonObject } from '@steward/governance';
import { findTool, type GatedTurn } from './gate/gate-context.ts';
import type { CallRow } from './gate/load-calls.ts';
import type { ProposedCall } from './gate/propose-call.ts';
import { runCalls } from './gate/run-calls.ts';
import { parsePairs } from './parse-command.ts';
import { quoteForMarkdown } from './quote-for-markdown.ts';
import { renderCalls, renderWaiting } from './describe-calls.ts';
import type { TurnContext, TurnOutcome } from './run-turn.ts';
import { buildSkillCalls, type SkillFault } from './skill-steps.ts';
import { toMarkdown } from './to-markdown.ts';
import { toolTexts } from './tool-texts.ts';

/** `/run <tool> key=value …`: one call, proposed by a person and judged like any other. */
export async function answerRun(
  context: TurnContext,
  gated: GatedTurn,
  argument: string,
  signal: AbortSignal,
): Promise<TurnOutcome> {
  const [, name = '', rest = ''] = /^(\S+)\s*([\s\S]*)$/.exec(argument) ?? [];
  const pairs = parsePairs(rest);
  if (name === '' || pairs === null) return say('command.run', toolTexts[context.language].runUsage);
  const tool = findTool(context.tools, name, gated.turn.environment);
  const args: JsonObject = tool === null ? pairs : toArguments(tool.definition.parameters, pairs);
  const call: ProposedCall = { modelCallId: null, tool: name, arguments: args, proposedBy: 'person' };
  return runPlan(context, gated, 'command.run', [call], signal);
}

/** `/skill <name> key=value …`: the fixed steps of a skill, one after the other; or, for a skill without, its text. */
export async function answerSkill(
  context: TurnContext,
  gated: GatedTurn,
  argument: string,
  signal: AbortSignal,
): Promise<TurnOutcome> {
  const t = toolTexts[context.language];
  const [, name = '', rest = ''] = /^(\S+)\s*([\s\S]*)$/.exec(argument) ?? [];
  const skill = context.skills.find((one) => one.name === name && one.userInvocable);
  if (skill === undefined) return say('command.skill', t.noSkill(quoteForMarkdown(name)));
  if (skill.steps.length === 0) return say('command.skill', `${skill.description}\n\n${skill.body}`);
  const pairs = parsePairs(rest);
  const built = buildSkillCalls(skill, pairs ?? {});
  if (pairs === null || built.kind === 'faults')
    return say(
      'command.skill',
      t.skillUsage(name, built.kind === 'faults' ? built.faults.map(renderFault).join(', ') : ''),
    );
  const calls = built.calls.map((call): ProposedCall => ({
    modelCallId: null,
    tool: call.tool,
    arguments: call.arguments,
    proposedBy: 'skill',
  }));
  return runPlan(context, gated, 'command.skill', calls, signal);
}

const renderFault = (fault: SkillFault) =>
  fault.kind === 'no_steps' ? fault.kind : `${fault.kind} ${quoteForMarkdown(fault.name)}`;

/** Calls one after the other, each a step of the turn; the first that does not succeed is the last. */
async function runPlan(
  context: TurnContext,
  gated: GatedTurn,
  outcome: string,
  plan: readonly ProposedCall[],
  signal: AbortSignal,
): Promise<TurnOutcome> {
  const done: CallRow[] = [];
  for (const [step, call] of plan.entries()) {
    const ran = await runCalls(context, gated, { step, calls: [call], signal });
    if (ran.kind === 'waiting')
      return { status: 'waiting', line: renderWaiting(context.language, ran.calls), isHeld: ran.isHeld };
    done.push(...ran.calls);
    if (ran.calls.some(({ status }) => status !== 'done')) break;
  }
  const statuses = done.map(({ tool, status, code }) => ({ tool, status, code }));
  return {
    status: 'done',
    outcome,
    answer: toMarkdown(await renderCalls(context, done)),
    detail: { calls: statuses },
  };
}

const say = (outcome: string, text: string): TurnOutcome => ({ status: 'done', outcome, answer: toMarkdown(text) });
