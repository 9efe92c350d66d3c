import { judge, type Json, type JsonObject } from '@steward/governance';
import type { OfferedTool } from '../model-step.ts';
import type { Tool } from '../tool.ts';
import type { GateContext, GatedTurn } from './gate-context.ts';
import { toJudgeInput } from './propose-call.ts';

/** A tool as somebody sees it here. The verdict is the one on plain arguments; each call is judged by its own. */
export type ListedTool = { tool: Tool; judged: 'allow' | 'ask' };

/** The tools that this person may use in this place, in the order of their names; what would be denied is not shown. */
export async function listTools(context: GateContext, gated: GatedTurn): Promise<ListedTool[]> {
  const here = [...context.tools.values()]
    .filter(({ definition }) => definition.environments.includes(gated.turn.environment))
    .sort((one, other) => (one.definition.name < other.definition.name ? -1 : 1));
  const listed: ListedTool[] = [];
  for (const tool of here) {
    const input = await toJudgeInput(context, gated, tool, sampleArguments(tool.definition.parameters));
    const { verdict, reason } = judge(context.policy.current(), input);
    // A schema that no sample fits says nothing about the policy: then the careful word is "ask".
    if (verdict !== 'deny') listed.push({ tool, judged: verdict });
    else if (reason === 'invalid_arguments') listed.push({ tool, judged: 'ask' });
  }
  return listed;
}

/** The same as a model is offered it. */
export async function offerTools(context: GateContext, gated: GatedTurn): Promise<OfferedTool[]> {
  return (await listTools(context, gated)).map(({ tool: { definition }, judged }) => ({
    name: definition.name,
    description: definition.description,
    parameters: definition.parameters,
    judged,
  }));
}

/** Arguments that fit a schema, as plain as can be. */
export function sampleArguments(parameters: JsonObject): JsonObject {
  const properties = asObject(parameters['properties']);
  const required = Array.isArray(parameters['required']) ? (parameters['required'] as readonly Json[]) : [];
  const names = required.filter((name) => typeof name === 'string');
  return Object.fromEntries(names.map((name) => [name, sample(asObject(properties[name]))]));
}

function sample(schema: JsonObject): Json {
  const options = schema['enum'];
  if (Array.isArray(options)) return (options as readonly Json[])[0] ?? null;
  if (schema['const'] !== undefined) return schema['const'];
  const { type, minimum, minLength } = schema;
  if (type === 'integer' || type === 'number') return typeof minimum === 'number' ? minimum : 1;
  if (type === 'boolean') return false;
  if (type === 'array') return [];
  if (type === 'object') return sampleArguments(schema);
  return 'x'.repeat(typeof minLength === 'number' ? Math.max(1, minLength) : 1);
}

const asObject = (value: Json | undefined): JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as JsonObject) : {};
