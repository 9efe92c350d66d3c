import { sql } from 'kysely';
import { newId } from '@steward/service-kit';
import type { OutboundContent } from '@steward/contracts';
import { appendAudit, type Db, type Trx } from '@steward/postgres';
import { fenced, type ClaimedTurn } from './claim-turn.ts';
import type { AgentTables } from './database.ts';
import { tellOutbound } from './tell-outbound.ts';

/** How a turn came out: what it says (null: nothing) and one word for the audit log. */
export type TurnResult = {
  status: 'done' | 'failed';
  outcome: string;
  answer: OutboundContent | null;
  detail?: Record<string, unknown>;
  /** The model that worked on it and the prompt it was given, if one did. */
  model?: { name: string; promptHash: string };
};

/**
 * Ends a turn: status, answer, transcript and audit entry in one transaction. Returns false, with no effect at all,
 * when this process has lost the turn to another one: the fence is checked first, under the row's lock.
 */
export async function endTurn(
  o: { db: Db<AgentTables>; now: () => Date },
  turn: ClaimedTurn,
  result: TurnResult,
): Promise<boolean> {
  return o.db.transaction().execute(async (trx) => {
    const { numUpdatedRows } = await fenced(trx, turn)
      .set({ status: result.status, outcome: result.outcome, lease_until: null, ended_at: sql`now()` })
      .executeTakeFirst();
    if (numUpdatedRows !== 1n) return false;
    const outboundMessageId = result.answer ? await say(trx, turn, result.answer, o.now()) : null;
    await appendAudit(trx, 'agent-core', [
      {
        kind: 'turn.ended',
        outcome: result.outcome,
        correlationId: turn.correlationId,
        environment: turn.environment,
        robotCode: turn.robotCode,
        conversationId: turn.conversationId,
        actor: turn.inbound.requester,
        door: turn.inbound.door,
        subjectId: turn.id,
        model: result.model?.name ?? null,
        promptHash: result.model?.promptHash ?? null,
        detail: {
          ...result.detail,
          lane: turn.lane,
          sequence: turn.sequence,
          attempt: turn.attempt,
          outboundMessageId,
        },
      },
    ]);
    return true;
  });
}

/** Asks outbound-sender to answer where the question was asked, after the previous answer of the same lane. */
async function say(trx: Trx<AgentTables>, turn: ClaimedTurn, content: OutboundContent, now: Date): Promise<string> {
  const place = { robot_code: turn.robotCode, conversation_id: turn.conversationId };
  const outboundMessageId = newId();
  const after = await moveTail(trx, turn, outboundMessageId);
  await trx
    .insertInto('transcript')
    .values({
      ...place,
      turn_id: turn.id,
      speaker: 'robot',
      sequence: turn.sequence,
      name: 'steward',
      text: content.text,
    })
    // A turn that had to wait has a line already that says so.
    .onConflict((oc) => oc.columns(['turn_id', 'speaker']).doUpdateSet({ text: content.text }))
    .execute();
  const { conversation, requester, replyAddress, inboundEventId } = turn.inbound;
  await tellOutbound(trx, {
    outboundMessageId,
    after,
    environment: turn.environment,
    lane: turn.lane,
    target: { kind: 'reply', conversation, staffId: requester.staffId, replyAddress },
    content,
    correlationId: turn.correlationId,
    causationId: inboundEventId,
    now,
  });
  return outboundMessageId;
}

/** Makes this the last outbound message of its lane and returns the one before, if any. */
async function moveTail(trx: Trx<AgentTables>, turn: ClaimedTurn, outboundMessageId: string): Promise<string | null> {
  const { rows } = await sql<{ previous: string | null }>`
    with previous as (
      select outbound_message_id from agent_core.outbound_tail
      where (robot_code, conversation_id, lane) = (${turn.robotCode}, ${turn.conversationId}, ${turn.lane})
    )
    insert into agent_core.outbound_tail (robot_code, conversation_id, lane, outbound_message_id)
    values (${turn.robotCode}, ${turn.conversationId}, ${turn.lane}, ${outboundMessageId})
    on conflict (robot_code, conversation_id, lane) do update set outbound_message_id = excluded.outbound_message_id
    returning (select outbound_message_id from previous) as previous`.execute(trx);
  return rows[0]?.previous ?? null;
}
