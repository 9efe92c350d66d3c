const MIN_CHARACTERS = 8;
/** The password inside a URL may be an everyday word ("postgres"): only longer ones are worth scrubbing everywhere. */
const MIN_URL_PASSWORD_CHARACTERS = 12;
/** Access tokens rotate: the oldest values are forgotten, so that the pattern cannot grow for ever. */
const MAX_REGISTERED = 200;

const registered = new Set<string>();
let version = 0;
let pattern: RegExp | undefined;

/**
 * From now on this exact value (and its URL-encoded, JSON-escaped and line-by-line spellings) is masked wherever
 * it would be logged, in this process. Values under 8 characters are ignored: they would mask ordinary words.
 */
export function registerSecret(value: string): void {
  for (const spelling of spellingsOf(value)) {
    if (spelling.length < MIN_CHARACTERS || registered.has(spelling)) continue;
    registered.add(spelling);
    pattern = undefined;
    version += 1;
  }
  for (const oldest of registered) {
    if (registered.size <= MAX_REGISTERED) break;
    registered.delete(oldest);
  }
}

function spellingsOf(value: string): string[] {
  const lines = value.split(/\r?\n/).map((line) => line.trim());
  const whole = [value, ...lines, ...urlPasswords(value)];
  return whole.flatMap((text) => [text, encodeText(text), JSON.stringify(text).slice(1, -1)]);
}

function urlPasswords(value: string): string[] {
  const password = URL.canParse(value) ? new URL(value).password : '';
  if (password.length < MIN_URL_PASSWORD_CHARACTERS) return [];
  try {
    return [password, decodeURIComponent(password)];
  } catch {
    return [password];
  }
}

function encodeText(text: string): string {
  return encodeURIComponent(text.toWellFormed());
}

/** One pattern for every registered value, longest first; undefined while there is none. */
export function registeredPattern(): RegExp | undefined {
  if (pattern !== undefined || registered.size === 0) return pattern;
  const longestFirst = [...registered].sort((a, b) => b.length - a.length);
  pattern = new RegExp(longestFirst.map((value) => value.replace(/[.*+?^${}()|[\]\\/-]/g, '\\$&')).join('|'), 'g');
  return pattern;
}

/** Changes whenever a value was registered, for those who remember answers. */
export function registryVersion(): number {
  return version;
}
