import { countFates, toAsked, toHeard, type Asked, type Heard } from './count-fates.ts';
import { checkEffects } from './check-effects.ts';
import { explainUnknown } from './explain-unknown.ts';
import { findAuditGaps } from './find-audit-gaps.ts';
import { findLeaks } from './find-leaks.ts';
import { findOverAdmitted } from './find-over-admitted.ts';
import type { LedgerFacts, RunFacts, RunRules, SimulatorFacts } from './run-facts.ts';

/** The columns of the table, in its order. All but the first two and `unknown` must be 0. */
export const columns = [
  'attempted',
  'acknowledged',
  'lost',
  'duplicated',
  'reordered',
  'unexpected',
  'unknown',
  'unapproved',
  'audit_gaps',
  'over_admitted',
  'leaked_secrets',
] as const;
export type Column = (typeof columns)[number];
const promised = columns.filter((name) => !['attempted', 'acknowledged', 'unknown'].includes(name));

/** The figures of a run, and for each that is not zero what was found (the first few, in words). */
export type RunReport = {
  counts: Record<Column, number>;
  findings: { column: Column; text: string }[];
  /** Each unknown outcome with the reason in the ledger and the fault that allows it. */
  explained: string[];
  isGood: boolean;
};

/**
 * Holds what was said to Steward against what it did. What is expected comes from the simulator's record alone; the ledger
 * and the audit log are witnesses that are checked, never the measure. Pure. An unknown outcome without a reason in
 * the ledger or without an injected fault that allows it counts as `unexpected`.
 */
export function checkRun(facts: RunFacts, rules: RunRules = {}): RunReport {
  const { simulator, ledger, audit, texts } = facts;
  const robotPushes = simulator.pushes.filter(({ kind }) => kind === 'robot');
  const found: Record<Column, readonly string[]> = {
    ...noFindings(),
    ...checkAnswers(facts, rules),
    unapproved: [],
    audit_gaps: findAuditGaps(ledger, audit),
    over_admitted: findOverAdmitted(simulator.calls, rules.limits ?? []),
    leaked_secrets: findLeaks(texts, rules.canaries ?? []),
  };
  const effects = checkEffects(simulator, ledger, {
    noEffect: rules.noEffect ?? new Set(),
    contested: rules.contested ?? new Set(),
  });
  const unknown = explainUnknown(ledger, rules.allowances ?? []);
  found.lost = [...found.lost, ...effects.lost, ...findUnfinished(robotPushes, ledger)];
  found.duplicated = [...found.duplicated, ...effects.duplicated, ...findRepeatedTurns(ledger)];
  found.reordered = [...found.reordered, ...findBrokenSequences(ledger)];
  found.unexpected = [
    ...[...found.unexpected, ...effects.unexpected, ...unknown.unexplained],
    ...findUnasked(simulator, ledger),
    ...findCrashes(texts),
  ];
  found.unapproved = effects.unapproved;
  const counts = Object.fromEntries(columns.map((name) => [name, found[name].length])) as Record<Column, number>;
  counts.attempted = robotPushes.length;
  counts.acknowledged = robotPushes.filter(({ attempts }) => attempts.some(isAck)).length;
  counts.unknown = unknown.count;
  return {
    counts,
    findings: promised.flatMap((column) => found[column].slice(0, 5).map((text) => ({ column, text }))),
    explained: unknown.explained,
    isGood: promised.every((column) => counts[column] === 0),
  };
}

/** One line of a table: `attempted 12  acknowledged 12  lost 0 …`. */
export const renderCounts = (counts: Record<Column, number>): string =>
  columns.map((name) => `${name} ${counts[name]}`).join('  ');

const noFindings = (): Record<Column, readonly string[]> =>
  Object.fromEntries(columns.map((name) => [name, []])) as unknown as Record<Column, readonly string[]>;

const isAck = ({ outcome }: { outcome: string }) => outcome === 'acked';

/** Answers, by what people heard. An answer that is known to be unknown is not lost. */
function checkAnswers({ simulator, ledger }: RunFacts, rules: RunRules) {
  const governed = rules.governedRooms ?? new Set<string>();
  const isNotice = (text: string) => (rules.notices ?? []).some((pattern) => pattern.test(text));
  const isCounted = (row: { mark: string | null; place: string }) => row.mark !== null || !governed.has(roomOf(row));
  const asked = simulator.pushes
    .filter(({ kind }) => kind === 'robot')
    .map(toAsked)
    .filter(isCounted);
  const said = simulator.lines.filter(({ from, text }) => from.kind !== 'person' && !isNotice(text));
  const heard = said.map(toHeard).filter(isCounted);
  const marks = new Set(asked.map(({ mark }) => mark));
  const unasked = heard.filter(({ mark }) => mark !== null && !marks.has(mark));
  const known = heard.filter((line) => !unasked.includes(line));
  const silent = new Set([...(rules.silent ?? []), ...findUnknownAnswers(asked, known, ledger)]);
  const fates = countFates(asked, known, silent);
  const answered = new Set(known.map(({ mark }) => mark));
  const missing = asked.filter((one) => one.ackedAt !== null && one.mark !== null && !answered.has(one.mark));
  const lost = missing
    .filter(({ msgId }) => !silent.has(msgId))
    .map((one) => `${one.msgId} ${one.mark} was never answered`);
  return {
    lost: padTo(fates.lost, lost, 'a plain question was never answered'),
    duplicated: padTo(
      fates.duplicated,
      [...listRepeated(known), ...listSurplus(asked, known)],
      'a room heard more answers than it asked questions',
    ),
    reordered: padTo(fates.reordered, [], 'two answers in the wrong order'),
    unexpected: unasked.map(({ mark, place }) => `${mark} was answered in ${place}, and nobody asked`),
  };
}

const roomOf = ({ place }: { place: string }) => place.slice(place.indexOf(' ') + 1);

/** As many texts as were counted; what is named first is named first. */
const padTo = (count: number, texts: readonly string[], rest: string): string[] =>
  Array.from({ length: count }, (_, at) => texts[at] ?? rest);

const listRepeated = (heard: readonly Heard[]): string[] => {
  const plain = heard.filter(({ mark, isRepeat }) => mark !== null && !isRepeat);
  const groups = Map.groupBy(plain, ({ mark }) => mark);
  return [...groups].flatMap(([mark, lines]) => lines.slice(1).map(() => `${mark} was answered more than once`));
};

/** The last lines of each room that heard more plain answers than it asked plain questions. */
const listSurplus = (asked: readonly Asked[], heard: readonly Heard[]): string[] => {
  const isPlain = ({ mark }: { mark: string | null }) => mark === null;
  const questions = Map.groupBy(asked.filter(isPlain), ({ place }) => place);
  const answers = Map.groupBy(
    heard.filter((line) => isPlain(line) && !line.isRepeat),
    ({ place }) => place,
  );
  return [...answers].flatMap(([place, lines]) =>
    lines
      .slice(questions.get(place)?.length ?? 0)
      .map(({ text }) => `${place} heard one answer too many; the last: ${text ?? ''}`),
  );
};

/** msgIds whose answer ended as unknown and did not arrive: told to operators, and neither lost nor expected. */
function findUnknownAnswers(asked: readonly Asked[], heard: readonly Heard[], ledger: LedgerFacts): string[] {
  const texts = ledger.messages.filter(({ status }) => status === 'unknown').map(({ text }) => text);
  const answered = new Set(heard.map(({ mark }) => mark));
  const isUnknown = (mark: string | null) =>
    mark !== null && !answered.has(mark) && texts.some((text) => text.includes(mark));
  return asked.filter(({ mark }) => isUnknown(mark)).map(({ msgId }) => msgId);
}

/** What was acknowledged and is not in the ledger, and whatever the ledger has not brought to an end. */
function findUnfinished(pushes: SimulatorFacts['pushes'], ledger: LedgerFacts): string[] {
  const known = new Set(ledger.events.map(({ sourceId }) => sourceId));
  const acked = new Set(pushes.filter(({ attempts }) => attempts.some(isAck)).map(({ key }) => key));
  const isOpen = ({ status }: { status: string }) => status === 'queued' || status === 'running';
  return [
    ...[...acked].filter((key) => !known.has(key)).map((key) => `${key} was acknowledged and is in no ledger row`),
    ...ledger.events.filter(({ isSettled }) => !isSettled).map(({ id }) => `inbound event ${id} is not settled`),
    ...ledger.turns.filter(isOpen).map(({ id, status }) => `turn ${id} is still ${status}`),
    ...ledger.messages
      .filter(({ isEnded }) => !isEnded)
      .map(({ id, status }) => `outbound message ${id} is still ${status}`),
  ];
}

function findRepeatedTurns({ turns }: LedgerFacts): string[] {
  const groups = Map.groupBy(turns, ({ eventId }) => eventId);
  return [...groups].flatMap(([eventId, rows]) => rows.slice(1).map(() => `inbound event ${eventId} has another turn`));
}

/** The numbers of a conversation are 1, 2, 3 … */
function findBrokenSequences({ events }: LedgerFacts): string[] {
  const numbered = events.filter(({ sequence }) => sequence !== null);
  return [...Map.groupBy(numbered, ({ place }) => place)].flatMap(([place, rows]) => {
    const numbers = rows.map(({ sequence }) => Number(sequence)).sort((a, b) => a - b);
    return numbers.every((number, at) => number === at + 1)
      ? []
      : [`the numbers of ${place} are not 1 to ${rows.length}`];
  });
}

/** Ledger rows of messages that nobody sent, and calls that DingTalk does not have. */
function findUnasked({ pushes, calls }: SimulatorFacts, { events }: LedgerFacts): string[] {
  const sent = new Set(pushes.map(({ key }) => key));
  const strange = events.filter(({ sourceId }) => sourceId !== null && !sent.has(sourceId));
  return [
    ...strange.map(({ sourceId }) => `the ledger has ${String(sourceId)}, which was never sent`),
    ...calls
      .filter(({ outcome }) => outcome === 'unsupported')
      .map(({ method, path }) => `${method} ${path} was called`),
  ];
}

const crashPattern =
  /service\.crashed|unhandledRejection|uncaughtException|UnhandledPromiseRejection|heap out of memory/;

const findCrashes = (texts: RunFacts['texts']): string[] =>
  texts.flatMap(({ place, text }) => {
    const match = crashPattern.exec(text);
    return match === null ? [] : [`${place}: ${text.slice(match.index, match.index + 200)}`];
  });
