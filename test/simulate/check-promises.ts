import type { Ask } from './sim-approvers.ts';
import type { SimDatabase } from './sim-database.ts';

/** A line that somebody said in a room: words to be answered, a change asked for, a decision on one. */
export type Question = {
  msgId: string;
  room: string;
  who: string;
  text: string;
  kind: 'words' | 'run' | 'vote';
  isAcked: boolean;
};
/** What the platform took: a part of an outbound message, and whether it said of itself that it may be a repeat. */
export type Heard = { outboundMessageId: string; part: number; text: string; isMarked: boolean; atMs: number };
export type Violation = {
  promise: 'lost' | 'duplicated' | 'reordered' | 'unexpected' | 'unknown' | 'audit_gaps' | 'unapproved';
  text: string;
};

type Row = {
  msg_id: string;
  room: string;
  lane: string | null;
  sequence: number;
  turns: number;
  turn_status: string | null;
  sends: number;
  outbound_id: string | null;
  send_status: string | null;
  ended_audits: number;
  recorded_audits: number;
  settled_audits: number;
};

/**
 * What was promised to people, checked against what they said, what the platform took, the ledgers and the audit log. What is
 * expected comes from the questions alone.
 */
export async function checkPromises(o: {
  database: SimDatabase;
  questions: readonly Question[];
  asks: readonly Ask[];
  heard: readonly Heard[];
  isOver: boolean;
  dead: readonly string[];
}): Promise<Violation[]> {
  const found: Violation[] = [];
  const add = (promise: Violation['promise'], text: string) => found.push({ promise, text });
  if (!o.isOver) add('lost', 'work never came to an end');
  for (const type of o.dead) add('unexpected', `${type} died in its queue`);
  const rows = await o.database.rows<Row>(events);
  const answerIds = new Map(rows.map((row) => [row.msg_id, row.outbound_id]));
  /** Words come back in their answer; what was said of a change is known by its outbound message. */
  const isAbout = ({ text, outboundMessageId }: Heard, { msgId, kind }: Question): boolean =>
    kind === 'words'
      ? text.includes(`/q-${msgId}.`) || text.endsWith(`/q-${msgId}`)
      : outboundMessageId === answerIds.get(msgId);
  const hearings = (question: Question) =>
    o.heard.flatMap((one, at) => (isAbout(one, question) ? [{ ...one, at }] : []));

  for (const question of o.questions) {
    const { msgId } = question;
    const mine = rows.filter((row) => row.msg_id === msgId);
    const [row] = mine;
    if (row === undefined || mine.length > 1) {
      add(row === undefined ? 'lost' : 'duplicated', `${msgId} is ${mine.length} rows of the ledger`);
      continue;
    }
    if (row.turns !== 1) add(row.turns === 0 ? 'lost' : 'duplicated', `${msgId} has ${row.turns} turns`);
    // What takes many steps may be given up after five crashes; who asked is told so, once a minute.
    const isGivenUp = question.kind !== 'words' && row.turn_status === 'failed';
    if (row.turn_status !== 'done' && !isGivenUp) add('lost', `the turn of ${msgId} is ${row.turn_status}`);
    if (isGivenUp && row.sends === 0) continue;
    if (row.sends !== 1) add(row.sends === 0 ? 'lost' : 'duplicated', `${msgId} has ${row.sends} outbound messages`);
    const answers = hearings(question);
    const plain = answers.filter(({ isMarked }) => !isMarked);
    if (plain.length > 1) add('duplicated', `${msgId} was answered ${plain.length} times without saying so`);
    if (answers.length > 2) add('duplicated', `${msgId} was answered ${answers.length} times`);
    if (row.send_status === 'accepted' && answers.length === 0)
      add('lost', `${msgId} is accepted, and nobody heard it`);
    if (row.send_status === 'failed' && answers.length > 0 && plain.length > 0)
      add('unknown', `${msgId} was heard and counts as failed`);
    for (const [what, count] of Object.entries(pickAudits(row)))
      if (count !== 1) add('audit_gaps', `${msgId} has ${count} entries ${what}`);
  }
  const known = new Set(o.questions.map(({ msgId }) => msgId));
  for (const row of rows)
    if (!known.has(row.msg_id)) add('unexpected', `${row.msg_id} is in the ledger, and nobody said it`);
  const names = await findNames(o.database, o.asks);
  for (const one of o.heard)
    if (!o.questions.some((question) => isAbout(one, question)) && !names.some((name) => one.text.includes(name)))
      add('unexpected', `nobody asked for: ${one.text}`);

  /** A change waits for people, and others of its lane are answered meanwhile: it has no place in the order. */
  const firstOf = (msgId: string) =>
    o.questions.filter((one) => one.msgId === msgId && one.kind !== 'run').flatMap((one) => hearings(one).slice(0, 1));
  for (const room of new Set(rows.map((row) => row.room))) {
    const inRoom = rows.filter((row) => row.room === room).sort((a, b) => a.sequence - b.sequence);
    const numbers = inRoom.map(({ sequence }) => sequence);
    if (numbers.some((number, at) => number !== at + 1))
      add('reordered', `${room} has the numbers ${numbers.join(' ')}`);
    for (const lane of new Set(inRoom.map((row) => row.lane))) {
      // In the order in which the platform took them: an answer may begin only when the one before it had ended.
      const firsts = inRoom.filter((row) => row.lane === lane).flatMap(({ msg_id }) => firstOf(msg_id));
      if (firsts.some(({ at }, index) => index > 0 && at < (firsts[index - 1]?.at ?? 0)))
        add('reordered', `the answers in ${room} came in another order than its questions`);
    }
  }
  return found;
}

/** What rooms and approvers are told about a change that somebody asked for: it names the change, or the code of its request. */
async function findNames(database: SimDatabase, asks: readonly Ask[]): Promise<string[]> {
  const services = asks.map(({ service }) => service);
  const rows = await database.rows<{ code: string }>(
    `select r.code from agent_core.approval_request r join agent_core.tool_call c on c.id = r.tool_call_id
     where c.arguments ->> 'service' = any($1)`,
    [services],
  );
  return [...services, ...rows.map(({ code }) => code)];
}

const pickAudits = (row: Row) => ({
  'inbound.recorded': row.recorded_audits,
  'turn.ended': row.ended_audits,
  'outbound.settled': row.settled_audits,
});

/** An answer belongs to the turn whose correlation it has. What approvers are told has that too, and a lane of its own. */
const events = `
  select e.source_id as msg_id, e.conversation_id as room, t.lane, e.sequence::int as sequence, t.turns, t.turn_status, m.sends,
    m.outbound_id, m.send_status,
    (select count(*)::int from audit.entry where kind = 'inbound.recorded' and subject_id = e.id::text) as recorded_audits,
    (select count(*)::int from audit.entry where kind = 'turn.ended' and subject_id = t.turn_id::text) as ended_audits,
    (select count(*)::int from audit.entry where kind = 'outbound.settled' and service = 'agent-core'
      and subject_id = m.outbound_id) as settled_audits
  from adapter.inbound_event e
  left join lateral (select count(*)::int as turns, min(status) as turn_status, min(lane) as lane,
      min(id::text) as turn_id
    from agent_core.turn where inbound_event_id = e.id) t on true
  left join lateral (select count(*)::int as sends, min(id::text) as outbound_id, min(status) as send_status
    from outbound_sender.outbound_message where correlation_id = e.correlation_id and lane <> 'approval') m on true`;
