import { CompiledQuery } from 'kysely';
import type { Query, Transact } from '@steward/audit';
import type { Db, DbOrTrx, OutboxTables } from '@steward/postgres';

/** The sealer has no tables of its own; of these it uses the audit log. */
export type SealerTables = OutboxTables;

/** Statements of packages/audit, on this connection. */
export const queryOn =
  (db: DbOrTrx<SealerTables>): Query =>
  async <T>(text: string, values: readonly unknown[] = []) => {
    const { rows } = await db.executeQuery<T>(CompiledQuery.raw(text, [...values]));
    return rows;
  };

/** The same in one transaction. */
export const transactOn =
  (db: Db<SealerTables>): Transact =>
  (work) =>
    db.transaction().execute((trx) => work(queryOn(trx)));
