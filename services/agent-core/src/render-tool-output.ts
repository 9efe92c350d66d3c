import type { Json, JsonObject } from '@steward/governance';
import { toStorableText } from './to-storable-text.ts';

/**
 * The fields at these dotted paths (`status.replicas`, `items.0.name`), each under its path as its name. What is not there is null.
 * Pure.
 */
export function selectFields(value: Json, paths: readonly string[]): JsonObject {
  return Object.fromEntries(paths.map((path) => [path, path.split('.').reduce(stepInto, value)]));
}

function stepInto(value: Json, name: string): Json {
  if (value === null || typeof value !== 'object' || !Object.hasOwn(value, name)) return null;
  // Lists and objects both answer to the text of a name.
  return Reflect.get(value, name) as Json;
}

/** Lists as one element a line, objects as one field a line, so that people can read it as it is. Pure. */
export function renderJson(value: Json): string {
  if (value === null || typeof value !== 'object') return toLine(value);
  if (isList(value)) return value.map(toLine).join('\n');
  return Object.entries(value)
    .map(([name, field]) => `${name}: ${toLine(field)}`)
    .join('\n');
}

const isList = (value: Json): value is readonly Json[] => Array.isArray(value);
const toLine = (value: Json) => (typeof value === 'string' ? value : JSON.stringify(value));

/** The text as Postgres can store it, in at most `maxBytes` of UTF-8, with a last line that says what was cut. Pure. */
export function capOutput(text: string, maxBytes: number): string {
  const clean = toStorableText(text);
  const bytes = Buffer.from(clean);
  if (bytes.byteLength <= maxBytes) return clean;
  const note = `\n[cut: ${bytes.byteLength} bytes in all]`;
  const kept = bytes.subarray(0, Math.max(0, maxBytes - note.length)).toString('utf8');
  // A character that was cut in two has become U+FFFD at the end, which would be longer than what was there.
  return `${kept.replace(/\uFFFD+$/, '')}${note}`;
}
