import type { Json, JsonObject } from '@steward/governance';
import { isJsonObject } from './is-plain-json.ts';
import type { Skill, SkillParameter } from './parse-skill.ts';

/** A call that a skill with fixed steps proposes. It is judged like any other. */
export type SkillCall = { tool: string; title: string; arguments: JsonObject };

/** Why a skill cannot be called so; `name` is the parameter's, as typed or as the skill has it. */
export type SkillFault =
  | { kind: 'no_steps' }
  | { kind: 'unknown_parameter'; name: string }
  | { kind: 'missing_parameter'; name: string }
  | { kind: 'unfit_value'; name: string; type: SkillParameter['type'] };

const maxValueLength = 500;
const placeholder = /\{\{\s*([^{}]*?)\s*\}\}/g;
const wholePlaceholder = /^\{\{\s*([^{}]*?)\s*\}\}$/;

/**
 * The calls of a skill's fixed steps with what a person typed, or every fault at once. An argument that is one
 * placeholder has the parameter's type and is left out where an optional parameter was not given; inside a longer
 * text the value is filled in. What is filled in is not searched again.
 */
export function buildSkillCalls(
  skill: Skill,
  typed: Readonly<Record<string, string>>,
): { kind: 'calls'; calls: SkillCall[] } | { kind: 'faults'; faults: SkillFault[] } {
  if (skill.steps.length === 0) return { kind: 'faults', faults: [{ kind: 'no_steps' }] };
  const known = new Set(skill.parameters.map(({ name }) => name));
  const faults: SkillFault[] = Object.keys(typed)
    .filter((name) => !known.has(name))
    .map((name) => ({ kind: 'unknown_parameter', name }));
  const values = new Map<string, Value>();
  for (const parameter of skill.parameters) {
    const { name, type } = parameter;
    const text = Object.hasOwn(typed, name) ? typed[name] : undefined;
    const value = text === undefined ? parameter.default : toValue(type, text);
    if (value !== null && value !== undefined) values.set(name, value);
    else if (text !== undefined) faults.push({ kind: 'unfit_value', name, type });
    else if (parameter.required) faults.push({ kind: 'missing_parameter', name });
  }
  if (faults.length > 0) return { kind: 'faults', faults };
  const calls = skill.steps.map(({ tool, title, arguments: args }) => ({
    tool,
    title: fillText(title, values),
    arguments: fillObject(args, values),
  }));
  return { kind: 'calls', calls };
}

/** What a person typed as a value of the type; undefined when it is none. */
function toValue(type: SkillParameter['type'], text: string): Value | undefined {
  if (text.length > maxValueLength || /\p{Cc}/u.test(text)) return undefined;
  switch (type) {
    case 'string':
      return text.toWellFormed();
    case 'integer':
      return /^-?\d{1,15}$/.test(text) ? Number(text) : undefined;
    case 'number':
      return /^-?\d{1,15}(\.\d{1,15})?$/.test(text) ? Number(text) : undefined;
    case 'boolean':
      return { true: true, false: false }[text];
    default:
      return type satisfies never;
  }
}

type Value = string | number | boolean;
type Values = ReadonlyMap<string, Value>;

function fillObject(args: JsonObject, values: Values): JsonObject {
  return Object.fromEntries(
    Object.entries(args).flatMap(([name, value]) => {
      const filled = fill(value, values);
      return filled === undefined ? [] : [[name, filled] as const];
    }),
  );
}

/** Undefined: an optional parameter that was not given. */
function fill(value: Json, values: Values): Json | undefined {
  if (typeof value === 'string') {
    const [, whole] = wholePlaceholder.exec(value) ?? [];
    return whole === undefined ? fillText(value, values) : values.get(whole);
  }
  if (isJsonObject(value)) return fillObject(value, values);
  if (Array.isArray(value)) {
    return (value as readonly Json[]).flatMap((inner) => {
      const filled = fill(inner, values);
      return filled === undefined ? [] : [filled];
    });
  }
  return value;
}

const fillText = (text: string, values: Values) =>
  text.replace(placeholder, (_, name: string) => String(values.get(name) ?? ''));

/**
 * What is wrong with a skill's steps and parameters: a placeholder of no parameter, a name twice, a default of another
 * type, or an optional parameter without default inside a longer text, where leaving it out would change what the text means.
 */
export function findStepFaults({ parameters, steps }: Skill): string[] {
  const names = parameters.map(({ name }) => name);
  const open = parameters.filter((one) => !one.required && one.default === null).map(({ name }) => name);
  const strings = steps.flatMap((step, at) =>
    [step.title, ...stringsIn(step.arguments)].map((text) => ({ where: `steps.${at}`, text })),
  );
  return [
    ...names.flatMap((name, at) => (names.indexOf(name) < at ? [`parameters.${at} - has a name twice`] : [])),
    ...parameters.flatMap((one, at) => (isFitDefault(one) ? [] : [`parameters.${at}.default - is no ${one.type}`])),
    ...strings.flatMap(({ where, text }) => {
      const used = [...text.matchAll(placeholder)].map(([, name = '']) => name);
      if (used.some((name) => !names.includes(name))) return [`${where} - has a placeholder of no parameter`];
      return !wholePlaceholder.test(text) && used.some((name) => open.includes(name))
        ? [`${where} - an optional parameter without default can only be a whole argument`]
        : [];
    }),
  ].slice(0, 5);
}

function isFitDefault({ type, default: given }: SkillParameter): boolean {
  if (given === null) return true;
  if (type === 'integer') return Number.isSafeInteger(given);
  return typeof given === type;
}

function stringsIn(value: Json): string[] {
  if (typeof value === 'string') return [value];
  if (typeof value !== 'object' || value === null) return [];
  return Object.values(value).flatMap((inner: Json) => stringsIn(inner));
}
