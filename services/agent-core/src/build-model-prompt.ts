import { cleanLine, cleanText, cutText, fenceText, withoutFence } from './fence-text.ts';
import type { Prompt, SystemPlaceholder } from './load-prompts.ts';
import type { ModelCall, OfferedTool, PastStep, SkillSummary } from './model-step.ts';
import { skillToolName } from './skill-tool.ts';

export type Utterance = { speaker: 'person' | 'robot'; name: string; text: string };

/** A chat completions message, as far as Steward writes them (OpenAI API reference, "Create chat completion"). */
export type PromptMessage =
  | { role: 'system' | 'user'; content: string }
  | { role: 'assistant'; content: string | null; tool_calls?: PromptToolCall[] }
  | { role: 'tool'; tool_call_id: string; content: string };
export type PromptToolCall = { id: string; type: 'function'; function: { name: string; arguments: string } };

/** Who asks, where and when, and what may be proposed. */
export type PromptFacts = {
  requester: { name: string; roles: readonly string[] };
  place: string;
  environment: string;
  clock: string;
  tools: readonly OfferedTool[];
  skills: readonly SkillSummary[];
  /** On the last step nothing can be called any more. */
  isLastStep: boolean;
};

/** No single utterance may crowd out the rest of the window; in characters. */
export const maxUtteranceLength = 4_000;

/** All limits are characters. Together, the newest step and what the person says now always fit. */
const limits = {
  utterance: maxUtteranceLength,
  result: 12_000,
  resultsOfStep: 24_000,
  arguments: 4_000,
  stepText: 4_000,
  /** The whole window: everything but the system prompt. */
  window: 80_000,
  description: 300,
  list: 12_000,
};

/**
 * The prompt of one request: the system text with its facts, the window of the conversation, and the turn's steps with
 * their results. What people and tools wrote stands in the fence and never in the system role, apart from names, which are
 * one quoted line. `transcript` ends with what the person says now. Every call has a result: chat completions refuses a
 * transcript that leaves one open. What does not fit is left out, oldest first.
 */
export function buildModelPrompt(o: {
  prompt: Prompt;
  fence: string;
  facts: PromptFacts;
  transcript: readonly Utterance[];
  steps: readonly PastStep[];
}): { messages: PromptMessage[]; hash: string } {
  const system: PromptMessage = { role: 'system', content: fillIn(o.prompt.text, toShown(o.facts, o.fence)) };
  const said = o.transcript.map((utterance) => [toUtterance(utterance, o.fence)]);
  const done = o.steps.map((step) => toStep(step, o.fence));
  return { messages: [system, ...keepNewest(said, done)], hash: o.prompt.hash };
}

/** One pass with a function: what is filled in is neither searched again nor read as a replacement pattern. */
function fillIn(text: string, shown: Record<SystemPlaceholder, string>): string {
  return text.replace(/\{\{([^{}]*)\}\}/g, (whole, name: string) =>
    Object.hasOwn(shown, name) ? shown[name as SystemPlaceholder] : whole,
  );
}

function toShown(facts: PromptFacts, fence: string): Record<SystemPlaceholder, string> {
  const line = (text: string) => withoutFence(cleanLine(text, 80), fence);
  return {
    requester: JSON.stringify(line(facts.requester.name)),
    roles: facts.requester.roles.length === 0 ? 'none' : facts.requester.roles.map(line).join(', '),
    place: line(facts.place),
    environment: line(facts.environment),
    clock: line(facts.clock),
    tools: renderTools(facts),
    skills: renderSkills(facts),
    fence,
  };
}

function renderTools({ tools, isLastStep }: PromptFacts): string {
  if (tools.length === 0) return 'There are no tools here.';
  if (isLastStep) return 'No tool can be called any more for this question. Answer with what you have.';
  const judged = { allow: 'allowed', ask: 'needs approval' } as const;
  return renderList(tools.map((tool) => `${tool.name} (${judged[tool.judged]}): ${describe(tool.description)}`));
}

function renderSkills({ skills, isLastStep }: PromptFacts): string {
  if (skills.length === 0 || isLastStep) return 'There are none to use now.';
  const lead = `When the question fits one, call ${skillToolName} with its name before anything else:`;
  return `${lead}\n${renderList(skills.map(({ name, description }) => `${name}: ${describe(description)}`))}`;
}

const describe = (description: string) => cleanLine(description, limits.description);
const renderList = (lines: readonly string[]) => cutText(lines.map((line) => `- ${line}`).join('\n'), limits.list);

function toUtterance({ speaker, name, text }: Utterance, fence: string): PromptMessage {
  return speaker === 'robot'
    ? { role: 'assistant', content: withoutFence(cleanText(cutText(text, limits.utterance)), fence) }
    : { role: 'user', content: fenceText({ fence, kind: 'person', label: name, text, maxLength: limits.utterance }) };
}

/** What the model said, and one result for each of its calls, in their order. */
function toStep({ step, results }: PastStep, fence: string): PromptMessage[] {
  const text = cleanText(cutText(step.text, limits.stepText));
  if (step.calls.length === 0) return text === '' ? [] : [{ role: 'assistant', content: text }];
  const maxLength = Math.min(limits.result, Math.floor(limits.resultsOfStep / step.calls.length));
  const textOf = new Map(results.map((result) => [result.callId, result.text]));
  return [
    { role: 'assistant', content: text === '' ? null : text, tool_calls: step.calls.map(toToolCall) },
    ...step.calls.map((call): PromptMessage => {
      const kind = call.tool === skillToolName ? 'skill' : 'result';
      const result = textOf.get(call.id) ?? 'There is no result: this call was not made.';
      const content = fenceText({ fence, kind, label: call.tool, text: result, maxLength });
      return { role: 'tool', tool_call_id: call.id, content };
    }),
  ];
}

/** Servers parse these again and fail on what is no JSON or no name: such calls are shown without what was wrong. */
function toToolCall({ id, tool, arguments: args, rawArguments }: ModelCall): PromptToolCall {
  const shown = args === null || rawArguments.length > limits.arguments ? '{}' : rawArguments;
  const name = /^[A-Za-z0-9_-]{1,64}$/.test(tool) ? tool : 'unknown_tool';
  return { id, type: 'function', function: { name, arguments: shown } };
}

/**
 * As much as fits the window: the newest step and the last thing said in any case, then earlier steps from the newest
 * to the oldest, then what was said before. A step is kept whole or not at all.
 */
function keepNewest(said: readonly PromptMessage[][], done: readonly PromptMessage[][]): PromptMessage[] {
  const now = said.slice(-1);
  const newest = done.slice(-1);
  let left = limits.window - sizeOf([...now, ...newest].flat());
  const keep = (groups: readonly PromptMessage[][]) => {
    const kept: PromptMessage[][] = [];
    for (const group of groups.toReversed()) {
      left -= sizeOf(group);
      if (left < 0) break;
      kept.unshift(group);
    }
    return kept;
  };
  const steps = keep(done.slice(0, -1));
  const earlier = keep(said.slice(0, -1));
  return [...earlier, ...now, ...steps, ...newest].flat();
}

function sizeOf(messages: readonly PromptMessage[]): number {
  return messages.reduce((sum, message) => {
    const calls = message.role === 'assistant' ? (message.tool_calls ?? []) : [];
    const sent = calls.reduce((length, call) => length + call.id.length + call.function.arguments.length, 0);
    return sum + (message.content ?? '').length + sent;
  }, 0);
}
