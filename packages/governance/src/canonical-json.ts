import { createHash } from 'node:crypto';
import { AppError } from '@steward/service-kit';
import canonicalize from 'canonicalize';

const MAX_DEPTH = 64;

/**
 * The one text of a JSON value (RFC 8785), so that equal values have equal hashes. Throws AppError CANONICAL_JSON_INVALID for
 * what JSON cannot say exactly: undefined, NaN, functions, dates, lone surrogates, over 64 levels. The library would drop
 * some of these without a word, and two different values would then share a digest.
 */
export function canonicalJson(value: unknown): string {
  const fault = findFault(value, 0);
  const text = fault === null ? canonicalize(value) : undefined;
  if (text !== undefined) return text;
  throw new AppError('CANONICAL_JSON_INVALID', `not a JSON value: ${fault ?? 'nothing to write'}`, {
    retryable: false,
  });
}

/** SHA-256 of a text as UTF-8, in hex. */
export function sha256Hex(text: string): string {
  return createHash('sha256').update(text, 'utf8').digest('hex');
}

function findFault(value: unknown, depth: number): string | null {
  if (depth > MAX_DEPTH) return `deeper than ${MAX_DEPTH} levels`;
  if (value === null || typeof value === 'boolean') return null;
  if (typeof value === 'string') return value.isWellFormed() ? null : 'a text with half a character';
  if (typeof value === 'number') return Number.isFinite(value) ? null : 'a number that is none';
  return typeof value === 'object' ? findFaultInside(value, depth) : `a value of type ${typeof value}`;
}

function findFaultInside(value: object, depth: number): string | null {
  if (!Array.isArray(value) && !isPlain(value)) return 'an object of a class';
  if (Object.getOwnPropertySymbols(value).length > 0) return 'a symbol as name';
  // Array.from also visits the holes of a sparse array, as undefined.
  const parts: unknown[] = Array.isArray(value) ? Array.from(value as unknown[]) : Object.entries(value).flat();
  for (const part of parts) {
    const fault = findFault(part, depth + 1);
    if (fault !== null) return fault;
  }
  return null;
}

/** Made by a literal or by JSON.parse, in whichever realm of this process. */
function isPlain(value: object): boolean {
  const prototype = Object.getPrototypeOf(value) as object | null;
  if (prototype === null) return true;
  return Object.getPrototypeOf(prototype) === null && Object.hasOwn(prototype, 'isPrototypeOf');
}
