import { sql } from 'kysely';
import { newId } from '@steward/service-kit';
import type { BusMessageOf, InboundReceived } from '@steward/contracts';
import { recordOnce, tell, type Db, type Trx } from '@steward/postgres';
import type { AgentTables } from './database.ts';
import { laneOf, parseInbound } from './parse-command.ts';

/**
 * Records an inbound event as a queued turn with its line of transcript, and tells the adapter that it is held here.
 * A bus message that was recorded before is answered with its receipt again and has no other effect.
 */
export async function recordInbound(
  o: { db: Db<AgentTables>; now: () => Date },
  received: InboundReceived,
): Promise<void> {
  await o.db.transaction().execute(async (trx) => {
    if (await recordOnce(trx, received.id)) await recordTurn(trx, received);
    await tell(trx, [{ subjectId: received.body.inboundEventId, message: toInboundSettled(received, o.now()) }]);
  });
}

async function recordTurn(trx: Trx<AgentTables>, { body, correlationId }: InboundReceived): Promise<void> {
  const { conversation, content, requester, sequence } = body;
  const place = { robot_code: conversation.robotCode, conversation_id: conversation.conversationId };
  const turnId = newId();
  // The row lock serialises the recording of one conversation, so that the watermark misses no number. Where nothing
  // waits for an earlier number, the next one moves it here and now.
  const { rows } = await sql<{ recorded_through: number }>`
    insert into agent_core.conversation as c (robot_code, conversation_id, kind, recorded_through)
    values (${place.robot_code}, ${place.conversation_id}, ${conversation.kind}, ${sequence === 1 ? 1 : 0})
    on conflict (robot_code, conversation_id) do update set kind = excluded.kind,
      recorded_through = c.recorded_through
        + case when c.gap_since is null and c.recorded_through + 1 = ${sequence} then 1 else 0 end
    returning recorded_through`.execute(trx);
  await trx
    .insertInto('turn')
    .values({
      ...place,
      id: turnId,
      inbound_event_id: body.inboundEventId,
      sequence,
      lane: content.kind === 'text' ? laneOf(parseInbound(content)) : 'answer',
      status: 'queued',
      correlation_id: correlationId,
      inbound: JSON.stringify(body),
    })
    .execute();
  if (content.kind === 'text') {
    await trx
      .insertInto('transcript')
      .values({
        ...place,
        turn_id: turnId,
        speaker: 'person',
        sequence,
        name: requester.nick,
        text: toTranscriptText(content),
      })
      .execute();
  }
  if ((rows[0]?.recorded_through ?? 0) < sequence) await advanceWatermark(trx, place);
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

function toInboundSettled(received: InboundReceived, now: Date): BusMessageOf<'inbound.settled.v1'> {
  return {
    type: 'inbound.settled.v1',
    id: newId(),
    correlationId: received.correlationId,
    causationId: received.id,
    occurredAt: now.toISOString(),
    body: { inboundEventId: received.body.inboundEventId },
  };
}
