import type { CardClicked } from '@steward/contracts';
import { appendAudit, recordOnce, tell, type Db, type Trx } from '@steward/postgres';
import type { AgentTables } from './database.ts';
import { toInboundSettled } from './inbound-receipt.ts';

/**
 * Records a press of a card's button and tells the adapter that it is held here. What it means is decided afterwards, from
 * the row. True when there is something to decide.
 */
export async function recordCardClick(
  o: { db: Db<AgentTables>; now: () => Date },
  clicked: CardClicked,
): Promise<boolean> {
  return o.db.transaction().execute(async (trx) => {
    const isNew = await recordOnce(trx, clicked.id);
    if (isNew) await insertClick(trx, clicked);
    await tell(trx, [{ subjectId: clicked.body.inboundEventId, message: toInboundSettled(clicked, o.now()) }]);
    return isNew;
  });
}

async function insertClick(trx: Trx<AgentTables>, { body, correlationId }: CardClicked): Promise<void> {
  await trx
    .insertInto('card_click')
    .values({
      inbound_event_id: body.inboundEventId,
      out_track_id: body.outTrackId,
      staff_id: body.staffId,
      corp_id: body.corpId,
      correlation_id: correlationId,
      click: JSON.stringify(body),
    })
    .execute();
  await appendAudit(trx, 'agent-core', [
    {
      kind: 'card.clicked',
      outcome: 'recorded',
      correlationId,
      environment: body.environment,
      actor: { staffId: body.staffId, corpId: body.corpId },
      door: body.door,
      subjectId: body.inboundEventId,
      detail: { outTrackId: body.outTrackId, actionIds: body.actionIds },
    },
  ]);
}
