import { sql } from 'kysely';
import { newId } from '@steward/service-kit';
import type { InboundReceived, Lane } from '@steward/contracts';
import { recordOnce, tell, tellStep, type Db, type Told, type Trx } from '@steward/postgres';
import { explainNotRun, verdictOn, type Admission, type NotRun } from './admit-turn.ts';
import type { AgentTables } from './database.ts';
import { laneOf, parseInbound } from './parse-command.ts';
import { toInboundSettled } from './inbound-receipt.ts';

type RecordContext = {
  db: Db<AgentTables>;
  now: () => Date;
  /** Without it every turn is run. */
  admission?: Admission;
};

/**
 * Records an inbound event as a queued turn with its line of transcript, and tells the adapter that it is held here. One
 * that is not to be run is recorded as ended, audited and, once in a while, said. A bus message that was recorded before is
 * answered with its receipt again and has no other effect. Returns the lane in which there is work now; undefined: perhaps
 * in several.
 */
export async function recordInbound(o: RecordContext, received: InboundReceived): Promise<Lane | undefined> {
  const turn = toTurn(received, o.admission);
  const receipt = { subjectId: received.body.inboundEventId, message: toInboundSettled(received, o.now()) };
  if (await recordInOrder(o.db, turn, receipt)) return turn.lane;
  await o.db.transaction().execute(async (trx) => {
    if (await recordOnce(trx, received.id)) {
      const outcome = await recordTurn(trx, turn);
      if (outcome !== null && o.admission !== undefined)
        await explainNotRun(trx, received, { ...turn, outcome, admission: o.admission, now: o.now() });
    }
    await tell(trx, [receipt]);
  });
  return undefined;
}

/**
 * What nearly every event is: new, the next of its conversation, and to be run. One statement; false, with no effect, for anything
 * else. The conversation's row lock serialises the recording, so that the watermark misses no number; and where the number before
 * it is in the statement's snapshot, so are all turns that the verdict counts.
 */
async function recordInOrder(db: Db<AgentTables>, turn: NewTurn, receipt: Told): Promise<boolean> {
  const { place, sequence } = turn;
  const isNext = sql`exists (select from moved)`;
  const line =
    turn.line === null
      ? sql``
      : sql`, line as (
      insert into agent_core.transcript (robot_code, conversation_id, turn_id, speaker, sequence, name, text)
      select robot_code, conversation_id, ${turn.id}::uuid, 'person', ${sequence}::bigint, ${turn.line.name}, ${turn.line.text} from moved
    )`;
  return sql<{ id: string }>`
    with moved as (
      insert into agent_core.conversation as c (robot_code, conversation_id, kind, recorded_through)
      select ${place.robot_code}, ${place.conversation_id}, ${turn.kind}, ${sequence}::bigint
      where ${sequence}::bigint = 1
        or exists (select from agent_core.conversation where (robot_code, conversation_id) = (${place.robot_code}, ${place.conversation_id})
          and recorded_through + 1 = ${sequence}::bigint and gap_since is null and ${turn.verdict} is null)
      on conflict (robot_code, conversation_id) do update set kind = excluded.kind, recorded_through = excluded.recorded_through
      where c.gap_since is null and c.recorded_through + 1 = excluded.recorded_through
      returning robot_code, conversation_id
    ), held as (
      insert into agent_core.inbox (message_id) select ${turn.messageId}::uuid from moved
    ), recorded as (
      insert into agent_core.turn (robot_code, conversation_id, id, inbound_event_id, sequence, lane, status, correlation_id, inbound)
      select robot_code, conversation_id, ${turn.id}::uuid, ${turn.inboundEventId}::uuid, ${sequence}::bigint, ${turn.lane}, 'queued',
        ${turn.correlationId}::uuid, ${turn.inbound}::jsonb from moved
    )${line}, ${tellStep('agent_core', receipt, isNext)}
    select from moved`
    .execute(db)
    .then(
      ({ rows }) => rows.length === 1,
      (error: unknown) => {
        // Recorded before: the inbox has it.
        if (error instanceof Error && 'code' in error && error.code === '23505') return false;
        throw error;
      },
    );
}

/** A new turn with whatever number: queued, or ended with the outcome that is returned. */
async function recordTurn(trx: Trx<AgentTables>, turn: NewTurn): Promise<NotRun | null> {
  const { place, sequence, line } = turn;
  await sql`
    insert into agent_core.conversation (robot_code, conversation_id, kind, recorded_through)
    values (${place.robot_code}, ${place.conversation_id}, ${turn.kind}, 0)
    on conflict (robot_code, conversation_id) do update set kind = excluded.kind`.execute(trx);
  // Under the lock, in a snapshot of its own: everything that was recorded before is seen.
  const { rows } = await sql<{ outcome: NotRun | null }>`select ${turn.verdict} as outcome`.execute(trx);
  const outcome = rows[0]?.outcome ?? null;
  await trx
    .insertInto('turn')
    .values({
      ...place,
      id: turn.id,
      inbound_event_id: turn.inboundEventId,
      sequence,
      lane: turn.lane,
      ...(outcome === null
        ? { status: 'queued' as const }
        : { status: 'done' as const, outcome, ended_at: sql<Date>`now()` }),
      correlation_id: turn.correlationId,
      inbound: turn.inbound,
    })
    .execute();
  // What is not run is no part of the conversation that the model is shown.
  if (line !== null && outcome === null) {
    await trx
      .insertInto('transcript')
      .values({ ...place, turn_id: turn.id, speaker: 'person', sequence, ...line })
      .execute();
  }
  await advanceWatermark(trx, place);
  return outcome;
}

type NewTurn = ReturnType<typeof toTurn>;

function toTurn(received: InboundReceived, admission: Admission | undefined) {
  const { id, body, correlationId } = received;
  const { conversation, content, requester, sequence, inboundEventId } = body;
  const isText = content.kind === 'text';
  const lane: Lane = isText ? laneOf(parseInbound(content)) : 'answer';
  return {
    id: newId(),
    messageId: id,
    inboundEventId,
    correlationId,
    place: { robot_code: conversation.robotCode, conversation_id: conversation.conversationId },
    kind: conversation.kind,
    sequence,
    lane,
    verdict: verdictOn(received, lane, admission),
    inbound: JSON.stringify(body),
    line: isText ? { name: requester.nick, text: toTranscriptText(content) } : null,
  };
}

/** What the person said, under what they quoted: without it "yes, that one" means nothing. */
function toTranscriptText({ text, quotedText }: { text: string; quotedText: string | null }): string {
  return quotedText === null ? text : `${quotedText.replace(/^/gm, '> ')}\n\n${text}`;
}

type Place = { robot_code: string; conversation_id: string };

/**
 * Moves `recorded_through` over every number that now follows without a gap. Numbers come from the adapter without
 * gaps, but not always in order: what is ahead of a missing number waits. `gap_since` says since when it is that number
 * which everybody waits for: one that came takes its time with it.
 */
export async function advanceWatermark(trx: Trx<AgentTables>, place: Place): Promise<void> {
  await sql`
    with ahead as (
      select sequence, sequence - row_number() over (order by sequence) as run
      from agent_core.turn t
      where (robot_code, conversation_id) = (${place.robot_code}, ${place.conversation_id})
        and sequence > (select recorded_through from agent_core.conversation
                        where (robot_code, conversation_id) = (${place.robot_code}, ${place.conversation_id}))
    ), reached as (
      select max(sequence) filter (where run = c.recorded_through) as through, count(*) as total,
        count(*) filter (where run = c.recorded_through) as in_order
      from ahead, agent_core.conversation c
      where (c.robot_code, c.conversation_id) = (${place.robot_code}, ${place.conversation_id})
    )
    update agent_core.conversation c set
      recorded_through = coalesce(reached.through, c.recorded_through),
      gap_since = case
        when reached.total = reached.in_order then null
        when reached.through is null then coalesce(c.gap_since, now())
        else now() end
    from reached
    where (c.robot_code, c.conversation_id) = (${place.robot_code}, ${place.conversation_id})`.execute(trx);
}
