import { sql } from 'kysely';
import { createBatcher } from '@steward/service-kit';
import type { BusMessageOf } from '@steward/contracts';
import type { Bus } from '@steward/bus';
import { isAnyOf, keepDeadLetter, type Db } from '@steward/postgres';
import type { AdapterTables } from './database.ts';

/** As many receipts share a statement at most. */
const maxSettled = 100;
/** How long a receipt waits for others: nobody waits for it. */
const lingerMs = 50;

/** Listens for receipts and for requests to repeat; `wake` makes the relay look at once. */
export async function consumeReceipts(o: { bus: Bus; db: Db<AdapterTables>; wake: () => void }): Promise<void> {
  const settle = createBatcher({
    ...{ maxBatch: maxSettled, lingerMs },
    work: (inboundEventIds: readonly string[]) => settleInbound(o.db, inboundEventIds),
  });
  await o.bus.consume(
    'adapter.receipts.v1',
    async (message) => {
      if (message.type === 'inbound.settled.v1') await settle(message.body.inboundEventId);
      if (message.type === 'inbound.missing.v1') {
        await publishMissing(o.db, message);
        o.wake();
      }
    },
    { onDead: (letter) => keepDeadLetter(o.db, letter) },
  );
}

/** The receipt: agent-core holds these events, so they are closed here, in one statement. Harmless to repeat. */
async function settleInbound(db: Db<AdapterTables>, inboundEventIds: readonly string[]): Promise<readonly null[]> {
  await db
    .with('closed', (closed) =>
      closed
        .deleteFrom('outbox')
        .where(isAnyOf('subject_id', inboundEventIds))
        .where('type', 'in', ['inbound.received.v1', 'card.clicked.v1', 'person.changed.v1', 'link.interrupted.v1']),
    )
    .updateTable('inbound_event')
    .set({ settled_at: sql`now()` })
    .where(isAnyOf('id', inboundEventIds))
    .where('settled_at', 'is', null)
    .execute();
  return inboundEventIds.map(() => null);
}

/** agent-core waits for these numbers of a conversation: whatever of them is unsettled is due now. */
async function publishMissing(db: Db<AdapterTables>, missing: BusMessageOf<'inbound.missing.v1'>): Promise<void> {
  const { robotCode, conversationId, fromSequence, toSequence } = missing.body;
  await db
    .updateTable('outbox')
    .set({ next_publish_at: sql`now()` })
    .where('subject_id', 'in', (numbered) =>
      numbered
        .selectFrom('inbound_event')
        .select('id')
        .where('source', '=', robotCode)
        .where('conversation_id', '=', conversationId)
        .where('sequence', '>=', fromSequence)
        .where('sequence', '<=', toSequence),
    )
    .execute();
}
