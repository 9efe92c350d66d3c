import { z } from 'zod';
import { canonicalJson } from './canonical-json.ts';
import type { Json } from './tool-definition.ts';

/** What a check came to. Faults name paths and rules, never a value that was given. */
export type Checked = { ok: true } | { ok: false; faults: string[] };

const MAX_DEPTH = 8;
const MAX_BYTES = 32_768;
const MAX_FAULTS = 20;
const DIALECT = 'https://json-schema.org/draft/2020-12/schema';

const typeName = z.enum(['string', 'integer', 'number', 'boolean', 'null', 'array', 'object']);
const count = z.int().min(0);
const propertyName = z
  .string()
  .regex(/^(?!__)[A-Za-z0-9_.$-]{1,64}$/, 'must be 1-64 of A-Z a-z 0-9 _ . $ - and not begin with __');
const names = z.array(propertyName).max(100);
const choices = z.array(z.json()).min(1).max(200);
/** Formats whose check takes time in proportion to the text. */
const format = z.enum(['date-time', 'date', 'time', 'uuid', 'ipv4', 'ipv6', 'hostname']);

/**
 * Patterns run on this process's time over text from a chat. The usual shapes that can take exponential time are refused,
 * and now and then a harmless pattern with them; the author of a tool is trusted with the rest.
 */
const pattern = z
  .string()
  .max(500)
  .refine(isPattern, 'is no regular expression')
  .refine((text) => !/\((?:[^()\\]|\\.)*[*+}](?:[^()\\]|\\.)*\)\s*[*+{]/.test(text), 'repeats what repeats already')
  .refine((text) => !/\\[1-9k]/.test(text), 'refers back');

type Node = z.infer<typeof plainKeywords> & {
  properties?: Record<string, Node>;
  additionalProperties?: boolean | Node;
  items?: Node;
  anyOf?: Node[];
  oneOf?: Node[];
  allOf?: Node[];
  not?: Node;
};

const plainKeywords = z.strictObject({
  $schema: z.literal(DIALECT).optional(),
  $comment: z.string().optional(),
  title: z.string().optional(),
  description: z.string().optional(),
  default: z.json().optional(),
  examples: z.array(z.json()).optional(),
  deprecated: z.boolean().optional(),
  type: z.union([typeName, z.array(typeName).min(1)]).optional(),
  enum: choices.optional(),
  const: z.json().optional(),
  minLength: count.optional(),
  maxLength: count.optional(),
  pattern: pattern.optional(),
  format: format.optional(),
  minimum: z.number().optional(),
  maximum: z.number().optional(),
  exclusiveMinimum: z.number().optional(),
  exclusiveMaximum: z.number().optional(),
  multipleOf: z.number().positive().optional(),
  minItems: count.optional(),
  maxItems: count.optional(),
  uniqueItems: z.boolean().optional(),
  minProperties: count.optional(),
  maxProperties: count.optional(),
  required: names.optional(),
  dependentRequired: z.record(propertyName, names).optional(),
});

const lazyNode: z.ZodType<Node> = z.lazy(() => node);
const node = plainKeywords.extend({
  properties: z.record(propertyName, lazyNode).optional(),
  additionalProperties: z.union([z.boolean(), lazyNode]).optional(),
  items: lazyNode.optional(),
  anyOf: z.array(lazyNode).min(1).max(20).optional(),
  oneOf: z.array(lazyNode).min(1).max(20).optional(),
  allOf: z.array(lazyNode).min(1).max(20).optional(),
  not: lazyNode.optional(),
});

/**
 * Whether a tool's parameters are something that arguments can be held to: a closed object schema of draft 2020-12, in words
 * that are known (a misspelt `maxLenght` would check nothing), without references, at most 8 schemas deep and 32 KiB long.
 */
export function checkParameterSchema(schema: unknown): Checked {
  const unreadable = findUnreadable(schema);
  if (unreadable !== null) return { ok: false, faults: [unreadable] };
  const parsed = node.safeParse(schema);
  const faults = parsed.success ? findFaults(parsed.data) : describeIssues(parsed.error.issues);
  return faults.length === 0 ? { ok: true } : { ok: false, faults: faults.slice(0, MAX_FAULTS) };
}

function findUnreadable(schema: unknown): string | null {
  try {
    const text = canonicalJson(schema);
    if (Buffer.byteLength(text) > MAX_BYTES) return `is larger than ${MAX_BYTES} bytes`;
    // Parsers of records pass over this name without a word.
    return text.includes('"__proto__"') ? 'must not name __proto__' : null;
  } catch {
    return 'is not plain JSON';
  }
}

function findFaults(root: Node): string[] {
  return [
    ...(root.type === 'object' ? [] : ['type - must be object']),
    ...(root.additionalProperties === false ? [] : ['additionalProperties - must be false']),
    ...(depthOf(root) > MAX_DEPTH ? [`is deeper than ${MAX_DEPTH} schemas`] : []),
    ...findUndeclared(root, ''),
  ];
}

/** A required name that the same closed object does not declare could never be given. */
function findUndeclared(schema: Node, path: string): string[] {
  const missing = (schema.required ?? []).filter((name) => !Object.hasOwn(schema.properties ?? {}, name));
  return [
    ...(schema.additionalProperties === false ? missing.map((name) => `${path}required - ${name} is no property`) : []),
    ...partsOf(schema).flatMap(([where, part]) => findUndeclared(part, `${path}${where}.`)),
  ];
}

function depthOf(schema: Node): number {
  return 1 + Math.max(0, ...partsOf(schema).map(([, part]) => depthOf(part)));
}

function partsOf(schema: Node): [string, Node][] {
  const { properties = {}, additionalProperties, items, not } = schema;
  const single = {
    items,
    not,
    additionalProperties: typeof additionalProperties === 'object' ? additionalProperties : undefined,
  };
  return [
    ...Object.entries(properties).map(([name, part]): [string, Node] => [`properties.${name}`, part]),
    ...Object.entries(single).flatMap(([name, part]): [string, Node][] => (part === undefined ? [] : [[name, part]])),
    ...(['anyOf', 'oneOf', 'allOf'] as const).flatMap((keyword) =>
      (schema[keyword] ?? []).map((part, at): [string, Node] => [`${keyword}.${at}`, part]),
    ),
  ];
}

function describeIssues(issues: readonly z.core.$ZodIssue[]): string[] {
  return issues.map(
    ({ path, message }) => `${path.length === 0 ? 'the schema' : path.map(String).join('.')} - ${message}`,
  );
}

function isPattern(text: string): boolean {
  try {
    return new RegExp(text, 'u').source !== '';
  } catch {
    return false;
  }
}

/** Whether a value is an object of JSON and no array. */
export function isJsonObject(value: Json | undefined): value is { readonly [name: string]: Json } {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
