import { sql } from 'kysely';
import type { Db } from '@steward/postgres';
import type { AdapterTables } from './database.ts';

/** Deletes at most so many events that left the ledger's 30 days; the database knows which. Returns how many. */
export const retireEvents = (db: Db<AdapterTables>, rows: number): Promise<number> =>
  readCount(sql<{ count: number }>`select adapter.retire_events(${rows}::integer) as count`.execute(db));

/** The same for security findings, after half a year. */
export const retireFindings = (db: Db<AdapterTables>, rows: number): Promise<number> =>
  readCount(sql<{ count: number }>`select adapter.retire_findings(${rows}::integer) as count`.execute(db));

const readCount = async (answer: Promise<{ rows: { count: number }[] }>): Promise<number> =>
  (await answer).rows[0]?.count ?? 0;
