import type { Json, JsonObject } from '@steward/governance';
import { toStorableText } from './to-storable-text.ts';

/** Deep enough for any argument, shallow enough for whoever walks it. */
const maxDepth = 32;

/** Whether it is a JSON object, and not an array, null or something simple. */
export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * Whether a parsed value means the same to whoever judges, shows, stores and sends it: no NUL and no half character
 * (Postgres refuses them), no infinity (JSON has none), no `__proto__`, at most 32 levels deep.
 */
export function isPlainJson(value: unknown, depth = maxDepth): value is Json {
  if (depth === 0) return false;
  if (typeof value === 'string') return toStorableText(value) === value;
  if (typeof value === 'number') return Number.isFinite(value);
  if (typeof value === 'boolean' || value === null) return true;
  if (typeof value !== 'object') return false;
  return Object.entries(value).every(
    ([name, inner]: [string, unknown]) =>
      name !== '__proto__' && toStorableText(name) === name && isPlainJson(inner, depth - 1),
  );
}
