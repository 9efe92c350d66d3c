import { z } from 'zod';
import { maxOutboundTextLength } from '@steward/contracts';
import type { JsonObject } from '@steward/governance';
import { isJsonObject, isPlainJson } from './is-plain-json.ts';
import type { ModelCall } from './model-step.ts';
import { toStorableText } from './to-storable-text.ts';

/** A step proposes no more calls than this; what is over is as if never said. */
export const maxCallsOfStep = 8;
/** Characters; 16 KiB where they are ASCII. */
const maxArgumentsLength = 16_384;
const maxNameLength = 64;

const called = z.object({ name: z.string(), arguments: z.unknown().optional() });
/** As lenient as servers differ, where it costs nothing: everything that matters is checked below. */
const completionSchema = z.object({
  choices: z
    .array(z.object({ message: z.object({ content: z.unknown().optional(), tool_calls: z.unknown().optional() }) }))
    .min(1)
    .transform(([first]) => first),
});
const callSchema = z.object({ id: z.unknown().optional(), function: called });

/**
 * What a chat completion says, or null when it is none. Whoever runs the model may send anything: text and calls are
 * bounded and storable, every call has an id of its own, and arguments are an object or null. Nothing in it is obeyed.
 * `takenIds` are the ids of earlier steps; without `mayCall` there are no calls, whatever it proposes.
 */
export function toModelReply(
  completion: unknown,
  o: { stepNumber: number; takenIds: ReadonlySet<string>; mayCall: boolean },
): { text: string; calls: ModelCall[] } | null {
  const parsed = completionSchema.safeParse(completion);
  if (!parsed.success || parsed.data.choices === undefined) return null;
  const { content, tool_calls: proposed } = parsed.data.choices.message;
  const text = typeof content === 'string' ? toStorableText(content.trim().slice(0, maxOutboundTextLength)) : '';
  const offered: unknown[] = o.mayCall && Array.isArray(proposed) ? proposed.slice(0, maxCallsOfStep) : [];
  return { text, calls: toCalls(offered, o) };
}

function toCalls(offered: readonly unknown[], o: { stepNumber: number; takenIds: ReadonlySet<string> }): ModelCall[] {
  const taken = new Set(o.takenIds);
  return offered.flatMap((one, at) => {
    const parsed = callSchema.safeParse(one);
    if (!parsed.success) return [];
    const { name, arguments: sent } = parsed.data.function;
    const id = toOwnId(parsed.data.id, taken, `call_${o.stepNumber}_${at + 1}`);
    taken.add(id);
    const raw = typeof sent === 'string' ? sent : JSON.stringify(sent ?? null);
    const rawArguments = toStorableText(raw.slice(0, maxArgumentsLength));
    return [{ id, tool: toToolName(name), arguments: parseArguments(raw), rawArguments }];
  });
}

/** The id as sent where it is plain and nobody's yet; else one of ours. */
function toOwnId(sent: unknown, taken: ReadonlySet<string>, ours: string): string {
  if (typeof sent === 'string' && /^[A-Za-z0-9_.:-]{1,64}$/.test(sent) && !taken.has(sent)) return sent;
  let id = ours;
  while (taken.has(id)) id = `${id}_`;
  return id;
}

/** A name that was cut must not become the name of another tool: what marks the cut is in no tool's name. */
const toToolName = (name: string) =>
  toStorableText(name.length <= maxNameLength ? name : `${name.slice(0, maxNameLength - 1)}…`);

/** An object that means the same to whoever judges, shows, stores and sends it; null for anything else. */
function parseArguments(raw: string): JsonObject | null {
  if (raw.length > maxArgumentsLength) return null;
  // A call without arguments comes as nothing at all from some servers.
  if (raw.trim() === '' || raw === 'null') return {};
  try {
    const value: unknown = JSON.parse(raw);
    return isJsonObject(value) && isPlainJson(value) ? value : null;
  } catch {
    return null;
  }
}
