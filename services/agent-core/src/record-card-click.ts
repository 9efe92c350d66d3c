import { newId } from '@steward/service-kit';
import type { CardClicked } from '@steward/contracts';
import { appendAudit, recordOnce, tell, type Db } from '@steward/postgres';
import type { AgentTables } from './database.ts';

/**
 * Records a press of a card's button and tells the adapter that it is held here. No card that Steward sends has
 * buttons yet, so a press decides nothing: it is kept and audited as `ignored`.
 */
export async function recordCardClick(
  o: { db: Db<AgentTables>; now: () => Date },
  clicked: CardClicked,
): Promise<void> {
  const { body, correlationId } = clicked;
  await o.db.transaction().execute(async (trx) => {
    if (await recordOnce(trx, clicked.id)) {
      await trx
        .insertInto('card_click')
        .values({
          inbound_event_id: body.inboundEventId,
          out_track_id: body.outTrackId,
          staff_id: body.staffId,
          corp_id: body.corpId,
          correlation_id: correlationId,
          click: JSON.stringify({ actionIds: body.actionIds, params: body.params, spaceId: body.spaceId }),
        })
        .execute();
      await appendAudit(trx, 'agent-core', [
        {
          kind: 'card.clicked',
          outcome: 'ignored',
          correlationId,
          environment: body.environment,
          actor: { staffId: body.staffId, corpId: body.corpId },
          subjectId: body.inboundEventId,
          detail: { outTrackId: body.outTrackId, actionIds: body.actionIds },
        },
      ]);
    }
    const receipt = {
      type: 'inbound.settled.v1',
      id: newId(),
      correlationId,
      causationId: clicked.id,
      occurredAt: o.now().toISOString(),
      body: { inboundEventId: body.inboundEventId },
    } as const;
    await tell(trx, [{ subjectId: body.inboundEventId, message: receipt }]);
  });
}
