import type { Heard, Question, Violation } from './check-promises.ts';
import { countApprovers, type Ask } from './sim-approvers.ts';
import type { SimDatabase } from './sim-database.ts';
import { writingTools, type Change } from './sim-system.ts';

type Said = {
  database: SimDatabase;
  asks: readonly Ask[];
  heard: readonly Heard[];
  /** What the system really did. */
  changes: readonly Change[];
};
type Add = (promise: Violation['promise'], text: string) => void;

/**
 * What was promised about changes, checked against what people said and what the system did. Whether a change was approved follows
 * from what people said alone; the rows and the audit log are only checked for telling the same story.
 */
export async function checkApprovals({ database, asks, heard, changes }: Said): Promise<Violation[]> {
  const found: Violation[] = [];
  const add: Add = (promise, text) => found.push({ promise, text });
  for (const { service } of changes)
    if (!asks.some((ask) => ask.service === service))
      add('unexpected', `${service} was changed, and nobody asked for it`);
  for (const ask of asks) {
    const done = changes.filter(({ service }) => service === ask.service);
    checkChange(ask, done, add);
    const calls = await database.rows<CallRow>(callsOf, [ask.service]);
    const [call] = calls;
    if (call === undefined || calls.length > 1)
      add(call === undefined ? 'lost' : 'duplicated', `${ask.line.msgId} became ${calls.length} calls`);
    else {
      checkCall(ask, call, done.length, add);
      if (done.length > 0) checkWords(call, heard, add);
    }
    for (const { line } of ask.said.values()) await checkVote(database, line, add);
  }
  return found;
}

/** At most once, and only with enough people who had said yes before. */
function checkChange(ask: Ask, done: readonly Change[], add: Add): void {
  const { tool, line, service } = ask;
  if (done.length > 1) add('duplicated', `${tool} ${service} of ${line.msgId} was done ${done.length} times`);
  for (const { atMs } of done) {
    const count = countApprovers(ask, atMs);
    const { quorum } = writingTools[tool];
    if (count < quorum) add('unapproved', `${tool} ${service} was done with ${count} approvers of ${quorum}`);
  }
}

/** Of a change that was done nobody is told that it was not. */
function checkWords(call: CallRow, heard: readonly Heard[], add: Add): void {
  for (const { outboundMessageId, text } of heard)
    if (call.told.includes(outboundMessageId) && /failed, nothing was changed|denied|in time|is void/.test(text))
      add('unknown', `${call.service} was done, and people were told: ${text}`);
}

type CallRow = {
  service: string;
  status: string;
  request_status: string | null;
  attempts: number;
  open_attempts: number;
  /** Entries of the audit log by kind: about the call, and about its request. */
  audits: Record<string, number>;
  /** The outbound messages about it. */
  told: readonly string[];
};

const endings: Record<string, readonly string[]> = {
  used: ['done', 'failed', 'unknown'],
  denied: ['denied'],
  expired: ['expired'],
  void: ['void'],
  // The turn was given up.
  cancelled: ['cancelled'],
};

function checkCall({ line }: Ask, call: CallRow, done: number, add: Add): void {
  const name = `the call of ${line.msgId}`;
  const { status, audits, attempts } = call;
  if (done > 0 && status !== 'done' && status !== 'unknown') add('unknown', `${name} is ${status}, and it was done`);
  if (done === 0 && status === 'done') add('lost', `${name} is done, and nothing was`);
  if (!(endings[call.request_status ?? ''] ?? []).includes(status))
    add('lost', `${name} is ${status} and its request ${String(call.request_status)}`);
  if (call.open_attempts > 0) add('lost', `${name} has an attempt that never ended`);
  const isDecided = call.request_status === 'used';
  const expected = {
    'call.judged': 1,
    'approval.requested': 1,
    'call.ended': 1,
    'attempt.opened': attempts,
    'attempt.closed': attempts,
    ...(isDecided && { 'approval.approved': 1 }),
    ...(!isDecided && call.request_status !== null && { [`approval.${call.request_status}`]: 1 }),
  };
  for (const [kind, count] of Object.entries(expected))
    if ((audits[kind] ?? 0) !== count)
      add('audit_gaps', `${name} has ${audits[kind] ?? 0} entries ${kind} and not ${count}`);
  for (const kind of ['approval.denied', 'approval.expired', 'approval.void', 'approval.cancelled'])
    if (done > 0 && audits[kind] !== undefined) add('unapproved', `${name} was done, and the log says ${kind}`);
}

/** Each vote is on record once, counted or refused, however often it came. Refused again by another process, it says so again. */
async function checkVote(database: SimDatabase, { msgId }: Question, add: Add): Promise<void> {
  const [row] = await database.rows<{ votes: number; voted: number; refused: number; is_given_up: boolean }>(votesOf, [
    msgId,
  ]);
  const { votes = 0, voted = 0, refused = 0, is_given_up = false } = row ?? {};
  if (votes > 1 || voted !== votes) add('audit_gaps', `${msgId} is ${votes} votes with ${voted} entries`);
  if (votes + refused === 0 && !is_given_up) add('lost', `the vote ${msgId} is nowhere on record`);
}

const callsOf = `
  select c.arguments ->> 'service' as service, c.status, r.status as request_status,
    (select count(*)::int from agent_core.tool_attempt where tool_call_id = c.id) as attempts,
    (select count(*)::int from agent_core.tool_attempt where tool_call_id = c.id and closed_at is null) as open_attempts,
    (select coalesce(jsonb_object_agg(kind, count), '{}') from (
      select kind, count(*)::int as count from audit.entry where subject_id in (c.id::text, r.id::text) group by kind) k) as audits,
    array(select id::text from outbound_sender.outbound_message where correlation_id = c.correlation_id) as told
  from agent_core.tool_call c left join agent_core.approval_request r on r.tool_call_id = c.id
  where c.arguments ->> 'service' = $1`;

const votesOf = `
  select (select count(*)::int from agent_core.approval_vote where source_id = e.id) as votes,
    (select count(*)::int from audit.entry where kind = 'approval.voted' and detail ->> 'sourceId' = e.id::text) as voted,
    (select count(*)::int from audit.entry where kind = 'approval.refused' and detail ->> 'sourceId' = e.id::text) as refused,
    exists (select from agent_core.turn where inbound_event_id = e.id and status = 'failed') as is_given_up
  from adapter.inbound_event e where e.source_id = $1`;
