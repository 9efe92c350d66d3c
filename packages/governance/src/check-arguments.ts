import { Validator, type OutputUnit } from '@cfworker/json-schema';
import { MAX_ARGUMENT_BYTES } from './approval-digest.ts';
import { canonicalJson } from './canonical-json.ts';
import { isJsonObject, type Checked } from './parameter-schema.ts';
import type { Json, JsonObject } from './tool-definition.ts';

const MAX_FAULTS = 20;
const MAX_ELEMENTS = 1_000;
const MAX_LIMIT_LENGTH = 120;

/** Validators by the schema object they were made of: definitions do not change while they are in use. */
const validators = new WeakMap<JsonObject, Validator>();

/**
 * Whether arguments fit a tool's parameters (which `checkParameterSchema` accepts). Nothing is coerced or filled in: what is
 * checked is what is approved and sent. Also refused: over 16 KiB, lists over 1,000, integers that a double cannot hold
 * exactly. Faults name the path and the rule, at most 20, never what was given.
 *
 * The validator interprets the schema. One that compiles schemas to code would make code from text at run time.
 */
export function checkArguments(schema: JsonObject, args: JsonObject): Checked {
  const early = findEarlyFault(args);
  if (early !== null) return { ok: false, faults: [early] };
  const { valid, errors } = validatorOf(schema).validate(args);
  if (valid) return { ok: true };
  const faults = new Set(errors.flatMap((error) => describe(schema, error)));
  return { ok: false, faults: faults.size === 0 ? ['do not fit'] : [...faults].slice(0, MAX_FAULTS) };
}

function validatorOf(schema: JsonObject): Validator {
  const known = validators.get(schema);
  if (known !== undefined) return known;
  // The library marks the schema it is given, and a definition may be frozen.
  const created = new Validator(structuredClone(schema), '2020-12', false);
  validators.set(schema, created);
  return created;
}

function findEarlyFault(args: JsonObject): string | null {
  try {
    const bytes = Buffer.byteLength(canonicalJson(args));
    if (bytes > MAX_ARGUMENT_BYTES) return `the arguments are larger than ${MAX_ARGUMENT_BYTES} bytes`;
  } catch {
    return 'the arguments are not plain JSON';
  }
  return findInexact(args);
}

function findInexact(value: Json): string | null {
  if (typeof value === 'number') {
    return Number.isInteger(value) && !Number.isSafeInteger(value) ? 'an integer is too large to be exact' : null;
  }
  if (typeof value !== 'object' || value === null) return null;
  if (Array.isArray(value) && value.length > MAX_ELEMENTS) return `a list is longer than ${MAX_ELEMENTS}`;
  for (const part of Object.values(value) as Json[]) {
    const fault = findInexact(part);
    if (fault !== null) return fault;
  }
  return null;
}

/** Words of the validator that only repeat a fault further in, or belong to a branch of several. */
const WRAPPERS = new Set(['properties', 'additionalProperties', 'items', 'allOf']);

function describe(schema: JsonObject, { keyword, instanceLocation, keywordLocation, error }: OutputUnit): string[] {
  if (WRAPPERS.has(keyword) || /\/(?:anyOf|oneOf|not)\//.test(keywordLocation)) return [];
  const path = showPath(instanceLocation);
  if (keyword === 'false') return [`${path} - is no argument of this tool`];
  if (keyword === 'required') return [`${path} - ${missingName(error)} is missing`];
  if (['anyOf', 'oneOf', 'not'].includes(keyword)) return [`${path} - does not fit (${keyword})`];
  const limit = JSON.stringify(findLimit(schema, keywordLocation)) as string | undefined;
  return [`${path} - ${keyword}${limit === undefined ? '' : ` ${limit.slice(0, MAX_LIMIT_LENGTH)}`}`];
}

/** Names inside the arguments come from whoever calls: only plain ones are repeated. */
function showPath(pointer: string): string {
  const names = pointer.split('/').slice(1);
  if (names.length === 0) return 'the arguments';
  return names.map((name) => (/^[A-Za-z0-9_.$-]{1,64}$/.test(name) ? name : '?')).join('.');
}

const missingName = (error: string) => /required property "([A-Za-z0-9_.$-]{1,64})"/.exec(error)?.[1] ?? 'something';

/** The rule's own value, as the tool's author wrote it. */
function findLimit(schema: JsonObject, pointer: string): Json | undefined {
  let at: Json | undefined = schema;
  for (const name of pointer.split('/').slice(1)) {
    if (Array.isArray(at)) at = (at as readonly Json[])[Number(name)];
    else at = isJsonObject(at) && Object.hasOwn(at, name) ? at[name] : undefined;
  }
  return at;
}
