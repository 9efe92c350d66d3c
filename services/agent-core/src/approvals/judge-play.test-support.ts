import { approvalDigest, type JsonObject } from '@steward/governance';
import { corpId, people } from '../gate.test-support.ts';
import type { Cluster } from './cluster.test-support.ts';
import type { WorldEffect } from './replicas.test-support.ts';

type Row = Record<string, unknown>;
type Call = {
  id: string;
  turn_id: string;
  tool: string;
  effect: string;
  status: string;
  verdict: string;
  environment: 'test';
  robot_code: string;
  conversation_id: string;
  requester_staff_id: string;
  arguments: JsonObject;
};
type Request = {
  id: string;
  tool_call_id: string;
  digest: string;
  status: string;
  approve_by: string;
  quorum: number;
  deny_quorum: number;
  preview: JsonObject | null;
};
type Vote = {
  request_id: string;
  corp_id: string;
  staff_id: string;
  decision: string;
  reason: string | null;
  voted_at: string;
  robot_code: string;
  conversation_id: string;
  source_id: string;
};
type Grant = {
  id: string;
  tool_call_id: string;
  approval_request_id: string | null;
  break_glass_id: string | null;
  digest: string;
  run_by: string;
  consumed_at: string | null;
};
type Attempt = { id: string; tool_call_id: string; grant_id: string | null; number: number; opened_at: string };
type Glass = {
  id: string;
  staff_id: string;
  tool: string;
  conversation_id: string;
  opened_at: string;
  until_at: string;
  reviewed_by_staff_id: string | null;
};
type Entry = {
  kind: string;
  outcome: string;
  subject_id: string;
  actor_staff_id: string | null;
  at: string;
  source: string | null;
};
type Turn = { id: string; outcome: string | null; ended_at: string; text: string; inbound_event_id: string };
type Rows = {
  calls: Call[];
  requests: Request[];
  votes: Vote[];
  grants: Grant[];
  attempts: Attempt[];
  glasses: Glass[];
  entries: Entry[];
  turns: Turn[];
  places: { request_id: string; robot_code: string; conversation_id: string }[];
  clicks: { id: string; outcome: string }[];
};

/** Who may approve, and by how many at least, said here once more: not asked of the code that is judged. */
const approvers: ReadonlySet<string> = new Set([people.han, people.zhao]);
const leastQuorum: Record<string, number> = { restart: 1, scale: 1, say: 1, wipe: 2 };
const mostEffects: Record<string, number> = { scale: 3 };
const needsReason = new Set(['wipe']);
/** An attempt that the test made old is as young as it was. */
const hourMs = 3_600_000;

export type Tally = Record<string, number>;

/** Every rule that this play broke, in words; none when approvals hold. Counts into `tally` what the play came to. */
export async function judgePlay(cluster: Cluster, since: Date, tally: Tally): Promise<string[]> {
  const rows = await readRows(cluster, since);
  count(tally, cluster, rows);
  return [
    ...cluster.world.effects.flatMap((effect) => judgeEffect(cluster, rows, since, effect)),
    ...judgeCalls(cluster, rows),
    ...judgeRequests(rows),
    ...judgeVotes(cluster, rows),
    ...judgeSwitch(cluster, rows, since),
    ...judgeAudit(rows),
  ];
}

/** No effect without a valid grant for exactly this. */
function judgeEffect(cluster: Cluster, rows: Rows, since: Date, effect: WorldEffect): string[] {
  const callId = effect.key.replace(/^steward-/, '');
  const call = rows.calls.find(({ id }) => id === callId);
  const attempts = rows.attempts.filter(({ tool_call_id }) => tool_call_id === callId);
  const name = `effect of ${effect.tool} (${callId})`;
  if (call === undefined || attempts.length === 0) return [`${name} has no call or no attempt`];
  if (!['done', 'failed', 'unknown'].includes(call.status))
    return [`${name} although the call ended as ${call.status}`];
  if (call.effect === 'read') return [];
  const faults: string[] = [];
  const must = (holds: boolean, text: string) => {
    if (!holds) faults.push(`${name} ${text}`);
  };
  must(call.verdict === 'ask', 'was not asked for');
  const grant = rows.grants.find(({ tool_call_id }) => tool_call_id === callId);
  if (grant === undefined) return [...faults, `${name} has no grant`];
  must(grant.consumed_at !== null, 'has a grant that was not consumed');
  must(
    attempts.every(({ grant_id }) => grant_id === grant.id),
    'has an attempt without its grant',
  );
  const openedAt = toTime(attempts.find(({ number }) => number === 1)?.opened_at, since);
  must(openedAt < Date.parse(grant.run_by), 'began after its time to run');
  const request = rows.requests.find(({ id }) => id === grant.approval_request_id);
  // What was told to outbound-sender carries no definition: its call's own stands for it.
  const definitionHash = effect.definitionHash || (call as Row)['definition_hash'];
  const digest = approvalDigest({
    requestId: request?.id ?? callId,
    definitionHash: String(definitionHash),
    arguments: effect.args,
    requester: { corpId, staffId: call.requester_staff_id },
    room: { robotCode: call.robot_code, conversationId: call.conversation_id },
    robot: call.robot_code === 'dingtest' ? 'ops' : 'other',
    environment: call.environment,
  }).toString('hex');
  must(digest === grant.digest, 'is not what its grant was given for');
  if (request === undefined) return [...faults, ...judgeGlass(rows, call, grant, openedAt)];
  must(request.status === 'used' && request.digest === grant.digest, `has a request that is ${request.status}`);
  must(
    effect.tool !== 'restart' || effect.preview?.['version'] === request.preview?.['version'],
    'changes what was not shown',
  );
  must(effect.tool !== 'restart' || (cluster.world.previews.get(callId)?.length ?? 0) > 1, 'was not looked at again');
  const votes = rows.votes.filter(({ request_id }) => request_id === request.id);
  const approving = votes.filter(
    (vote) => vote.decision === 'approve' && approvers.has(vote.staff_id) && vote.staff_id !== call.requester_staff_id,
  );
  must(
    new Set(approving.map(({ staff_id }) => staff_id)).size >= Math.max(request.quorum, leastQuorum[effect.tool] ?? 1),
    'has too few approvers',
  );
  must(
    votes.every(({ decision }) => decision === 'approve'),
    'was denied',
  );
  must(
    !needsReason.has(effect.tool) || approving.every(({ reason }) => reason !== null),
    'was approved without reasons',
  );
  return faults;
}

function judgeGlass(rows: Rows, call: Call, grant: Grant, openedAt: number): string[] {
  const glass = rows.glasses.find(({ id }) => id === grant.break_glass_id);
  const fits =
    glass?.tool === call.tool &&
    glass.staff_id === call.requester_staff_id &&
    glass.conversation_id === call.conversation_id &&
    Date.parse(glass.opened_at) <= openedAt &&
    openedAt < Date.parse(glass.until_at);
  return fits ? [] : [`effect of ${call.tool} under glass that was not broken for it`];
}

/** Never two effects of one call, except of a repeatable tool under one key; one call for each thing that was said. */
function judgeCalls({ world }: Cluster, { calls, attempts, turns, entries }: Rows): string[] {
  return calls.flatMap((call) => {
    const effects = world.effects.filter(({ key }) => key === `steward-${call.id}`);
    const tried = attempts.filter(({ tool_call_id }) => tool_call_id === call.id);
    const limit = call.effect === 'read' ? 3 : (mostEffects[call.tool] ?? 1);
    const ended = entries.filter(({ kind, subject_id }) => kind === 'call.ended' && subject_id === call.id);
    const twins = calls.filter(({ turn_id }) => turn_id === call.turn_id);
    const stop = entries.find(
      ({ kind, outcome, subject_id }) => kind === 'turn.ended' && outcome === 'stopped' && subject_id === call.turn_id,
    );
    return [
      ...(effects.length > limit || tried.length > limit
        ? [`${call.tool} had ${effects.length} effects in ${tried.length} attempts`]
        : []),
      ...(effects.length > tried.length ? [`${call.tool} had an effect without an attempt`] : []),
      ...(twins.length > 1 ? [`one line became ${twins.length} calls`] : []),
      ...(ended.length === (call.status === 'refused' ? 0 : 1)
        ? []
        : [`${call.tool} (${call.status}) ended ${ended.length} times`]),
      ...(ended[0] !== undefined && ended[0].outcome !== call.status
        ? [`${call.tool} ended as ${ended[0].outcome} and is ${call.status}`]
        : []),
      ...(turns.some(({ id }) => id === call.turn_id) ? [] : ['a call without a turn']),
      ...(stop !== undefined && tried.some(({ opened_at }) => Date.parse(opened_at) > Date.parse(stop.at) + 1_000)
        ? [`${call.tool} began after its turn was stopped`]
        : []),
    ];
  });
}

/** One final outcome for each request, the same for everybody who looks. */
function judgeRequests({ requests, calls, votes, entries, grants }: Rows): string[] {
  const fitting: Record<string, readonly string[]> = {
    used: ['done', 'failed', 'unknown'],
    denied: ['denied'],
    expired: ['expired'],
    cancelled: ['cancelled'],
    void: ['void'],
  };
  return requests.flatMap((request) => {
    const call = calls.find(({ id }) => id === request.tool_call_id);
    const of = (kind: string) =>
      entries.filter((entry) => entry.kind === kind && entry.subject_id === request.id).length;
    const endings = ['denied', 'expired', 'cancelled', 'void'].map(
      (status) => [status, of(`approval.${status}`)] as const,
    );
    const wrong = endings.filter(([status, times]) => times !== (status === request.status ? 1 : 0));
    const granted = grants.filter(({ approval_request_id }) => approval_request_id === request.id).length;
    const denials = votes.filter(({ request_id, decision }) => request_id === request.id && decision === 'deny').length;
    return [
      ...(fitting[request.status]?.includes(call?.status ?? '')
        ? []
        : [`request ${request.status} of a call ${String(call?.status)}`]),
      ...wrong.map(([status, times]) => `request ${request.status} was audited ${times} times as ${status}`),
      ...(of('approval.approved') === granted ? [] : [`${granted} grants of ${of('approval.approved')} approvals`]),
      ...(of('approval.requested') === 1 ? [] : ['a request that was not audited']),
      ...(denials >= request.deny_quorum && request.status !== 'denied' ? [`denied, and still ${request.status}`] : []),
      ...(request.status === 'denied' && denials < request.deny_quorum ? ['denied by nobody'] : []),
    ];
  });
}

/** Every vote is of somebody who may, in time, in a place where it was shown. */
function judgeVotes({ forged }: Cluster, { votes, requests, calls, places }: Rows): string[] {
  return votes.flatMap((vote) => {
    const request = requests.find(({ id }) => id === vote.request_id);
    const call = calls.find(({ id }) => id === request?.tool_call_id);
    const isShown = places.some(
      (place) => place.request_id === vote.request_id && place.conversation_id === vote.conversation_id,
    );
    return [
      ...(approvers.has(vote.staff_id) && vote.corp_id === corpId
        ? []
        : [`a vote of ${vote.corp_id} ${vote.staff_id}`]),
      ...(vote.decision === 'approve' && vote.staff_id === call?.requester_staff_id ? ['a vote of the requester'] : []),
      ...(request !== undefined && Date.parse(vote.voted_at) >= Date.parse(request.approve_by)
        ? ['a vote after its time']
        : []),
      ...(forged.has(vote.source_id) ? ['a vote by a forged press'] : []),
      ...(isShown || vote.conversation_id.startsWith('single-') ? [] : [`a vote from ${vote.conversation_id}`]),
    ];
  });
}

/** Nothing but reads began between a freeze and its end, and whoever froze did not open again. */
function judgeSwitch({ thawedAt }: Cluster, { entries, attempts, calls }: Rows, since: Date): string[] {
  const moves = entries
    .filter(({ kind, outcome }) => kind === 'freeze.changed' && (outcome === 'frozen' || outcome === 'open'))
    .map(({ outcome, actor_staff_id, at }) => ({ outcome, by: actor_staff_id, at: Date.parse(at) }))
    .concat(thawedAt.map((at) => ({ outcome: 'open', by: 'the end', at: Date.parse(at) })))
    .sort((one, other) => one.at - other.at);
  return moves.flatMap((move, index) => {
    if (move.outcome !== 'frozen') return [];
    const end = moves[index + 1];
    const begun = attempts.filter((attempt) => {
      const openedAt = toTime(attempt.opened_at, since);
      const isRead = calls.find(({ id }) => id === attempt.tool_call_id)?.effect === 'read';
      return !isRead && openedAt > move.at && openedAt < (end?.at ?? Infinity);
    });
    return [
      ...(begun.length > 0 ? [`${begun.length} calls began while frozen`] : []),
      ...(end?.outcome === 'frozen' ? ['frozen twice'] : []),
      ...(move.by !== null && end?.by === move.by ? ['opened by whoever froze'] : []),
    ];
  });
}

/** Every vote, refusal and attempt is on record. */
function judgeAudit({ votes, attempts, calls, entries, turns, clicks }: Rows): string[] {
  const has = (kind: string, subject: string, more: (entry: Entry) => boolean = () => true) =>
    entries.filter((entry) => entry.kind === kind && entry.subject_id === subject && more(entry)).length;
  const onRecord = (source: string) =>
    votes.some(({ source_id }) => source_id === source) ||
    entries.some((entry) => entry.source === source && entry.kind === 'approval.refused') ||
    entries.some((entry) => entry.subject_id === source && entry.kind === 'card.ignored');
  const decisions = turns.filter(({ outcome }) => outcome === 'command.approve' || outcome === 'command.deny');
  return [
    ...votes
      .filter(
        (vote) =>
          has(
            'approval.voted',
            vote.request_id,
            (entry) => entry.outcome === vote.decision && entry.actor_staff_id === vote.staff_id,
          ) !== 1,
      )
      .map(() => 'a vote that was not audited once'),
    ...calls
      .filter(({ id }) => has('call.judged', id) !== 1)
      .map(({ tool }) => `${tool} whose verdict was not audited once`),
    ...calls
      .filter(
        ({ id }) => has('attempt.opened', id) !== attempts.filter(({ tool_call_id }) => tool_call_id === id).length,
      )
      .map(({ tool }) => `${tool} with attempts that were not audited`),
    ...decisions.filter((turn) => !onRecord(turn.inbound_event_id)).map(({ text }) => `"${text}" left no trace`),
    ...clicks.filter((click) => !onRecord(click.id)).map(({ outcome }) => `a click (${outcome}) left no trace`),
  ];
}

/** A time, made young again if the test made it old. */
function toTime(text: string | undefined, since: Date): number {
  const at = Date.parse(text ?? '');
  return at < since.getTime() - hourMs / 2 ? at + hourMs : at;
}

async function readRows({ sql }: Cluster, since: Date): Promise<Rows> {
  const read = async <T>(text: string): Promise<T[]> =>
    (await sql<{ row: T }>(`select to_jsonb(x) as row from (${text}) x`)).map(({ row }) => row);
  const all = <T>(table: string, columns = '*') => read<T>(`select ${columns} from agent_core.${table}`);
  const hex = `encode(digest, 'hex') as digest`;
  const [calls, requests, votes, grants, attempts, glasses, entries, turns, places, clicks] = await Promise.all([
    all<Call>('tool_call'),
    all<Request>('approval_request', `id, tool_call_id, ${hex}, status, approve_by, quorum, deny_quorum, preview`),
    all<Vote>('approval_vote'),
    all<Grant>('tool_grant', `id, tool_call_id, approval_request_id, break_glass_id, ${hex}, run_by, consumed_at`),
    all<Attempt>('tool_attempt'),
    all<Glass>('break_glass'),
    read<Entry>(`select kind, outcome, subject_id, actor_staff_id, occurred_at as at, detail ->> 'sourceId' as source
      from audit.entry where occurred_at >= '${since.toISOString()}' order by occurred_at`),
    all<Turn>('turn', `id, outcome, ended_at, inbound #>> '{content,text}' as text, inbound_event_id`),
    all<Rows['places'][number]>('approval_place'),
    all<Rows['clicks'][number]>('card_click', 'inbound_event_id as id, outcome'),
  ]);
  return { calls, requests, votes, grants, attempts, glasses, entries, turns, places, clicks };
}

function count(tally: Tally, cluster: Cluster, rows: Rows): void {
  const add = (name: string, by = 1) => {
    tally[name] = (tally[name] ?? 0) + by;
  };
  add('plays');
  add('effects', cluster.world.effects.length);
  add('crashes', cluster.crashes());
  add('replays', cluster.replays);
  add('votes', rows.votes.length);
  for (const { status } of rows.requests) add(status);
  for (const { status } of rows.calls) if (status === 'unknown') add('unknown');
  for (const { kind, outcome } of rows.entries) {
    if (kind === 'approval.refused') add('votes refused');
    if (kind === 'card.ignored') add('clicks ignored');
    if (kind === 'freeze.changed' && outcome === 'frozen') add('freezes');
    if (kind === 'grant.taken') add('glass grants');
  }
  add('repeats', rows.attempts.filter(({ number }) => number > 1).length);
}
