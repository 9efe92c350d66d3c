import { sql, type Kysely } from 'kysely';
import type { BusMessage } from '@steward/contracts';
import { createLoop, type Logger, type Loop, type Metrics } from '@steward/service-kit';
import type { Db } from './connection.ts';
import { isAnyOf, outboxOf } from './outbox.ts';
import type { OutboxTables } from './tables.ts';

/** What the relay needs of a bus: each bus message's fate, in order. */
export type Publisher = {
  publish: (messages: readonly BusMessage[]) => Promise<('confirmed' | 'unroutable' | 'failed')[]>;
  isReady: () => boolean;
};

const batchSize = 200;
/** The slow tick: finds what a lost wake-up left behind, and what is due again. */
const tickMs = 500;

/** A row that the broker refused more often than this needs a person: it is reported, and tried every 10 minutes. */
const stuckAfter = 20;

/**
 * Carries outbox rows to the bus, in as many replicas as there are: a row is claimed by moving its next publication
 * into the future (15 s, doubling to 10 min, ±20 %), then published. That is longer than the broker may take to confirm, so
 * a slow broker does not get everything twice. A row that needs a receipt stays until the receipt deletes it and is
 * published again when it does not come; any other row is deleted by the claim that follows the broker's confirm. What the broker
 * refuses is tried again after 1 s, doubling to 60 s. A crash anywhere in between only means that the row is due again.
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
  // Types that the broker refuses wholly are passed over until the rest of what is due has gone out.
  let passedOver: string[] = [];
  let delivered: string[] = [];
  const loop = createLoop({
    name: 'relay',
    idleMs: tickMs,
    log: o.log,
    run: async () => {
      // While the broker is away nothing is claimed, so that nothing waits out a back-off it did not earn.
      if (!o.bus.isReady()) return 'idle';
      const claimed = await claimDue(db, { passedOver, delivered });
      delivered = [];
      const outcomes = claimed.length === 0 ? [] : await o.bus.publish(claimed.map(({ message }) => message));
      claimed.forEach(({ message, again }, index) => {
        published.inc({ type: message.type, outcome: outcomes[index] ?? 'failed', again: String(again) });
      });
      const confirmed = claimed.filter((_, index) => outcomes[index] === 'confirmed');
      delivered = confirmed.filter(({ needsReceipt }) => !needsReceipt).map(({ id }) => id);
      const refused = claimed.filter((_, index) => outcomes[index] !== 'confirmed');
      if (refused.length > 0) {
        await publishSoonAgain(db, refused);
        reportRefused(o.log, refused, outcomes);
      }
      // Each full batch either confirmed something or passes over one more of the few types: this ends.
      const full = claimed.length === batchSize;
      passedOver = full ? [...passedOver, ...typesOnlyIn(refused, confirmed)] : [];
      return full ? 'more' : 'idle';
    },
  });
  return {
    start: () => loop.start(),
    wake: () => loop.wake(),
    stop: async () => {
      await loop.stop();
      if (delivered.length > 0) await db.deleteFrom('outbox').where(isAnyOf('id', delivered)).execute();
    },
  };
}

function typesOnlyIn(refused: readonly Claimed[], confirmed: readonly Claimed[]): string[] {
  const flowing = new Set(confirmed.map(({ message }) => message.type));
  return [...new Set(refused.map(({ message }) => message.type))].filter((type) => !flowing.has(type));
}

/** One line for a batch. A stuck row is an error each time it is refused, which is every 10 minutes. */
function reportRefused(log: Logger, refused: readonly Claimed[], outcomes: readonly string[]): void {
  const outcome = outcomes.find((one) => one !== 'confirmed');
  log.warn('outbox.publish.refused', { count: refused.length, outcome });
  const stuck = refused.filter(isStuck);
  if (stuck.length === 0) return;
  const types = [...new Set(stuck.map(({ message }) => message.type))];
  log.error('outbox.row.stuck', { count: stuck.length, types, outboxId: stuck[0]?.id, outcome });
}

const isStuck = ({ publishCount }: Claimed): boolean => publishCount > stuckAfter;

type Claimed = { id: string; message: BusMessage; needsReceipt: boolean; again: boolean; publishCount: number };

/** Claims what is due and deletes what is delivered, in one statement. */
async function claimDue(
  db: Kysely<OutboxTables>,
  { passedOver, delivered }: { passedOver: readonly string[]; delivered: readonly string[] },
): Promise<Claimed[]> {
  const rows = await db
    .with('forgotten', (own) => own.deleteFrom('outbox').where(isAnyOf('id', delivered)))
    .updateTable('outbox')
    .set({
      publish_count: sql`publish_count + 1`,
      next_publish_at: sql`now() + least(600, 15 * power(2, least(publish_count, 6))) * (0.8 + 0.4 * random()) * interval '1 s'`,
    })
    .where('id', 'in', (due) =>
      due
        .selectFrom('outbox')
        .select('id')
        .where('next_publish_at', '<=', sql<Date>`now()`)
        .where(sql<boolean>`id <> all(${delivered}::uuid[])`)
        .$if(passedOver.length > 0, (rest) => rest.where('type', 'not in', passedOver))
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
      publishCount: row.publish_count,
    }))
    .sort((a, b) => (a.id < b.id ? -1 : 1));
}

async function publishSoonAgain(db: Kysely<OutboxTables>, refused: readonly Claimed[]): Promise<void> {
  const ids = refused.map(({ id }) => id);
  await db
    .updateTable('outbox')
    .set({
      next_publish_at: sql`now() + interval '1 s'
        * case when publish_count > ${sql.lit(stuckAfter)} then 600 else least(60, power(2, least(publish_count - 1, 6))) end`,
    })
    .where(isAnyOf('id', ids))
    .execute();
}
