import { isSecretName } from './secret-name.ts';

/** What stands where a secret stood. */
export const MASK = '[redacted]';

/** Cheap first look: a text without any of these cannot match a rule below. Most strings stop here. */
const SUSPICIOUS =
  /secret|token|pass|pwd|auth|cookie|credential|session|ticket|sign|key|jwt|bearer|basic|digest|:\/\/|\bSEC|\beyJ|\bsk-|failing row/i;

/** Secrets that show themselves by their own shape, whatever name stands before them. */
const SHAPES: readonly (readonly [RegExp, string])[] = [
  [/-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)/g, MASK],
  [/\b([Bb]earer|BEARER)\s+[\w.~+/=-]{6,}/g, `$1 ${MASK}`],
  [/\b([Bb]asic|[Dd]igest)\s+(?=[a-z+/]*[A-Z0-9=])[\w.~+/=-]{8,}/g, `$1 ${MASK}`],
  // A custom robot's signing secret: official docs, custom robot security settings.
  [/\bSEC[0-9A-Za-z]{30,}/g, MASK],
  [/\beyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?/g, MASK],
  [/\bsk-[\w-]{16,}/g, MASK],
  // "token 8f3a…" in a sentence: a secret's word followed by something that is no word.
  [/\b(token|secret|password|ticket|key)(\s+)(?=[A-Za-z.~+/=_-]*\d)[\w.~+/=-]{16,}/gi, `$1$2${MASK}`],
  // Postgres tells which values it refused: what people and the platform sent has no place in a log.
  [/\b(Key \([^)]*\)=|Failing row contains )\((?:[^()]|\([^()]*\))*\)?/g, `$1(${MASK})`],
  // scheme://user:password@host, but not host:port followed by a path that happens to hold an @.
  [/(:\/\/[^\s/:@"'<>]*):(?!\d{1,5}(?:[/?#]|$))[^\s"'<>]*@/g, `$1:${MASK}@`],
  [/:\/\/[^\s/:@"'<>?#]+@/g, `://${MASK}@`],
];

/** True if the text could hold a secret by name or shape. Errs on the side of yes. */
export function looksSuspicious(text: string): boolean {
  return SUSPICIOUS.test(text);
}

/** Masks what has the shape of a secret or stands behind a secret's name. Pure; linear in the text's length. */
export function scrubText(text: string): string {
  let clean = text;
  for (const [shape, replacement] of SHAPES) clean = clean.replace(shape, replacement);
  return scrubPairs(clean);
}

/** `name=value`, `name: value`, `"name":"value"`, `\"name\":\"value\"`, `params["name"] => value`. */
const PAIR = /(?<![\w.-])([\w.-]+)\\*["'`]?\]?\s{0,4}(?::=|=>|[=:])\s{0,4}/g;
const SOURCE_FILE = /\.(?:ts|js|mjs|cjs|sql|md)$/;

function scrubPairs(text: string): string {
  let clean = '';
  let done = 0;
  PAIR.lastIndex = 0;
  for (let pair = PAIR.exec(text); pair !== null; pair = PAIR.exec(text)) {
    const name = pair[1] ?? '';
    if (SOURCE_FILE.test(name) || !isSecretName(name)) continue;
    const [start, end] = findValue(text, PAIR.lastIndex, name);
    if (end === start) continue;
    clean += text.slice(done, start) + MASK;
    done = end;
    PAIR.lastIndex = end;
  }
  return done === 0 ? text : clean + text.slice(done);
}

const OPENING_QUOTE = /(\\*)(["'`])/y;
const UNTIL_LINE_END = /[^\r\n"'`]*/y;
const UNTIL_SPACE = /(?:(?:Bearer|Basic|Digest)\s+)?(?:[^\s&"'`<>\\]|\\(?!["'`]))*/iy;

/** Where the value that starts at `from` begins and ends. When in doubt it ends later rather than sooner. */
function findValue(text: string, from: number, name: string): [number, number] {
  OPENING_QUOTE.lastIndex = from;
  const quote = OPENING_QUOTE.exec(text)?.[0];
  if (quote !== undefined) return [from + quote.length, findClosingQuote(text, from + quote.length, quote)];
  if (text[from] === '{' || text[from] === '[') return [from, findClosingBracket(text, from)];
  // A header or a password may hold spaces, a token does not.
  const rule = /auth|cookie|pass/i.test(name) ? UNTIL_LINE_END : UNTIL_SPACE;
  rule.lastIndex = from;
  return [from, from + (rule.exec(text)?.[0].length ?? 0)];
}

function findClosingQuote(text: string, from: number, quote: string): number {
  let end = text.indexOf(quote, from);
  // One more backslash before it means: this quote belongs to the value.
  while (end > from && text[end - 1] === '\\') end = text.indexOf(quote, end + 1);
  return end === -1 ? text.length : end;
}

function findClosingBracket(text: string, from: number): number {
  let depth = 0;
  for (let at = from; at < text.length; at += 1) {
    const character = text[at];
    if (character === '{' || character === '[') depth += 1;
    if (character === '}' || character === ']') depth -= 1;
    if (depth === 0) return at + 1;
  }
  return text.length;
}

/** Undoes percent and \u escapes (three rounds at most), so that a name cannot hide behind its encoding. Pure. */
export function unescapeText(text: string): string {
  let plain = text;
  for (let round = 0; round < 3 && /%[0-9a-f]{2}|\\u[0-9a-f]{4}/i.test(plain); round += 1) {
    plain = plain
      .replace(/(?:%[0-9a-f]{2})+/gi, (escaped) => Buffer.from(escaped.replaceAll('%', ''), 'hex').toString('utf8'))
      .replace(/\\u([0-9a-f]{4})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  }
  return plain;
}
