import type { Obligations, Verdict } from './verdict.ts';

/** Identity is both together, compared everywhere: the same staffId exists in every organisation anew. */
export type Person = { corpId: string; staffId: string };
export type RoledPerson = Person & { roles: readonly string[] };

/** One person's decision, with the roles held when deciding. */
export type Vote = RoledPerson & { decision: 'approve' | 'deny'; reason: string | null };

/** Why a vote does not count; the database refuses the same under the same names. */
export type VoteRefusal =
  | 'vote_of_unknown_person'
  | 'vote_of_another_corp'
  | 'vote_on_closed_request'
  | 'vote_after_expiry'
  | 'vote_repeated'
  | 'vote_without_role'
  | 'vote_of_requester'
  | 'vote_unseen'
  | 'vote_without_reason';

const isSame = (a: Person, b: Person) => a.corpId === b.corpId && a.staffId === b.staffId;
const hasText = (text: string | null) => text !== null && text.trim() !== '';
const holdsAny = (person: { roles: readonly string[] }, group: readonly string[]) =>
  person.roles.some((role) => group.includes(role));
const isApprover = (person: { roles: readonly string[] }, { approverGroups }: Obligations) =>
  approverGroups.some((group) => holdsAny(person, group));

/**
 * What the votes, in the order in which they were cast, have come to. The first that settles the request settles it: what
 * follows changes nothing. A vote that may not count does not; one person counts once, by the
 * first vote that may.
 */
export function decideRequest(o: {
  obligations: Obligations;
  requester: Person;
  votes: readonly Vote[];
}): 'pending' | 'approved' | 'denied' {
  const { obligations, requester } = o;
  const counted: Vote[] = [];
  for (const vote of o.votes) {
    if (counted.some((earlier) => isSame(earlier, vote)) || !counts(vote, obligations, requester)) continue;
    counted.push(vote);
    if (counted.filter(({ decision }) => decision === 'deny').length >= obligations.denyQuorum) return 'denied';
    if (fulfils(counted, obligations)) return 'approved';
  }
  return 'pending';
}

function counts(vote: Vote, obligations: Obligations, requester: Person): boolean {
  if (vote.corpId !== requester.corpId || !isApprover(vote, obligations)) return false;
  if (vote.decision === 'deny') return true;
  if (isSame(vote, requester) && !obligations.selfApproval) return false;
  return !obligations.reasonRequired || hasText(vote.reason);
}

function fulfils(votes: readonly Vote[], { quorum, approverGroups }: Obligations): boolean {
  const approving = votes.filter(({ decision }) => decision === 'approve');
  return approving.length >= quorum && approverGroups.every((group) => approving.some((vote) => holdsAny(vote, group)));
}

/** Everybody whose approval would count, each once. Roles must be those of now. */
export function whoMayDecide(o: {
  obligations: Obligations;
  requester: Person;
  people: readonly RoledPerson[];
}): RoledPerson[] {
  const { obligations, requester, people } = o;
  return people.filter(
    (person, at) =>
      person.corpId === requester.corpId &&
      isApprover(person, obligations) &&
      (obligations.selfApproval || !isSame(person, requester)) &&
      people.findIndex((other) => isSame(other, person)) === at,
  );
}

/** Whether there are enough people to approve: if not, asking is of no use (and is refused at once, with the reason). */
export function isReachable(o: {
  obligations: Obligations;
  requester: Person;
  people: readonly RoledPerson[];
}): boolean {
  const votes = whoMayDecide(o).map((person): Vote => ({ ...person, decision: 'approve', reason: 'if they did' }));
  return fulfils(votes, o.obligations);
}

/**
 * Whether a decision may be recorded: null, or the first reason against it. A denial by text must say why; by a card it need
 * not, since a card has no field to say it in.
 */
export function mayVote(o: {
  obligations: Obligations;
  requester: Person;
  request: { isPending: boolean; isInTime: boolean; tooLarge: boolean };
  voter: { corpId: string | null; staffId: string | null; roles: readonly string[] };
  decision: 'approve' | 'deny';
  reason: string | null;
  door: 'http' | 'stream' | 'card' | 'cli';
  hasVoted: boolean;
  wasShown: boolean;
}): VoteRefusal | null {
  const { obligations, requester, request, voter, decision } = o;
  const { corpId, staffId } = voter;
  if (corpId === null || staffId === null || corpId === '' || staffId === '') return 'vote_of_unknown_person';
  if (corpId !== requester.corpId) return 'vote_of_another_corp';
  if (!request.isPending) return 'vote_on_closed_request';
  if (!request.isInTime) return 'vote_after_expiry';
  if (o.hasVoted) return 'vote_repeated';
  if (!isApprover(voter, obligations)) return 'vote_without_role';
  if (decision === 'deny') return o.door === 'card' || hasText(o.reason) ? null : 'vote_without_reason';
  if (isSame({ corpId, staffId }, requester) && !obligations.selfApproval) return 'vote_of_requester';
  if (request.tooLarge && !o.wasShown) return 'vote_unseen';
  return obligations.reasonRequired && !hasText(o.reason) ? 'vote_without_reason' : null;
}

/** Why a grant no longer stands. */
export type StricterWhy =
  'denied_now' | 'more_approvers' | 'other_approvers' | 'reason_needed' | 'self_approval' | 'too_late';

/**
 * Whether a grant still stands under the verdict of now (note A1): allow, or ask with obligations that what was recorded
 * already meets. The times are those that really passed, so a shorter clock voids only what it would have stopped.
 */
export function isNoStricter(o: {
  votes: readonly Vote[];
  requester: Person;
  /** From the request to its approval. */
  decidedAfterSeconds: number;
  /** From the approval until now. */
  sinceDecisionSeconds: number;
  after: Verdict;
}): { ok: true } | { ok: false; why: StricterWhy } {
  const { after, requester } = o;
  if (after.verdict === 'allow') return { ok: true };
  const now = after.verdict === 'ask' ? after.obligations : null;
  if (now === null) return { ok: false, why: 'denied_now' };
  const no = (why: StricterWhy) => ({ ok: false, why }) as const;
  const cast = o.votes.filter((vote, at) => o.votes.findIndex((other) => isSame(other, vote)) === at);
  if (cast.filter(({ decision }) => decision === 'deny').length >= now.denyQuorum) return no('denied_now');
  // An approval of somebody whose role the policy no longer names does not count, nor does any rule met by it alone.
  const steps: [StricterWhy, (vote: Vote) => boolean][] = [
    ['other_approvers', (vote) => vote.corpId === requester.corpId && isApprover(vote, now)],
    ['self_approval', (vote) => now.selfApproval || !isSame(vote, requester)],
    ['reason_needed', (vote) => !now.reasonRequired || hasText(vote.reason)],
  ];
  let approving = cast.filter(({ decision }) => decision === 'approve');
  if (approving.length < now.quorum) return no('more_approvers');
  for (const [why, holds] of steps) {
    approving = approving.filter(holds);
    if (!fulfils(approving, now)) return no(why);
  }
  if (o.decidedAfterSeconds > now.approveWithinSeconds || o.sinceDecisionSeconds > now.runWithinSeconds)
    return no('too_late');
  return { ok: true };
}
