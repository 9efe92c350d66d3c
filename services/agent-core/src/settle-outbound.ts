import type { BusMessageOf } from '@steward/contracts';
import { appendAudit, closeTold, postponeTold, recordOnce, type Db } from '@steward/postgres';
import type { AgentTables } from './database.ts';

/** The sender holds the request: publishing it again can wait. */
export async function postponeOutbound(
  db: Db<AgentTables>,
  recorded: BusMessageOf<'outbound.recorded.v1'>,
): Promise<void> {
  await postponeTold(db, { type: 'outbound.requested.v1', subjectId: recorded.body.outboundMessageId });
}

/** The outbound message has ended: the request is closed and its ending audited, once. */
export async function settleOutbound(db: Db<AgentTables>, settled: BusMessageOf<'outbound.settled.v1'>): Promise<void> {
  const { outboundMessageId, ending, reason, attempts } = settled.body;
  await db.transaction().execute(async (trx) => {
    if (!(await recordOnce(trx, settled.id))) return;
    const closed = await closeTold(trx, { types: ['outbound.requested.v1'], subjectIds: [outboundMessageId] });
    // The sender repeats its last word when it is asked again; only the first one closes anything.
    if (closed === 0) return;
    await appendAudit(trx, 'agent-core', [
      {
        kind: 'outbound.settled',
        outcome: ending,
        correlationId: settled.correlationId,
        subjectId: outboundMessageId,
        detail: { reason, attempts },
      },
    ]);
  });
}
