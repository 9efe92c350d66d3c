import { AppError } from '@steward/service-kit';
import { wholePlaceholder, type Json, type JsonObject } from '@steward/governance';

/** What a tool's file says about one request, before arguments are filled in. */
export type CallTemplate = { path: string; query: Readonly<Record<string, string>>; body?: unknown };

const placeholder = /\{\{([A-Za-z][A-Za-z0-9_]{0,63})\}\}/g;
const maxPieceLength = 1_000;
/** What a server may take for a step up or sideways in a path, also with path parameters behind it (`..;x`). */
const dotPiece = /^\.{1,2}(?:;.*)?$/s;
const controls = /\p{Cc}/u;

/**
 * Path and query for these arguments. Whatever an argument holds, it stays one value in its place: it is percent-encoded,
 * and what a server that decodes too often could take for another path is refused. AppError INVALID_ARGUMENTS names the
 * argument, never its value. Pure.
 */
export function renderPath(template: CallTemplate, args: JsonObject): string {
  const path = template.path.replace(placeholder, (_, name: string) => encode(toPathPiece(name, scalarOf(args, name))));
  // A harmless argument beside a dot of the template can still make a step up.
  if (
    decodeFully(path)
      .split(/[/\\]/)
      .some((piece) => dotPiece.test(piece))
  )
    throw invalid('the path');
  const query = Object.entries(template.query).flatMap(([name, text]) => {
    const whole = wholePlaceholder(text);
    if (whole !== null && !Object.hasOwn(args, whole)) return [];
    return [`${encode(name)}=${encode(fill(text, args))}`];
  });
  return query.length === 0 ? path : `${path}?${query.join('&')}`;
}

/** The JSON body for these arguments; null if there is none. Optional arguments that are not given leave their key out. Pure. */
export function renderBody(template: CallTemplate, args: JsonObject): string | null {
  // zod has read it as JSON; its type for that has optional fields.
  return template.body === undefined ? null : JSON.stringify(fillJson(template.body as Json, args) ?? null);
}

function fillJson(template: Json, args: JsonObject): Json | undefined {
  if (typeof template === 'string') {
    const whole = wholePlaceholder(template);
    if (whole === null) return fill(template, args);
    return Object.hasOwn(args, whole) ? args[whole] : undefined;
  }
  if (template === null || typeof template !== 'object') return template;
  if (isList(template)) return template.map((part) => fillJson(part, args)).filter((part) => part !== undefined);
  const fields = Object.entries(template).map(([name, part]) => [name, fillJson(part, args)] as const);
  return Object.fromEntries(fields.flatMap(([name, part]) => (part === undefined ? [] : [[name, part]])));
}

/** Array.isArray does not see through `readonly`. */
const isList = (value: Json): value is readonly Json[] => Array.isArray(value);

const fill = (text: string, args: JsonObject) => text.replace(placeholder, (_, name: string) => scalarOf(args, name));

function scalarOf(args: JsonObject, name: string): string {
  const value = Object.hasOwn(args, name) ? args[name] : undefined;
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  if (typeof value === 'string' && value.isWellFormed()) return value;
  throw invalid(name);
}

function toPathPiece(name: string, value: string): string {
  const pieces = decodeFully(value).split(/[/\\]/);
  const isDangerous = pieces.some(
    (piece) => piece.trim() === '' || dotPiece.test(piece.trim()) || controls.test(piece),
  );
  if (isDangerous || value.length > maxPieceLength) throw invalid(name);
  return value;
}

/** As a server might that decodes again and again; five times are more than any does. */
function decodeFully(value: string): string {
  let plain = value;
  for (let round = 0; round < 5; round += 1)
    plain = plain.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  return plain;
}

/** encodeURIComponent leaves five characters that RFC 3986 reserves. */
const encode = (text: string) =>
  encodeURIComponent(text).replace(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);

function invalid(name: string): AppError {
  return new AppError('INVALID_ARGUMENTS', `${name} does not fit into the request of this tool`, { retryable: false });
}
