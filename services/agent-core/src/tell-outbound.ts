import { newId } from '@steward/service-kit';
import {
  outboundContentSchema,
  type BusMessage,
  type Environment,
  type Lane,
  type OutboundContentV2,
  type OutboundTarget,
} from '@steward/contracts';
import { tell, type Trx } from '@steward/postgres';
import type { AgentTables } from './database.ts';

/** One outbound message to be asked for. `after` names the one that must end before it, within the same lane of a place. */
export type OutboundWish = {
  outboundMessageId: string;
  after: string | null;
  environment: Environment;
  lane: Lane;
  target: OutboundTarget;
  content: OutboundContentV2;
  correlationId: string;
  causationId: string;
  now: Date;
};

/** Asks outbound-sender for a message, as part of the fact that makes it necessary. */
export async function tellOutbound(trx: Trx<AgentTables>, wish: OutboundWish): Promise<void> {
  await tell(trx, [{ subjectId: wish.outboundMessageId, message: toOutboundRequested(wish) }]);
}

/** Words go out as version 1, which every sender understands; cards and recalls need version 2. */
export function toOutboundRequested(wish: OutboundWish): BusMessage {
  const { outboundMessageId, environment, lane, target, correlationId, causationId } = wish;
  const envelope = { id: newId(), correlationId, causationId, occurredAt: wish.now.toISOString() };
  const body = { outboundMessageId, afterOutboundMessageId: wish.after, environment, lane, target };
  const words = outboundContentSchema.safeParse(wish.content);
  return words.success
    ? { type: 'outbound.requested.v1', ...envelope, body: { ...body, content: words.data } }
    : { type: 'outbound.requested.v2', ...envelope, body: { ...body, content: wish.content } };
}
