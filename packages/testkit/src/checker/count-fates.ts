import type { ChatRecord, PushRecord } from '@steward/dingtalk-simulator';

/** What became of everything that was acknowledged. A run is good when the last three are zero. */
export type Fates = { acknowledged: number; lost: number; duplicated: number; reordered: number };

/** A question by its mark: an unknown command is answered with its own name, so each answer says what it answers. */
const markPattern = /\/q-[a-z0-9]+/;
const repeatPattern = /^(（可能重复）|\(possibly a repeat\))/;

export const markOf = (text: string): string | null => markPattern.exec(text)?.[0] ?? null;
export const isMarkedRepeat = (text: string): boolean => repeatPattern.test(text);

/** The part of a push that the checker looks at: what was said where, when it was first tried, when it was acked. */
export type Asked = {
  n: number;
  msgId: string;
  place: string;
  mark: string | null;
  firstTriedAt: number;
  ackedAt: number | null;
};
export type Heard = { n: number; place: string; mark: string | null; isRepeat: boolean; text?: string };

/**
 * Holds what people said (as the simulator sent it) against what they heard (as the simulator received it); nothing of
 * Steward's own tables is asked. Lost: acknowledged and never answered. Duplicated: answered once more without being
 * marked as a possible repeat, or an answer that nobody asked for. Reordered: a pair of answers in one place, the
 * later one to a question that was acknowledged before the other was even sent. Questions without a mark are counted
 * for each place. `silent`: message ids that must have no answer at all.
 */
export function countFates(asked: readonly Asked[], heard: readonly Heard[], silent: ReadonlySet<string>): Fates {
  const acked = asked.filter((question) => question.ackedAt !== null && !silent.has(question.msgId));
  const marked = countMarked(asked, acked, heard, silent);
  const plain = countPlain(asked, acked, heard, silent);
  return {
    acknowledged: acked.length,
    lost: marked.lost + plain.lost,
    duplicated: marked.duplicated + plain.duplicated,
    reordered: countReordered(asked, heard),
  };
}

type Partial = { lost: number; duplicated: number };
type Silent = ReadonlySet<string>;

function countMarked(
  asked: readonly Asked[],
  acked: readonly Asked[],
  heard: readonly Heard[],
  silent: Silent,
): Partial {
  const answers = new Map<string, number>();
  for (const { mark, isRepeat } of heard) {
    if (mark !== null && !isRepeat) answers.set(mark, (answers.get(mark) ?? 0) + 1);
  }
  const repeats = new Set(heard.flatMap(({ mark, isRepeat }) => (mark !== null && isRepeat ? [mark] : [])));
  const expected = new Set(asked.filter(({ msgId }) => !silent.has(msgId)).map(({ mark }) => mark));
  const lost = acked.filter(({ mark }) => mark !== null && !answers.has(mark) && !repeats.has(mark)).length;
  const duplicated = [...answers].reduce((sum, [mark, count]) => sum + count - (expected.has(mark) ? 1 : 0), 0);
  return { lost, duplicated };
}

function countPlain(
  asked: readonly Asked[],
  acked: readonly Asked[],
  heard: readonly Heard[],
  silent: Silent,
): Partial {
  const places = new Set([...asked, ...heard].map(({ place }) => place));
  let lost = 0;
  let duplicated = 0;
  for (const place of places) {
    const here = (row: { place: string; mark: string | null }) => row.place === place && row.mark === null;
    const answers = heard.filter((line) => here(line) && !line.isRepeat).length;
    lost += Math.max(0, acked.filter(here).length - heard.filter(here).length);
    duplicated += Math.max(
      0,
      answers - asked.filter((question) => here(question) && !silent.has(question.msgId)).length,
    );
  }
  return { lost, duplicated };
}

function countReordered(asked: readonly Asked[], heard: readonly Heard[]): number {
  const questions = new Map(asked.map((question) => [question.mark, question]));
  const byPlace = Map.groupBy(firstAnswers(heard), ({ place }) => place);
  let reordered = 0;
  for (const lines of byPlace.values()) {
    const answered = lines.flatMap(({ mark }) => questions.get(mark) ?? []);
    answered.forEach((later, index) => {
      reordered += answered.slice(0, index).filter((earlier) => precedes(later, earlier)).length;
    });
  }
  return reordered;
}

function firstAnswers(heard: readonly Heard[]): Heard[] {
  const seen = new Set<string>();
  return [...heard].sort((a, b) => a.n - b.n).filter(({ mark }) => mark !== null && !seen.has(mark) && seen.add(mark));
}

/** Certain only when the first was acknowledged before the second set out; clocks count milliseconds, so ties go by number. */
function precedes(first: Asked, second: Asked): boolean {
  if (first.ackedAt === null) return false;
  return first.ackedAt < second.firstTriedAt || (first.ackedAt === second.firstTriedAt && first.n < second.n);
}

export function toAsked(push: PushRecord): Asked {
  const acked = push.attempts.find(({ outcome }) => outcome === 'acked');
  return {
    n: push.n,
    msgId: push.key,
    place: `${push.robotCode} ${String(push.payload.conversationId)}`,
    mark: markOf(JSON.stringify(push.payload.text ?? push.payload.content ?? '')),
    firstTriedAt: Math.min(push.at, ...push.attempts.map(({ at }) => at)),
    ackedAt: acked === undefined ? null : acked.at + acked.ms,
  };
}

export function toHeard(line: ChatRecord): Heard {
  const { n, conversationId, from, text } = line;
  return {
    n,
    place: `${from.id} ${conversationId}`,
    mark: markOf(text),
    isRepeat: isMarkedRepeat(text),
    text: text.slice(0, 200),
  };
}
