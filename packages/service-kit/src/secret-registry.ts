const MIN_CHARACTERS = 8;
/** The password inside a URL may be an everyday word ("postgres"): only longer ones are worth scrubbing everywhere. */
const MIN_URL_PASSWORD_CHARACTERS = 12;
/** Access tokens rotate: the oldest spellings are forgotten, so that the pattern cannot grow for ever. */
const MAX_ROTATING = 400;

/** Secrets of the configuration: never forgotten, as many as there are. */
const lasting = createRegister();
const rotating = createRegister();
let version = 0;

/**
 * From now on this exact value (and its URL-encoded, JSON-escaped and line-by-line spellings) is masked wherever
 * it would be logged, in this process. Values under 8 characters are ignored: they would mask ordinary words.
 * `rotating` is for values a running service gets again and again; of these only the newest few hundred are masked.
 */
export function registerSecret(value: string, o: { rotating?: boolean } = {}): void {
  for (const spelling of spellingsOf(value)) {
    if (spelling.length < MIN_CHARACTERS || lasting.has(spelling)) continue;
    if (o.rotating) rotating.addNewest(spelling, MAX_ROTATING);
    else lasting.addNewest(spelling, Infinity);
    version += 1;
  }
}

/** Values in the order they came, and one pattern for all of them, made when it is asked for. */
function createRegister() {
  const values = new Set<string>();
  let pattern: RegExp | undefined;
  return {
    has: (value: string) => values.has(value),
    addNewest: (value: string, limit: number) => {
      if (!values.delete(value)) pattern = undefined;
      values.add(value);
      for (const oldest of values) {
        if (values.size <= limit) break;
        values.delete(oldest);
      }
    },
    pattern: () => (values.size === 0 ? undefined : (pattern ??= toPattern(values))),
  };
}

/** Longest first: a value may begin with another one. */
function toPattern(values: Iterable<string>): RegExp {
  const longestFirst = [...values].sort((a, b) => b.length - a.length);
  return new RegExp(longestFirst.map((value) => value.replace(/[.*+?^${}()|[\]\\/-]/g, '\\$&')).join('|'), 'g');
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

/** What finds every registered value: the lasting ones, then the rotating ones. */
export function registeredPatterns(): RegExp[] {
  return [lasting.pattern(), rotating.pattern()].filter((pattern) => pattern !== undefined);
}

/** Changes whenever a value was registered, for those who remember answers. */
export function registryVersion(): number {
  return version;
}
