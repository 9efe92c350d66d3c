import { sql } from 'kysely';
import type { Trx } from '@steward/postgres';
import type { ClaimedTurn } from './claim-turn.ts';
import { fenced } from './claim-turn.ts';
import type { AgentTables } from './database.ts';

/**
 * Lets a waiting turn go on. The row is locked before it is looked at: a turn that is just now being put aside is waited for,
 * so that no decision falls between the two, but not one that is worked on. Only the attempts from here on count as crashes.
 */
export async function wakeTurn(trx: Trx<AgentTables>, turnId: string): Promise<void> {
  await trx.selectFrom('turn').select('id').where('id', '=', turnId).forNoKeyUpdate().execute();
  await trx
    .updateTable('turn')
    .set({ status: 'queued', next_attempt_at: sql`now()`, resumed_at_attempt: sql<number>`attempt` })
    .where('id', '=', turnId)
    .where('status', '=', 'waiting')
    .execute();
}

/** An open call of the turn that has something to do now. Frozen ones wait for the switch. */
export const hasWork = sql<boolean>`(exists (
  select from agent_core.tool_call c
  left join agent_core.approval_request r on r.tool_call_id = c.id
  left join lateral (
    select a.closed_at, a.outbound_message_id from agent_core.tool_attempt a
    where a.tool_call_id = c.id order by a.number desc limit 1) a on true
  where c.turn_id = t.id and c.ended_at is null and (
    c.status = 'ready'
    or (c.status = 'waiting' and r.status = 'approved'
      and not (select f.frozen from agent_core.freeze f where f.environment = c.environment))
    or (c.status = 'running' and (a.closed_at is not null or a.outbound_message_id is null))))
  or not exists (select from agent_core.tool_call c where c.turn_id = t.id and c.ended_at is null))`;

/** A turn with a call that is held is looked at again after this, and leaves its lane to others meanwhile. */
const heldSeconds = 3;

/**
 * Puts a turn aside until people, or another service, have done their part. False: the turn is not ours any more. What was
 * decided a moment ago is seen under the row's lock, and such a turn is due at once. With `isHeld` it waits for a while.
 */
export async function putAside(
  trx: Trx<AgentTables>,
  turn: ClaimedTurn,
  { line, isHeld }: { line: string; isHeld: boolean },
): Promise<boolean> {
  const { numUpdatedRows } = await fenced(trx, turn)
    .set({
      status: 'waiting',
      lease_until: null,
      next_attempt_at: sql`now() + ${isHeld ? heldSeconds : 0} * interval '1 s'`,
    })
    .executeTakeFirst();
  if (numUpdatedRows !== 1n) return false;
  if (!isHeld) {
    await sql`
      update agent_core.turn t set status = 'queued', resumed_at_attempt = t.attempt
      where t.id = ${turn.id} and ${hasWork}`.execute(trx);
  }
  if (line !== '') {
    // What a later turn of the conversation sees of this one: a closed line, never an open call (note O1).
    await trx
      .insertInto('transcript')
      .values({
        turn_id: turn.id,
        speaker: 'robot',
        robot_code: turn.robotCode,
        conversation_id: turn.conversationId,
        sequence: turn.sequence,
        name: 'steward',
        text: line,
      })
      .onConflict((oc) => oc.columns(['turn_id', 'speaker']).doUpdateSet({ text: line }))
      .execute();
  }
  return true;
}
