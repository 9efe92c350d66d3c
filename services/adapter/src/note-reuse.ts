import { appendAudit, type Db } from '@steward/postgres';
import type { AdapterTables } from './database.ts';

/** Keeps that one signature proved several messages: a finding for a person to look at, and an audit entry. */
export async function noteReuse(
  db: Db<AdapterTables>,
  use: { robot: string; msgId: string; count: number },
): Promise<void> {
  await db.transaction().execute(async (trx) => {
    await trx
      .insertInto('security_finding')
      .values({ kind: 'signature_reused', source: use.robot, source_id: use.msgId, count: use.count })
      .execute();
    await appendAudit(trx, 'adapter', [{ kind: 'signature.reused', outcome: 'noted', detail: use }]);
  });
}
