/** A row of ops.trace. */
export type TraceStep = {
  atMs: number;
  source: string;
  what: string;
  outcome: string;
  who: string | null;
  subjectId: string | null;
  detail: Record<string, unknown>;
};

const shownDetail = 160;

/** One step as one line: local time, time since the beginning, what happened, what is worth knowing about it. Pure. */
export function renderStep(step: TraceStep, o: { sinceStartMs: number; timeZone: string }): string {
  const time = new Intl.DateTimeFormat('sv-SE', {
    timeZone: o.timeZone,
    dateStyle: 'short',
    timeStyle: 'medium',
  }).format(step.atMs);
  const millis = String(Math.floor(step.atMs) % 1_000).padStart(3, '0');
  const since = `+${(o.sinceStartMs / 1_000).toFixed(3)} s`.padStart(11);
  return `${time}.${millis} ${since}  ${tell(step)}`;
}

function tell({ source, what, outcome, who, detail }: TraceStep): string {
  const by = who === null ? '' : ` by ${clean(who)}`;
  const more = tellDetail(detail);
  const words = {
    'inbound event': `${what} came in through ${asText(detail['door'])}`,
    turn: `turn in lane ${what}`,
    'tool call': `call of ${what} proposed${by}: ${outcome}`,
    'approval request': `approval request ${what}${by}: ${outcome}`,
    decision: `${outcome} of ${what}${by}`,
    grant: `grant ${what}: ${outcome}`,
    'tool attempt': `${what} was called: ${outcome}`,
    'outbound message': `outbound message in lane ${what}: ${outcome}`,
    'delivery attempt': `sent by ${what}: ${outcome}`,
    'audit entry': `audit: ${what} ${outcome}${by}`,
  };
  const sentence = source in words ? words[source as keyof typeof words] : `${source} ${what} ${outcome}${by}`;
  return clean(more === '' ? sentence : `${sentence} (${more})`);
}

const told = new Set(['door', 'entryId', 'service']);

function tellDetail(detail: Record<string, unknown>): string {
  const parts = Object.entries(detail)
    .filter(([name, value]) => value !== null && value !== undefined && !told.has(name))
    .filter(([name, value]) => !((name === 'duplicates' || name === 'altered') && value === 0))
    .map(([name, value]) => `${name} ${asText(value)}`);
  const text = parts.join(', ');
  return text.length > shownDetail ? `${text.slice(0, shownDetail)}…` : text;
}

const asText = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value ?? null));

/** What people wrote may not draw lines or colours of its own in a terminal. */
const clean = (text: string): string => text.replace(/[\p{Cc}\p{Cf}\u2028\u2029]+/gu, ' ');
