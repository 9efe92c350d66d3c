import { sql, type Kysely, type RawBuilder } from 'kysely';
import { receiptOf, type BusMessage } from '@steward/contracts';
import type { OutboxTables, InboxTables } from './tables.ts';
import type { DbOrTrx, Trx } from './connection.ts';

/**
 * What a bus message is about, and what its receipt will name. `delayMs`: not published sooner, and never if it is closed
 * before.
 */
export type Told = { subjectId: string; message: BusMessage; delayMs?: number };

/** Puts bus messages into the outbox, as part of the fact they tell. They leave only if the transaction commits. */
export async function tell<T extends OutboxTables>(trx: Trx<T>, told: readonly Told[]): Promise<void> {
  if (told.length === 0) return;
  await outboxOf(trx)
    .insertInto('outbox')
    .values(
      told.map(({ subjectId, message, delayMs }) => ({
        id: message.id,
        type: message.type,
        subject_id: subjectId,
        message: JSON.stringify(message),
        needs_receipt: receiptOf[message.type] !== null,
        next_publish_at: sql<Date>`now() + ${delayMs ?? 0} * interval '1 ms'`,
      })),
    )
    .execute();
}

/**
 * The same for one message as the step `told` of a WITH of the caller's. `message` may be an expression over the caller's own steps;
 * nothing is told where `onlyIf` does not hold.
 */
export function tellStep(
  schema: string,
  told: Told,
  onlyIf: RawBuilder<unknown>,
  message: RawBuilder<unknown> = sql`${JSON.stringify(told.message)}::jsonb`,
): RawBuilder<unknown> {
  const { id, type } = told.message;
  return sql`told as (
    insert into ${sql.table(`${schema}.outbox`)} (id, type, subject_id, message, needs_receipt, next_publish_at)
    select ${id}::uuid, ${type}, ${told.subjectId}::uuid, ${message}, ${receiptOf[type] !== null}::boolean,
      now() + ${told.delayMs ?? 0}::integer * interval '1 ms'
    where ${onlyIf}
  )`;
}

/** The same for several; `onlyIf` may also look at the message's own row `t`. */
export function tellAllStep(schema: string, told: readonly Told[], onlyIf: RawBuilder<unknown>): RawBuilder<unknown> {
  const rows = told.map(({ subjectId: subject_id, message, delayMs: delay_ms = 0 }) => ({
    ...{ id: message.id, type: message.type, subject_id, message, delay_ms },
    needs_receipt: receiptOf[message.type] !== null,
  }));
  return sql`told as (
    insert into ${sql.table(`${schema}.outbox`)} (id, type, subject_id, message, needs_receipt, next_publish_at)
    select id, type, subject_id, message, needs_receipt, now() + delay_ms * interval '1 ms'
    from jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) as t (
      id uuid, type text, subject_id uuid, message jsonb, needs_receipt boolean, delay_ms integer)
    where ${onlyIf}
  )`;
}

/** Closes what was told about these subjects: the receipt came. Harmless to repeat; returns how many rows it closed. */
export async function closeTold<T extends OutboxTables>(
  db: DbOrTrx<T>,
  o: { types: readonly BusMessage['type'][]; subjectIds: readonly string[] },
): Promise<number> {
  if (o.subjectIds.length === 0) return 0;
  const { numDeletedRows } = await outboxOf(db)
    .deleteFrom('outbox')
    .where(isAnyOf('subject_id', o.subjectIds))
    .where('type', 'in', o.types)
    .executeTakeFirst();
  return Number(numDeletedRows);
}

/** The consumer holds it but has not finished: ask again only after ten minutes, in case its last word gets lost. */
export async function postponeTold<T extends OutboxTables>(
  db: DbOrTrx<T>,
  o: { types: readonly BusMessage['type'][]; subjectIds: readonly string[] },
): Promise<void> {
  await outboxOf(db)
    .updateTable('outbox')
    .set({ next_publish_at: sql`now() + interval '10 minutes'` })
    .where(isAnyOf('subject_id', o.subjectIds))
    .where('type', 'in', o.types)
    .execute();
}

/** One parameter for the whole list: the statement is the same, and stays prepared, whatever its length. */
export const isAnyOf = (column: 'id' | 'subject_id', ids: readonly string[]): RawBuilder<boolean> =>
  sql`${sql.ref(column)} = any(${ids}::uuid[])`;

/** True when this bus message is new to this consumer. Part of the transaction that records it. */
export async function recordOnce<T extends InboxTables>(trx: Trx<T>, messageId: string): Promise<boolean> {
  // Kysely cannot see through a type parameter; every T here has this table.
  const inbox = trx as unknown as Trx<InboxTables>;
  const { numInsertedOrUpdatedRows } = await inbox
    .insertInto('inbox')
    .values({ message_id: messageId })
    .onConflict((oc) => oc.column('message_id').doNothing())
    .executeTakeFirst();
  return numInsertedOrUpdatedRows === 1n;
}

/** Kysely cannot see through a type parameter; every T here has these tables. */
export function outboxOf<T extends OutboxTables>(db: DbOrTrx<T>): Kysely<OutboxTables> {
  return db as unknown as Kysely<OutboxTables>;
}
