import { sql } from 'kysely';
import { newId } from '@steward/service-kit';
import type { BusMessageOf, PersonRequested } from '@steward/contracts';
import { tell, type Db } from '@steward/postgres';
import type { SenderTables } from './database.ts';

/** An answered look-up, as its row has it. */
export type AnsweredLookup = {
  id: string;
  robot_code: string;
  staff_id: string;
  correlation_id: string;
  requested_by: string;
  result: 'found' | 'absent' | 'failed';
  role_ids: string[];
  department_ids: string[];
  answered_at: Date;
};

/** How many old answers go with each new question, so that the table stays as large as a day. */
const pruned = 100;

/**
 * Records that somebody must be looked up, once for each lookupId; the call is made elsewhere, so that no delivery waits for
 * the directory. What has its answer already is told it again. Safe to repeat.
 */
export async function recordPersonLookup(
  o: { db: Db<SenderTables> },
  requested: PersonRequested,
): Promise<'waiting' | 'answered'> {
  const { lookupId, robotCode, staffId } = requested.body;
  return o.db.transaction().execute(async (trx) => {
    await trx
      .deleteFrom('person_lookup')
      .where('id', 'in', (old) =>
        old
          .selectFrom('person_lookup')
          .select('id')
          .where('answered_at', '<', sql<Date>`now() - interval '1 day'`)
          .limit(pruned),
      )
      .execute();
    await trx
      .insertInto('person_lookup')
      .values({
        id: lookupId,
        robot_code: robotCode,
        staff_id: staffId,
        correlation_id: requested.correlationId,
        requested_by: requested.id,
      })
      .onConflict((oc) => oc.column('id').doNothing())
      .execute();
    const row = await trx.selectFrom('person_lookup').selectAll().where('id', '=', lookupId).executeTakeFirstOrThrow();
    const { result, answered_at } = row;
    if (result === null || answered_at === null) return 'waiting';
    await tell(trx, [{ subjectId: lookupId, message: toPersonFound({ ...row, result, answered_at }) }]);
    return 'answered';
  });
}

/** The answer as it travels; `occurredAt` is when the platform said it, however late it is told. */
export function toPersonFound(lookup: AnsweredLookup): BusMessageOf<'person.found.v1'> {
  return {
    type: 'person.found.v1',
    id: newId(),
    correlationId: lookup.correlation_id,
    causationId: lookup.requested_by,
    occurredAt: lookup.answered_at.toISOString(),
    body: {
      lookupId: lookup.id,
      robotCode: lookup.robot_code,
      staffId: lookup.staff_id,
      result: lookup.result,
      roleIds: lookup.role_ids,
      departmentIds: lookup.department_ids,
    },
  };
}
