import { newId } from '@steward/service-kit';
import type { BusMessageOf, OutboundRequested } from '@steward/contracts';
import { appendAudit, recordOnce, tell, type Db, type Trx } from '@steward/postgres';
import { splitContent } from '@steward/dingtalk';
import { budgetOf } from './choose-path.ts';
import type { SenderTables } from './database.ts';
import { toOutboundSettled } from './end-outbound.ts';

/**
 * Bytes of one part as it is sent: below both limits of the platform (20,000 for a webhook body, 15,000 for msgParam),
 * and short enough to be read on a phone.
 */
const maxPartBytes = 12_000;
/** Most messages end sooner than this; then their ending says it all and the receipt is never published. */
const receiptDelayMs = 2_000;

/**
 * Records a requested message in the delivery ledger, once, and answers with the receipt. A request that is asked again
 * gets its receipt again, and the ending too if it has ended: whatever was lost on the way back is told once more.
 */
export async function recordOutbound(
  o: { db: Db<SenderTables>; now: () => Date },
  requested: OutboundRequested,
): Promise<void> {
  const { outboundMessageId } = requested.body;
  await o.db.transaction().execute(async (trx) => {
    const receipt = {
      subjectId: outboundMessageId,
      message: toOutboundRecorded(requested, o.now()),
      delayMs: receiptDelayMs,
    };
    if (await recordOnce(trx, requested.id)) {
      await insertMessage(trx, requested);
      return tell(trx, [receipt]);
    }
    const known = await trx
      .selectFrom('outbound_message')
      .select(['id', 'status', 'reason', 'attempt_count', 'correlation_id'])
      .where('id', '=', outboundMessageId)
      .executeTakeFirstOrThrow();
    const { status } = known;
    if (status === 'queued' || status === 'sending') return tell(trx, [receipt]);
    const message = toOutboundSettled({ ...known, status, now: o.now() });
    await tell(trx, [{ subjectId: outboundMessageId, message }]);
  });
}

async function insertMessage(trx: Trx<SenderTables>, { body, correlationId }: OutboundRequested): Promise<void> {
  await trx
    .insertInto('outbound_message')
    .values({
      id: body.outboundMessageId,
      after_id: body.afterOutboundMessageId,
      correlation_id: correlationId,
      environment: body.environment,
      lane: body.lane,
      budget: budgetOf(body.target),
      target: JSON.stringify(body.target),
      content: JSON.stringify(body.content),
      parts: JSON.stringify(splitContent(body.content, { maxBytes: maxPartBytes }).map(({ text }) => text)),
      status: 'queued',
    })
    .execute();
  await appendAudit(trx, 'outbound-sender', [
    {
      kind: 'outbound.recorded',
      outcome: 'queued',
      correlationId,
      environment: body.environment,
      subjectId: body.outboundMessageId,
      detail: { lane: body.lane, target: body.target.kind, bytes: Buffer.byteLength(body.content.text) },
    },
  ]);
}

function toOutboundRecorded(requested: OutboundRequested, now: Date): BusMessageOf<'outbound.recorded.v1'> {
  return {
    type: 'outbound.recorded.v1',
    id: newId(),
    correlationId: requested.correlationId,
    causationId: requested.id,
    occurredAt: now.toISOString(),
    body: { outboundMessageId: requested.body.outboundMessageId },
  };
}
