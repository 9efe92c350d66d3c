import { newId } from '@steward/service-kit';
import type { BusMessageOf } from '@steward/contracts';

/** What the adapter told and agent-core now holds. */
type Told = { id: string; correlationId: string; body: { inboundEventId: string } };

/** The receipt of what the adapter told, for the transaction that records it: until it arrives the adapter tells again. */
export function toInboundSettled({ id, correlationId, body }: Told, now: Date): BusMessageOf<'inbound.settled.v1'> {
  return {
    type: 'inbound.settled.v1',
    id: newId(),
    correlationId,
    causationId: id,
    occurredAt: now.toISOString(),
    body: { inboundEventId: body.inboundEventId },
  };
}
