import { sql } from 'kysely';
import { newId } from '@steward/service-kit';
import type {
  BusMessageOf,
  OutboundContent,
  OutboundContentV2,
  OutboundRequested,
  OutboundRequestedV2,
} from '@steward/contracts';
import { auditSteps, tell, tellStep, type Db, type Told } from '@steward/postgres';
import { splitContent } from '@steward/dingtalk';
import { budgetOf, laneOf } from './choose-path.ts';
import type { SenderTables } from './database.ts';
import { toOutboundSettled } from './end-outbound.ts';

/**
 * Bytes of one part as it is sent: below both limits of the platform (20,000 for a webhook body, 15,000 for msgParam),
 * and short enough to be read on a phone.
 */
const maxPartBytes = 12_000;
/** Most messages end sooner than this; then their ending says it all and the receipt is never published. */
const receiptDelayMs = 2_000;

/** Both versions are the same request; the second can ask for more. */
type Requested = OutboundRequested | OutboundRequestedV2;

/**
 * Records a requested message in the delivery ledger, once, and answers with the receipt. A request that is asked again
 * gets its receipt again, and the ending too if it has ended: whatever was lost on the way back is told once more. True: there is
 * something new to send.
 */
export async function recordOutbound(
  o: { db: Db<SenderTables>; now: () => Date },
  requested: Requested,
): Promise<boolean> {
  const { outboundMessageId } = requested.body;
  const receipt = {
    subjectId: outboundMessageId,
    message: toOutboundRecorded(requested, o.now()),
    delayMs: receiptDelayMs,
  };
  if (await recordNew(o.db, requested, receipt)) return true;
  await o.db.transaction().execute(async (trx) => {
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
  return false;
}

/** One statement; false, with no effect, when the request was recorded before. */
async function recordNew(
  db: Db<SenderTables>,
  { id, body, correlationId }: Requested,
  receipt: Told,
): Promise<boolean> {
  const { content } = body;
  const lane = laneOf(body.lane, content);
  const entry = {
    kind: 'outbound.recorded',
    outcome: 'queued',
    correlationId,
    environment: body.environment,
    subjectId: body.outboundMessageId,
    detail: { lane, target: body.target.kind, content: content.kind, bytes: sizeOf(content) },
  };
  const isNew = sql`exists (select from held)`;
  const { rows } = await sql`
    with held as (
      insert into outbound_sender.inbox (message_id) values (${id}) on conflict (message_id) do nothing returning message_id
    ), recorded as (
      insert into outbound_sender.outbound_message (
        id, after_id, correlation_id, environment, lane, budget, target, content, parts, status)
      select ${body.outboundMessageId}::uuid, ${body.afterOutboundMessageId}::uuid, ${correlationId}::uuid, ${body.environment}, ${lane},
        ${budgetOf(body.target)}, ${JSON.stringify(body.target)}::jsonb, ${JSON.stringify(content)}::jsonb,
        ${JSON.stringify(splitParts(content))}::jsonb, 'queued'
      from held
    ), ${tellStep('outbound_sender', receipt, isNew)}, ${auditSteps('outbound-sender', [entry], isNew)}
    select message_id from held`.execute(db);
  return rows.length === 1;
}

/** What is no text is one part without words. */
function splitParts(content: OutboundContentV2): string[] {
  return isText(content) ? splitContent(content, { maxBytes: maxPartBytes }).map(({ text }) => text) : [''];
}

const sizeOf = (content: OutboundContentV2): number =>
  Buffer.byteLength(isText(content) ? content.text : JSON.stringify(content));

const isText = (content: OutboundContentV2): content is OutboundContent =>
  content.kind === 'text' || content.kind === 'markdown';

function toOutboundRecorded(requested: Requested, now: Date): BusMessageOf<'outbound.recorded.v1'> {
  return {
    type: 'outbound.recorded.v1',
    id: newId(),
    correlationId: requested.correlationId,
    causationId: requested.id,
    occurredAt: now.toISOString(),
    body: { outboundMessageId: requested.body.outboundMessageId },
  };
}
