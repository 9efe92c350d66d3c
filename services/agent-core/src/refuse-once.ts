import { sql } from 'kysely';
import type { Db } from '@steward/postgres';
import type { ClaimedTurn } from './claim-turn.ts';
import type { AgentTables } from './database.ts';

/**
 * True for the one turn of a conversation that may carry the polite refusal. The turn's own sequence is the mark, so a
 * turn that crashed after asking here and runs again gets the same answer.
 */
export async function refuseOnce(db: Db<AgentTables>, turn: ClaimedTurn): Promise<boolean> {
  const { numUpdatedRows } = await db
    .updateTable('conversation')
    .set({ refused_sequence: sql<number>`coalesce(refused_sequence, ${turn.sequence})` })
    .where('robot_code', '=', turn.robotCode)
    .where('conversation_id', '=', turn.conversationId)
    .where((eb) => eb.or([eb('refused_sequence', 'is', null), eb('refused_sequence', '=', turn.sequence)]))
    .executeTakeFirst();
  return numUpdatedRows === 1n;
}
