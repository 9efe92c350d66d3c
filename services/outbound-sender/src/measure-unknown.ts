import { sql } from 'kysely';
import type { Metrics } from '@steward/service-kit';
import type { Db } from '@steward/postgres';
import type { SenderTables } from './database.ts';

/** How many messages ended `unknown` and wait for a person's word, and for how long the oldest has. Every replica says the same. */
export async function measureUnknown({ db, metrics }: { db: Db<SenderTables>; metrics: Metrics }): Promise<void> {
  const { rows } = await sql<{ count: number; age: number }>`
    select count(*)::int as count, coalesce(extract(epoch from now() - min(ended_at)), 0)::float8 as age
    from outbound_sender.outbound_message where status = 'unknown'`.execute(db);
  metrics
    .gauge('steward_outbound_unknown', 'Outbound messages whose outcome nobody knows and nobody has settled')
    .set(rows[0]?.count ?? 0);
  metrics
    .gauge('steward_outbound_unknown_oldest_seconds', 'How long the oldest of them has waited')
    .set(rows[0]?.age ?? 0);
}
