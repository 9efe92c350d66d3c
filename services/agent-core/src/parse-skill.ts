import { parseDocument } from 'yaml';
import { z } from 'zod';
import type { JsonObject } from '@steward/governance';
import { cleanLine, cleanText } from './fence-text.ts';
import { isJsonObject, isPlainJson } from './is-plain-json.ts';
import { findStepFaults } from './skill-steps.ts';

/** What a person gives a skill with fixed steps: `/skill deploy-status service=web`. */
export type SkillParameter = {
  name: string;
  description: string;
  type: 'string' | 'integer' | 'number' | 'boolean';
  required: boolean;
  default: string | number | boolean | null;
};
/** A call that the skill proposes; in its arguments `{{name}}` stands for a parameter. */
export type SkillStep = { tool: string; title: string; arguments: JsonObject };

/** What the machine and the configuration must have. `always` sets aside all but the operating system. */
export type SkillNeeds = {
  always: boolean;
  os: readonly string[];
  bins: readonly string[];
  anyBins: readonly string[];
  env: readonly string[];
  config: readonly string[];
};

/** A SKILL.md. It can name the tools it needs, those of its steps among them, and cannot grant any. */
export type Skill = {
  name: string;
  description: string;
  emoji: string;
  body: string;
  userInvocable: boolean;
  modelInvocable: boolean;
  tools: readonly string[];
  parameters: readonly SkillParameter[];
  steps: readonly SkillStep[];
  needs: SkillNeeds;
};

const maxFrontmatterLength = 16_384;
/** Characters. The model gets it as one result, which holds no more than this. */
const maxBodyLength = 12_000;

const name = z
  .string()
  .regex(/^[a-z0-9]+(-[a-z0-9]+)*$/, 'must be lower-case letters, digits and hyphens')
  .max(64);
const toolName = z.string().regex(/^[a-z][a-z0-9_]{0,63}$/, 'must be the name of a tool');
const line = (maxLength: number) => z.string().transform((text) => cleanLine(text, maxLength));
const words = (pattern: RegExp, text: string) => z.array(z.string().regex(pattern, text)).max(20).default([]);

const parameter = z
  .strictObject({
    name: z.string().regex(/^[a-z][a-z0-9_]{0,31}$/, 'must be lower-case letters, digits and underscores'),
    description: line(200).default(''),
    type: z.enum(['string', 'integer', 'number', 'boolean']).default('string'),
    required: z.boolean().optional(),
    default: z.union([z.string().max(500), z.number(), z.boolean()]).optional(),
  })
  .transform(({ default: given, required, ...rest }) => ({
    ...rest,
    required: required ?? given === undefined,
    default: given ?? null,
  }));

const step = z.strictObject({
  tool: toolName,
  title: line(100).default(''),
  arguments: z
    .custom<JsonObject>((value) => isJsonObject(value) && isPlainJson(value), 'must be plain names and values')
    .refine((value) => JSON.stringify(value).length <= 4_000, 'is longer than 4000 characters')
    .default({}),
});

const requires = z.object({
  bins: words(/^[\w.+-]{1,64}$/, 'must be the name of a program, without a folder'),
  anyBins: words(/^[\w.+-]{1,64}$/, 'must be the name of a program, without a folder'),
  env: words(/^[A-Za-z_]\w{0,127}$/, 'must be the name of an environment variable'),
  config: words(/^\w+(\.\w+){0,9}$/, 'must be a dotted path of the configuration'),
});

/** Steward reads what decides about a skill; how to install programs, icons of other front ends and so on it leaves. */
const gating = z.object({
  always: z.boolean().default(false),
  emoji: line(16).default(''),
  os: words(/^[a-z0-9]{1,20}$/, 'must be linux, darwin or win32'),
  requires: requires.prefault({}),
});

const frontmatterSchema = z.object({
  name,
  description: line(1_024).refine((text) => text !== '', 'is required'),
  'user-invocable': z.boolean().default(true),
  'disable-model-invocation': z.boolean().default(false),
  tools: z.array(toolName).max(20).default([]),
  parameters: z.array(parameter).max(10).default([]),
  steps: z.array(step).max(8).default([]),
});

/**
 * Reads the text of a SKILL.md, or says what is wrong with it; a fault names the key and never repeats a value.
 * The format is that of OpenClaw's skills, with the optional keys `tools`, `parameters` and `steps`; keys that are
 * unknown are left alone. `baseDir` is what `{baseDir}` in the text becomes.
 */
export function parseSkill(o: { text: string; baseDir: string }): { skill: Skill } | { faults: string[] } {
  const text = o.text.replace(/^\ufeff/, '').replace(/\r\n?/g, '\n');
  const match = /^---[ \t]*\n([\s\S]*?)\n---[ \t]*(?:\n|$)/.exec(text);
  if (match === null) return { faults: ['has no frontmatter between two lines of ---'] };
  const [head, yaml = ''] = match;
  if (yaml.length > maxFrontmatterLength) {
    return { faults: [`has a frontmatter of more than ${maxFrontmatterLength} characters`] };
  }
  const body = cleanText(text.slice(head.length)).replaceAll('{baseDir}', o.baseDir).trim();
  if (body.length > maxBodyLength) return { faults: [`has a text of more than ${maxBodyLength} characters`] };
  const frontmatter = readYaml(yaml);
  if (!isJsonObject(frontmatter)) return { faults: ['has a frontmatter that is no YAML map'] };
  const gate = gating.safeParse(findGating(frontmatter['metadata']));
  const front = frontmatterSchema.safeParse(frontmatter);
  if (!front.success || !gate.success) {
    return { faults: [front, gate].flatMap(({ error }) => (error?.issues ?? []).map(describeIssue)).slice(0, 5) };
  }
  const skill = toSkill(front.data, gate.data, body);
  const faults = findStepFaults(skill);
  return faults.length > 0 ? { faults } : { skill };
}

/** YAML 1.2: no merge keys, no repeated keys, hardly any aliases, and no warning that repeats it. Null when it is none. */
function readYaml(text: string): unknown {
  try {
    const yaml = parseDocument(text, { version: '1.2', schema: 'core', prettyErrors: false, logLevel: 'silent' });
    const value: unknown = yaml.errors.length > 0 ? null : yaml.toJS({ maxAliasCount: 10 });
    return isPlainJson(value) ? value : null;
  } catch {
    return null;
  }
}

/** `metadata.openclaw`, or `metadata.clawdbot` by its old name; metadata may be a map, or one line of JSON5 in quotes. */
function findGating(metadata: unknown): unknown {
  const read = typeof metadata === 'string' ? readYaml(metadata) : metadata;
  if (read === undefined || read === null) return metadata === undefined || metadata === null ? {} : read;
  if (!isJsonObject(read)) return null;
  const found = read['openclaw'] ?? read['clawdbot'] ?? {};
  // YAML reads JSON5's {always:true} as a key that nobody set. Better no skill than one whose conditions are not seen.
  return hasGluedKey(read) ? null : found;
}

function hasGluedKey(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return Object.entries(value).some(
    ([key, inner]: [string, unknown]) => (inner === null && key.includes(':')) || hasGluedKey(inner),
  );
}

function toSkill(front: z.output<typeof frontmatterSchema>, gate: z.output<typeof gating>, body: string): Skill {
  const { always, emoji, os } = gate;
  return {
    name: front.name,
    description: front.description,
    emoji,
    body,
    userInvocable: front['user-invocable'],
    modelInvocable: !front['disable-model-invocation'],
    tools: [...new Set([...front.tools, ...front.steps.map(({ tool }) => tool)])],
    parameters: front.parameters,
    steps: front.steps,
    needs: { always, os, ...gate.requires },
  };
}

function describeIssue({ path, message }: { path: readonly PropertyKey[]; message: string }): string {
  const where = path.map(String).join('.');
  return where === '' ? 'metadata - must be a map, with a space after each colon' : `${where} - ${message}`;
}
