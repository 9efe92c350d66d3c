import { sql } from 'kysely';
import { createBatcher, newId } from '@steward/service-kit';
import type {
  BusMessageOf,
  OutboundContent,
  OutboundContentV2,
  OutboundRequested,
  OutboundRequestedV2,
} from '@steward/contracts';
import { auditSteps, tell, tellAllStep, type AuditEntry, type Db, type Told } from '@steward/postgres';
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
/** As many requests share a statement at most. */
const maxRecords = 50;

/** Both versions are the same request; the second can ask for more. */
type Requested = OutboundRequested | OutboundRequestedV2;

/**
 * Records requested messages in the delivery ledger, each once, and answers with the receipt. A request that is asked again
 * gets its receipt again, and the ending too if it has ended: whatever was lost on the way back is told once more. What is asked
 * for at the same time is written together. True: there is something new to send.
 */
export function createOutboundRecorder(o: {
  db: Db<SenderTables>;
  now: () => Date;
}): (requested: Requested) => Promise<boolean> {
  const receiptFor = (requested: Requested): Told => ({
    subjectId: requested.body.outboundMessageId,
    message: toOutboundRecorded(requested, o.now()),
    delayMs: receiptDelayMs,
  });
  const recordNew = createBatcher({
    maxBatch: maxRecords,
    work: (requests: readonly Requested[]) => insertNew(o.db, requests, requests.map(receiptFor)),
  });
  return async (requested) => {
    if (await recordNew(requested)) return true;
    await tellAgain(o, requested, receiptFor(requested));
    return false;
  };
}

async function tellAgain(
  { db, now }: { db: Db<SenderTables>; now: () => Date },
  { body }: Requested,
  receipt: Told,
): Promise<void> {
  await db.transaction().execute(async (trx) => {
    const known = await trx
      .selectFrom('outbound_message')
      .select(['id', 'status', 'reason', 'attempt_count', 'correlation_id'])
      .where('id', '=', body.outboundMessageId)
      .executeTakeFirstOrThrow();
    const { status } = known;
    if (status === 'queued' || status === 'sending') return tell(trx, [receipt]);
    const message = toOutboundSettled({ ...known, status, now: now() });
    await tell(trx, [{ subjectId: body.outboundMessageId, message }]);
  });
}

/** One statement; says of each request whether it is new. One that was recorded before has no effect. */
async function insertNew(
  db: Db<SenderTables>,
  requests: readonly Requested[],
  receipts: readonly Told[],
): Promise<readonly boolean[]> {
  const { rows } = await sql<{ message_id: string }>`
    with asked as materialized (
      select * from jsonb_to_recordset(${JSON.stringify(requests.map(toRow))}::jsonb) as r (
        message_id uuid, id uuid, after_id uuid, correlation_id uuid, environment text, lane text, budget text,
        target jsonb, content jsonb, parts jsonb)
    ), held as (
      insert into outbound_sender.inbox (message_id) select message_id from asked order by message_id
      on conflict (message_id) do nothing returning message_id
    ), new as materialized (
      select asked.* from asked join held using (message_id)
    ), recorded as (
      insert into outbound_sender.outbound_message (
        id, after_id, correlation_id, environment, lane, budget, target, content, parts, status)
      select id, after_id, correlation_id, environment, lane, budget, target, content, parts, 'queued' from new
    ), ${tellAllStep('outbound_sender', receipts, sql`t.subject_id in (select id from new)`)},
    ${auditSteps('outbound-sender', requests.map(toEntry), sql`r.subject_id::uuid in (select id from new)`)}
    select message_id from new`.execute(db);
  const held = new Set(rows.map(({ message_id }) => message_id));
  return requests.map(({ id }) => held.has(id));
}

function toRow({ id, body, correlationId }: Requested) {
  return {
    message_id: id,
    id: body.outboundMessageId,
    after_id: body.afterOutboundMessageId,
    correlation_id: correlationId,
    environment: body.environment,
    lane: laneOf(body.lane, body.content),
    budget: budgetOf(body.target),
    target: body.target,
    content: body.content,
    parts: splitParts(body.content),
  };
}

function toEntry({ body, correlationId }: Requested): AuditEntry {
  const { content } = body;
  return {
    kind: 'outbound.recorded',
    outcome: 'queued',
    correlationId,
    environment: body.environment,
    subjectId: body.outboundMessageId,
    detail: {
      lane: laneOf(body.lane, content),
      target: body.target.kind,
      content: content.kind,
      bytes: sizeOf(content),
    },
  };
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
