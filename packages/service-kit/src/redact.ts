import { types } from 'node:util';
import { looksSuspicious, MASK, scrubText, unescapeText } from './redact-text.ts';
import { registeredPatterns, registryVersion } from './secret-registry.ts';
import { isSecretName } from './secret-name.ts';

const MAX_TEXT_CHARACTERS = 4_096;
/** Read beyond the cut, so that a secret lying across it is seen whole (secrets up to this length). */
const LOOK_AHEAD_CHARACTERS = 1_024;
const MAX_DEPTH = 8;
const MAX_ELEMENTS = 50;
const MAX_FIELDS = 100;
/** One value may point to the same large object many times: the whole walk is bounded too. */
const MAX_VALUES = 2_000;
const MAX_ALL_CHARACTERS = 32_768;

type Walk = { ancestors: Set<object>; valuesLeft: number; charactersLeft: number };

/**
 * Returns a plain copy (JSON types only) without secrets: by name of the key, by shape of the value, and by the
 * exact values given to `registerSecret`. Bounded in depth, width and text length; reads anything, never throws.
 */
export function redact(value: unknown): unknown {
  try {
    return walk(value, beginWalk());
  } catch {
    return '[unreadable]';
  }
}

/** The same for one text, cut at 4,096 characters. */
export function redactText(text: string): string {
  return cleanText(text, beginWalk());
}

function beginWalk(): Walk {
  return { ancestors: new Set(), valuesLeft: MAX_VALUES, charactersLeft: MAX_ALL_CHARACTERS };
}

function walk(value: unknown, state: Walk): unknown {
  state.valuesLeft -= 1;
  if (state.valuesLeft < 0 || state.charactersLeft <= 0) return '[too much]';
  switch (typeof value) {
    case 'string':
      return cleanText(value, state);
    case 'number':
      return Number.isFinite(value) ? value : String(value);
    case 'boolean':
      return value;
    case 'undefined':
      return undefined;
    case 'bigint':
      return String(value);
    case 'symbol':
      return cleanText(String(value), state);
    case 'function':
      return '[function]';
    case 'object':
      return value === null ? null : walkObject(value, state);
  }
}

function walkObject(value: object, state: Walk): unknown {
  if (state.ancestors.has(value)) return '[circular]';
  if (state.ancestors.size >= MAX_DEPTH) return '[too deep]';
  state.ancestors.add(value);
  try {
    return walkShape(value, state);
  } catch {
    return '[unreadable]';
  } finally {
    state.ancestors.delete(value);
  }
}

function walkShape(value: object, state: Walk): unknown {
  if (Array.isArray(value)) return walkElements(value, value.length, state);
  // `types` rather than instanceof: a Map of another realm (a worker, a vm) is a Map all the same.
  if (isError(value)) return walkFields(errorFields(value), state);
  if (types.isDate(value)) return Number.isNaN(value.getTime()) ? 'invalid date' : value.toISOString();
  if (types.isMap(value)) return walkFields(mapFields(value), state);
  if (types.isSet(value)) return walkElements(value, value.size, state);
  if (types.isAnyArrayBuffer(value) || ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`;
  if (types.isBoxedPrimitive(value)) return walk(value.valueOf(), state);
  if (value instanceof URL || value instanceof URLSearchParams || types.isRegExp(value)) {
    return cleanText(String(value), state);
  }
  if (value instanceof Headers) return walkFields(mapFields(new Map(value.entries())), state);
  return walkFields(objectFields(value), state);
}

function walkElements(elements: Iterable<unknown>, total: number, state: Walk): unknown[] {
  const clean: unknown[] = [];
  let previous: unknown;
  for (const element of elements) {
    if (clean.length >= MAX_ELEMENTS) {
      clean.push(`[${total - MAX_ELEMENTS} more]`);
      break;
    }
    // Raw headers are flat lists (name, value, name, value …), entries are pairs.
    const named = typeof previous === 'string' && describeName(previous).secret;
    clean.push(named ? maskValue(String(previous), element) : walk(element, state));
    previous = element;
  }
  return clean;
}

type Field = readonly [name: string, read: () => unknown];

function walkFields(fields: readonly Field[], state: Walk): unknown {
  const clean: [string, unknown][] = [];
  const valueIsSecret = namesASecret(fields);
  for (const [name, read] of fields) {
    if (clean.length >= MAX_FIELDS) {
      clean.push(['…', `[${fields.length - MAX_FIELDS} more]`]);
      break;
    }
    const { shown, secret } = describeName(name);
    const value = readQuietly(read);
    if (value === undefined) continue;
    clean.push([shown, secret || (valueIsSecret && name === 'value') ? maskValue(name, value) : walk(value, state)]);
  }
  return Object.fromEntries(clean);
}

/** `{ name: 'Authorization', value: '…' }`: the name of the secret is a value here. */
function namesASecret(fields: readonly Field[]): boolean {
  if (!fields.some(([name]) => name === 'value')) return false;
  return fields.some(([name, read]) => {
    if (name !== 'name' && name !== 'key' && name !== 'header') return false;
    const label = readQuietly(read);
    return typeof label === 'string' && describeName(label).secret;
  });
}

function readQuietly(read: () => unknown): unknown {
  try {
    return read();
  } catch {
    return '[unreadable]';
  }
}

/** Absence is worth knowing and no secret; a plural of tokens that is a number is a count. */
function maskValue(name: string, value: unknown): unknown {
  if (value === null || value === undefined || value === '' || typeof value === 'boolean') return value;
  if (typeof value === 'number' && /tokens$/i.test(name)) return value;
  return MASK;
}

function objectFields(value: object): Field[] {
  return Object.keys(value).map((name) => [name, () => Reflect.get(value, name) as unknown]);
}

function mapFields(value: ReadonlyMap<unknown, unknown>): Field[] {
  return [...value].map(([key, held]) => [typeof key === 'string' ? key : JSON.stringify(redact(key)), () => held]);
}

/** An error of this or of another realm; Error.isError is not in Node 22. */
export function isError(value: unknown): value is Error {
  return value instanceof Error || Object.prototype.toString.call(value) === '[object Error]';
}

/** What an error hides from Object.keys is what people need: its name, text, stack, cause, and collected errors. */
function errorFields(error: Error): Field[] {
  const hidden = ['name', 'message', 'stack', 'cause', 'errors'].filter((name) => name in error);
  const own = Object.keys(error).filter((name) => !hidden.includes(name));
  return [...hidden, ...own].map((name) => [name, () => Reflect.get(error, name) as unknown]);
}

const MAX_REMEMBERED_NAMES = 1_000;
const remembered = new Map<string, { shown: string; secret: boolean }>();
let rememberedVersion = 0;

/** Field names repeat on every log line, so the answer is remembered (until a new secret is registered). */
function describeName(name: string): { shown: string; secret: boolean } {
  if (rememberedVersion !== registryVersion() || remembered.size >= MAX_REMEMBERED_NAMES) remembered.clear();
  rememberedVersion = registryVersion();
  const known = remembered.get(name);
  if (known !== undefined) return known;
  if (name.length > 100) return { shown: redactText(name), secret: isSecretName(name.slice(-100)) };
  const described = { shown: redactText(name), secret: isSecretName(name) };
  remembered.set(name, described);
  return described;
}

function cleanText(text: string, state: Walk): string {
  state.charactersLeft -= Math.min(text.length, MAX_TEXT_CHARACTERS);
  if (text.length <= MAX_TEXT_CHARACTERS) return cleanWhole(text, state);
  const window = text.slice(0, MAX_TEXT_CHARACTERS + LOOK_AHEAD_CHARACTERS);
  const clean = cleanWhole(window, state);
  // The tail goes in any case: a secret may have been cut in two at the window's edge.
  const kept = clean.slice(0, Math.min(MAX_TEXT_CHARACTERS, Math.max(0, clean.length - LOOK_AHEAD_CHARACTERS)));
  return `${kept}[cut, ${text.length} characters]`;
}

function cleanWhole(text: string, state: Walk): string {
  const plain = scrubRegistered(text);
  const unescaped = unescapeText(plain);
  if (unescaped !== plain) {
    const clean = scrubText(scrubRegistered(unescaped));
    if (clean !== unescaped) return clean;
  }
  if (!looksSuspicious(plain)) return plain;
  return cleanJson(plain, state) ?? scrubText(plain);
}

/** A text that is JSON as a whole is read as JSON: names inside it are exact, at any depth of nesting. */
function cleanJson(text: string, state: Walk): string | undefined {
  if (!/^\s*[[{"]/.test(text)) return undefined;
  try {
    const parsed: unknown = JSON.parse(text);
    const clean = walkObject([parsed], state);
    return Array.isArray(clean) ? JSON.stringify(clean[0]) : '[too deep]';
  } catch {
    return undefined;
  }
}

function scrubRegistered(text: string): string {
  return registeredPatterns().reduce((clean, pattern) => clean.replace(pattern, MASK), text);
}
