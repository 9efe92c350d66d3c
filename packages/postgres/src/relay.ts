import { sql, type Kysely } from 'kysely';
import type { BusMessage } from '@steward/contracts';
import { createLoop, type Logger, type Loop, type Metrics } from '@steward/service-kit';
import type { Db } from './connection.ts';
import { outboxOf } from './outbox.ts';
import type { OutboxTables } from './tables.ts';

/** What the relay needs of a bus: each bus message's fate, in order. */
export type Publisher = {
  publish: (messages: readonly BusMessage[]) => Promise<('confirmed' | 'unroutable' | 'failed')[]>;
  isReady: () => boolean;
};

const batchSize = 200;
/** The slow tick: finds what a lost wake-up left behind, and what is due again. */
const tickMs = 500;

/**
 * Carries outbox rows to the bus, in as many replicas as there are: a row is claimed by moving its next publication
 * into the future (5 s, doubling to 10 min, ±20 %), then published. A row that needs a receipt stays until the receipt
 * deletes it and is published again when it does not come; any other row is deleted once the broker confirmed it.
 * A crash anywhere in between only means that the row is due again.
 */
export function createRelay<T extends OutboxTables>(o: {
  db: Db<T>;
  bus: Publisher;
  log: Logger;
  metrics: Metrics;
}): Loop {
  const db = outboxOf(o.db);
  const published = o.metrics.counter(
    'steward_outbox_published_total',
    'Outbox rows published; `again` is republication',
    ['type', 'outcome', 'again'],
  );
  return createLoop({
    name: 'relay',
    idleMs: tickMs,
    log: o.log,
    run: async () => {
      // While the broker is away nothing is claimed, so that nothing waits out a back-off it did not earn.
      if (!o.bus.isReady()) return 'idle';
      const claimed = await claimDue(db);
      if (claimed.length === 0) return 'idle';
      const outcomes = await o.bus.publish(claimed.map(({ message }) => message));
      claimed.forEach(({ message, again }, index) => {
        published.inc({ type: message.type, outcome: outcomes[index] ?? 'failed', again: String(again) });
      });
      await forgetConfirmed(
        db,
        claimed.filter((_, index) => outcomes[index] === 'confirmed'),
      );
      const refused = claimed.filter((_, index) => outcomes[index] !== 'confirmed');
      if (refused.length === 0) return claimed.length === batchSize ? 'more' : 'idle';
      o.log.warn('outbox.publish.refused', { count: refused.length, outcome: outcomes.find((x) => x !== 'confirmed') });
      await publishSoonAgain(db, refused);
      return 'idle';
    },
  });
}

type Claimed = { id: string; message: BusMessage; needsReceipt: boolean; again: boolean };

async function claimDue(db: Kysely<OutboxTables>): Promise<Claimed[]> {
  const rows = await db
    .updateTable('outbox')
    .set({
      publish_count: sql`publish_count + 1`,
      next_publish_at: sql`now() + least(600, 5 * power(2, least(publish_count, 7))) * (0.8 + 0.4 * random()) * interval '1 s'`,
    })
    .where('id', 'in', (due) =>
      due
        .selectFrom('outbox')
        .select('id')
        .where('next_publish_at', '<=', sql<Date>`now()`)
        .orderBy('next_publish_at')
        .limit(batchSize)
        .forUpdate()
        .skipLocked(),
    )
    .returning(['id', 'message', 'needs_receipt', 'publish_count'])
    .execute();
  return rows
    .map((row) => ({
      id: row.id,
      message: row.message,
      needsReceipt: row.needs_receipt,
      again: row.publish_count > 1,
    }))
    .sort((a, b) => (a.id < b.id ? -1 : 1));
}

async function forgetConfirmed(db: Kysely<OutboxTables>, confirmed: readonly Claimed[]): Promise<void> {
  const ids = confirmed.filter(({ needsReceipt }) => !needsReceipt).map(({ id }) => id);
  if (ids.length > 0) await db.deleteFrom('outbox').where('id', 'in', ids).execute();
}

async function publishSoonAgain(db: Kysely<OutboxTables>, refused: readonly Claimed[]): Promise<void> {
  const ids = refused.map(({ id }) => id);
  await db
    .updateTable('outbox')
    .set({ next_publish_at: sql`now() + interval '1 s'`, publish_count: sql`publish_count - 1` })
    .where('id', 'in', ids)
    .execute();
}
