import { sql } from 'kysely';
import { newId } from '@steward/service-kit';
import type { BusMessageOf, OutboundEnding } from '@steward/contracts';
import { appendAudit, closeTold, tell, type AuditEntry, type Trx } from '@steward/postgres';
import type { SenderTables } from './database.ts';

export type Ended = {
  id: string;
  status: OutboundEnding;
  reason: string | null;
  attempt_count: number;
  correlation_id: string;
};

/**
 * Ends an outbound message for good, audits it and tells agent-core; a receipt that has not left yet need not any more.
 * `progress` is what the last attempt added.
 */
export async function endOutbound(
  trx: Trx<SenderTables>,
  ended: Ended,
  now: Date,
  progress: { unknown_count?: number; parts_accepted?: number } = {},
): Promise<void> {
  const { reopened_at } = await trx
    .updateTable('outbound_message')
    .set({ ...progress, status: ended.status, reason: ended.reason, lease_until: null, ended_at: sql`now()` })
    .where('id', '=', ended.id)
    .returning('reopened_at')
    .executeTakeFirstOrThrow();
  await appendAudit(trx, 'outbound-sender', [toEndedEntry(ended)]);
  await closeTold(trx, { types: ['outbound.recorded.v1'], subjectIds: [ended.id] });
  const revised = reopened_at !== null;
  await tell(trx, [{ subjectId: ended.id, message: toOutboundSettled({ ...ended, now, revised }) }]);
}

export const toEndedEntry = (ended: Ended): AuditEntry => ({
  kind: 'outbound.ended',
  outcome: ended.status,
  correlationId: ended.correlation_id,
  subjectId: ended.id,
  detail: { reason: ended.reason, attempts: ended.attempt_count },
});

/** `revised`: an ending was told before, a person decided about it, and this one takes its place. */
export function toOutboundSettled(
  ended: Ended & { now: Date; revised?: boolean },
): BusMessageOf<'outbound.settled.v1'> {
  return {
    type: 'outbound.settled.v1',
    id: newId(),
    correlationId: ended.correlation_id,
    causationId: ended.id,
    occurredAt: ended.now.toISOString(),
    body: {
      outboundMessageId: ended.id,
      ending: ended.status,
      reason: ended.reason,
      attempts: ended.attempt_count,
      ...(ended.revised === true && { revised: true }),
    },
  };
}
