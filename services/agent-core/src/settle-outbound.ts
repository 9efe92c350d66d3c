import type { BusMessageOf } from '@steward/contracts';
import { appendAudit, closeTold, postponeTold, recordOnce, type Db } from '@steward/postgres';
import { settleTellingCall } from './approvals/settle-telling-call.ts';
import { replaceFailedCard } from './approvals/tell-places.ts';
import type { AgentTables } from './database.ts';
import type { GateContext } from './gate/gate-context.ts';

/** The sender holds the request: publishing it again can wait. */
export async function postponeOutbound(
  db: Db<AgentTables>,
  recorded: BusMessageOf<'outbound.recorded.v1'>,
): Promise<void> {
  const subjectId = recorded.body.outboundMessageId;
  await postponeTold(db, { type: 'outbound.requested.v1', subjectId });
  await postponeTold(db, { type: 'outbound.requested.v2', subjectId });
}

/**
 * The outbound message has ended: the request is closed and its ending audited, once. A call that was waiting for it has its
 * outcome, and a card that could not be made is said in words.
 */
export async function settleOutbound(o: GateContext, settled: BusMessageOf<'outbound.settled.v1'>): Promise<void> {
  const { outboundMessageId, ending, reason, attempts } = settled.body;
  const closed = await o.db.transaction().execute(async (trx) => {
    if (!(await recordOnce(trx, settled.id))) return 0;
    const closed = await closeTold(trx, {
      types: ['outbound.requested.v1', 'outbound.requested.v2'],
      subjectIds: [outboundMessageId],
    });
    // The sender repeats its last word when it is asked again; only the first one closes anything.
    if (closed === 0) return 0;
    await appendAudit(trx, 'agent-core', [
      {
        kind: 'outbound.settled',
        outcome: ending,
        correlationId: settled.correlationId,
        subjectId: outboundMessageId,
        detail: { reason, attempts },
      },
    ]);
    await settleTellingCall(trx, o, settled.body);
    if (ending === 'failed') await replaceFailedCard(trx, o, outboundMessageId);
    return closed;
  });
  if (closed === 0) return;
  o.onTold();
  o.metrics
    .counter('steward_outbound_settled_total', 'Outbound messages by how they ended', ['ending'])
    .inc({ ending });
  // Whatever was not accepted is something that a person may be waiting for.
  if (ending !== 'accepted') {
    o.log.error('outbound.not.accepted', {
      outboundMessageId,
      correlationId: settled.correlationId,
      ending,
      reason,
      attempts,
    });
  }
}
