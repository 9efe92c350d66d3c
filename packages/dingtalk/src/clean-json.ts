/** Deeper than anything the platform sends; what lies below becomes null, so that no payload can exhaust the stack. */
const maxDepth = 32;

/** A JSON value whose every text can be stored and hashed, and whether something had to be replaced for that. */
export type CleanJson = { value: unknown; hadInvalidText: boolean };

/**
 * Replaces NUL and lone surrogates by U+FFFD in every text and key: either of them aborts a Postgres statement, and
 * with it every neighbour in the same batch. Never throws on what JSON.parse returned.
 */
export function cleanJson(raw: unknown): CleanJson {
  const found = { invalid: false };
  return { value: cleanValue(raw, 0, found), hadInvalidText: found.invalid };
}

/** JSON text to a clean value; null when it is not JSON. */
export function parseCleanJson(text: string): CleanJson | null {
  try {
    return cleanJson(JSON.parse(text));
  } catch {
    return null;
  }
}

/** At most `maxUnits` UTF-16 units, never half of a surrogate pair. */
export function truncate(text: string, maxUnits: number): string {
  if (text.length <= maxUnits) return text;
  const last = text.charCodeAt(maxUnits - 1);
  const cutsPair = last >= 0xd800 && last <= 0xdbff;
  return text.slice(0, cutsPair ? maxUnits - 1 : maxUnits);
}

function cleanValue(raw: unknown, depth: number, found: { invalid: boolean }): unknown {
  if (typeof raw === 'string') return cleanText(raw, found);
  if (typeof raw !== 'object' || raw === null) return raw;
  if (depth >= maxDepth) return null;
  if (Array.isArray(raw)) return raw.map((entry: unknown) => cleanValue(entry, depth + 1, found));
  // fromEntries defines own properties: a key named __proto__ stays a key.
  return Object.fromEntries(
    Object.entries(raw).map(([key, entry]) => [cleanText(key, found), cleanValue(entry, depth + 1, found)]),
  );
}

function cleanText(text: string, found: { invalid: boolean }): string {
  if (text.isWellFormed() && !text.includes('\u0000')) return text;
  found.invalid = true;
  return text.toWellFormed().replaceAll('\u0000', '\uFFFD');
}
