import { approvalsRoom, people } from '../../services/agent-core/src/gate.test-support.ts';
import type { Heard, Question } from './check-promises.ts';
import { pick } from '../random.ts';
import { approveWithinMs } from './sim-policy.ts';
import { writingTools, type WritingTool } from './sim-system.ts';
import type { World } from './world.ts';

/** What somebody will say about a request: when, and whether in a place where it was shown. */
type Vote = {
  who: string;
  verb: 'approve' | 'deny';
  when: 'soon' | 'after a denial' | 'after its time';
  isElsewhere: boolean;
  hasReason: boolean;
};
/** A vote as it was said. `isLate`: whoever said it could know that the request was over. */
export type SaidVote = Vote & { line: Question; saidAtMs: number; isLate: boolean };
/** A line by which somebody asks for a change, and what people say about it. `service` names the change, and nothing else does. */
export type Ask = {
  line: Question;
  tool: WritingTool;
  service: string;
  planned: readonly Vote[];
  said: Map<Vote, SaidVote>;
};
type Plan = { tool: WritingTool; requester: string; votes: readonly Vote[] };

const { li, han, zhao, wang } = people;
const vote = (who: string, verb: Vote['verb'], over: Partial<Vote> = {}): Vote => ({
  ...{ who, verb, when: 'soon', isElsewhere: false, hasReason: true },
  ...over,
});
const restart = (votes: readonly Vote[], requester: string = li): Plan => ({ tool: 'restart', requester, votes });
const wipe = (votes: readonly Vote[]): Plan => ({ tool: 'wipe', requester: li, votes });

/** What people do about a change; that it is made comes most often, since most can go wrong then. */
const plans: readonly Plan[] = [
  restart([vote(han, 'approve', { hasReason: false })]),
  restart([vote(zhao, 'approve')]),
  restart([vote(han, 'approve'), vote(zhao, 'approve')]),
  wipe([vote(han, 'approve'), vote(zhao, 'approve')]),
  restart([vote(han, 'approve'), vote(zhao, 'deny')]),
  restart([vote(han, 'deny'), vote(zhao, 'approve', { when: 'after a denial' })]),
  // Nothing may come of these.
  wipe([vote(han, 'approve'), vote(han, 'approve')]),
  wipe([vote(han, 'approve'), vote(zhao, 'approve', { hasReason: false })]),
  restart([vote(han, 'approve'), vote(wang, 'approve')], han),
  restart([vote(han, 'approve', { isElsewhere: true })]),
  restart([vote(zhao, 'approve', { when: 'after its time' })]),
];

/** Whoever asks for a change, and whoever decides on it once they have read its code in the chat. */
export function createSimApprovers(
  { random, now, meet, isHostile }: World,
  o: {
    say: (line: Pick<Question, 'room' | 'who' | 'kind'>, toText: (msgId: string) => string) => Question;
    heard: readonly Heard[];
    rooms: readonly string[];
  },
) {
  const asks: Ask[] = [];
  const speakAbout = (ask: Ask): void => {
    const request = findRequest(ask, o.heard);
    if (request === null) return;
    const { code, heardAtMs } = request;
    const isTimeOver = now().getTime() >= heardAtMs + approveWithinMs;
    for (const one of ask.planned) {
      if (ask.said.has(one)) continue;
      const isOver = o.heard.some(({ text }) => text.includes(code) && /: (denied|expired)/.test(text));
      if (one.when === 'after its time' ? !isTimeOver : one.when === 'after a denial' && !isOver && !isTimeOver)
        continue;
      if (isHostile() && random() < 0.5) continue;
      const elsewhere = o.rooms.filter((room) => room !== ask.line.room);
      const room = pick(random, one.isElsewhere ? elsewhere : [ask.line.room, approvalsRoom]);
      const text = `/${one.verb} ${code}${one.hasReason ? ' because' : ''}`;
      const line = o.say({ room, who: one.who, kind: 'vote' }, () => text);
      ask.said.set(one, { ...one, line, saidAtMs: now().getTime(), isLate: isOver || isTimeOver });
      meet('votes');
    }
  };
  return {
    asks,
    ask: (): void => {
      const { tool, requester, votes } = pick(random, plans);
      const line = o.say(
        { room: pick(random, o.rooms), who: requester, kind: 'run' },
        (msgId) => `/run ${tool} service=${serviceOf(msgId)}`,
      );
      asks.push({ line, tool, service: serviceOf(line.msgId), planned: votes, said: new Map() });
    },
    /** Who has something to say, says it, by chance. */
    speak: (): void => asks.forEach(speakAbout),
    /** Nobody will say anything more: they did, or never heard of a request. */
    isSilent: (): boolean =>
      asks.every((ask) => ask.said.size === ask.planned.length || findRequest(ask, o.heard) === null),
  };
}

/** A word that no text changes, and that is part of no other. */
const serviceOf = (msgId: string) => `s${msgId.replace('-', 'x')}x`;

/** The code of a request, and when it was first read. */
function findRequest({ service }: Ask, heard: readonly Heard[]): { code: string; heardAtMs: number } | null {
  for (const { text, atMs } of heard) {
    const [, code] = text.includes(service) ? (/\/approve ([2-9A-Z]{4})/.exec(text) ?? []) : [];
    if (code !== undefined) return { code, heardAtMs: atMs };
  }
  return null;
}

/** How many different people said yes by then who may, where and as they must, and while they could think it open. */
export function countApprovers({ tool, line, said }: Ask, byMs: number): number {
  const counting = [...said.values()].filter(
    (one) =>
      one.verb === 'approve' &&
      (one.who === han || one.who === zhao) &&
      one.who !== line.who &&
      !one.isElsewhere &&
      !one.isLate &&
      (one.hasReason || !writingTools[tool].needsReason) &&
      one.saidAtMs <= byMs,
  );
  return new Set(counting.map(({ who }) => who)).size;
}
