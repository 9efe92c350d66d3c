import { createHash } from 'node:crypto';
import { sql, type Kysely } from 'kysely';
import { z } from 'zod';
import { busMessageSchema } from '@steward/contracts';
import { createLoop, newId, type Logger, type Loop, type Metrics } from '@steward/service-kit';
import { appendAudit } from './audit.ts';
import type { Db, DbOrTrx } from './connection.ts';
import type { OperatorAnswer, OperatorDesk, OperatorRequest } from './operator-desk.ts';
import { outboxOf } from './outbox.ts';
import type { DeadLetterTables, OutboxTables } from './tables.ts';

/** A bus message as it died: its body is what was on the wire, the rest what its sender and the bus said of it. */
export type DeadDelivery = {
  queue: string;
  code: string;
  body: Buffer;
  type: string | null;
  messageId: string | null;
  correlationId: string | null;
};

/** No bus message is longer; of what is, the beginning is kept. */
const maxBodyBytes = 256 * 1024;
const maxNameLength = 200;

/**
 * Keeps a copy of a dead bus message where people can look at it. The same body in the same queue is one row, however often
 * it dies: open again if somebody had it redriven, and left alone if somebody discarded it. Safe to repeat.
 */
export async function keepDeadLetter<T extends OutboxTables>(db: Db<T>, letter: DeadDelivery): Promise<void> {
  const said = (text: string | null) => (text === null ? null : clean(text));
  await lettersOf(db)
    .insertInto('dead_letter')
    .values({
      id: newId(),
      queue: letter.queue,
      body_hash: createHash('sha256').update(letter.body).digest(),
      body: letter.body.subarray(0, maxBodyBytes),
      bytes: letter.body.length,
      type: said(letter.type),
      message_id: said(letter.messageId),
      correlation_id: said(letter.correlationId),
      code: clean(letter.code),
    })
    .onConflict((oc) =>
      oc.columns(['queue', 'body_hash']).doUpdateSet({
        code: clean(letter.code),
        died_count: sql`dead_letter.died_count + 1`,
        last_died_at: sql`now()`,
        state: sql`case dead_letter.state when 'redriven' then 'open' else dead_letter.state end`,
      }),
    )
    .execute();
}

/** Foreign text as a column takes it: no NUL, no half character, and short. */
const clean = (text: string): string => text.toWellFormed().replaceAll('\0', '\uFFFD').slice(0, maxNameLength);

const requestSchema = z.object({
  id: z.uuid(),
  reason: z.string().trim().min(1).max(500),
  /** How many decisions about it the operator had seen. */
  seen: z.number().int().min(0).max(10_000),
});

/**
 * What an operator wants done with a dead bus message: `dead.redrive` puts it into this service's outbox as it was, to go
 * through its queue once more; `dead.discard` lets it rest. Once for each death; asked again it says what was decided.
 */
export async function decideDeadLetter<T extends OutboxTables>(
  o: { db: Db<T>; desk: OperatorDesk },
  request: Pick<OperatorRequest, 'id' | 'verb' | 'body' | 'asked_by'>,
): Promise<OperatorAnswer> {
  const parsed = requestSchema.safeParse(request.body);
  if (!parsed.success) return { ok: false, text: 'this needs id, reason and how many decisions were seen' };
  const { id, reason, seen } = parsed.data;
  const state = request.verb === 'dead.redrive' ? 'redriven' : 'discarded';
  return o.db.transaction().execute(async (trx): Promise<OperatorAnswer> => {
    const db = lettersOf(trx);
    const letter = await db.selectFrom('dead_letter').selectAll().where('id', '=', id).forUpdate().executeTakeFirst();
    if (letter === undefined) return { ok: false, text: 'there is no such dead letter' };
    if (letter.decisions > seen || letter.state !== 'open') {
      const text =
        letter.state === 'open'
          ? 'decided already, and it died again since: look at it first'
          : `decided already: ${letter.state}, by ${letter.decided_by ?? 'nobody'}`;
      return { ok: letter.state === state && letter.decisions <= seen + 1, text };
    }
    if (state === 'redriven') {
      const message = readMessage(letter);
      if (message === null)
        return {
          ok: false,
          text: 'this version does not understand it, so it would die again; discard it, or upgrade first',
        };
      // Whoever told it first waits for its receipt. This is one more copy, and is forgotten once the broker has it.
      await outboxOf(trx)
        .insertInto('outbox')
        .values({
          id: message.id,
          type: message.type,
          subject_id: message.id,
          message: JSON.stringify(message),
          needs_receipt: false,
        })
        .onConflict((oc) => oc.column('id').doNothing())
        .execute();
    }
    await db
      .updateTable('dead_letter')
      .set({
        state,
        decisions: letter.decisions + 1,
        decided_by: request.asked_by,
        decided_reason: reason,
        decided_at: sql`now()`,
      })
      .where('id', '=', id)
      .execute();
    await appendAudit(trx, o.desk, [
      {
        kind: 'dead.decided',
        outcome: state,
        door: 'cli',
        subjectId: id,
        detail: {
          queue: letter.queue,
          type: letter.type,
          messageId: letter.message_id,
          code: letter.code,
          diedCount: letter.died_count,
          account: request.asked_by,
          requestId: request.id,
        },
        personal: { reason },
      },
    ]);
    return { ok: true, text: state === 'redriven' ? `it goes to ${letter.queue} once more` : 'it rests' };
  });
}

/** The message that the letter holds, if this version can read the whole of it. */
function readMessage(letter: { body: Uint8Array; bytes: number }) {
  if (letter.body.length !== letter.bytes) return null;
  try {
    const parsed = busMessageSchema.safeParse(JSON.parse(Buffer.from(letter.body).toString('utf8')));
    return parsed.success ? parsed.data : null;
  } catch {
    return null;
  }
}

/** Counts, every 10 s, the dead letters of this service that wait for a person, by queue. Every replica says the same. */
export function createDeadLetterGauge<T extends OutboxTables>(o: {
  db: Db<T>;
  metrics: Metrics;
  log: Logger;
  queues: readonly string[];
}): Loop {
  const help = 'Dead bus messages that nobody has decided about';
  const gauge = o.metrics.gauge('steward_dead_letters_open', help, ['queue']);
  return createLoop({
    name: 'dead letters',
    idleMs: 10_000,
    log: o.log,
    run: async () => {
      const counted = await lettersOf(o.db)
        .selectFrom('dead_letter')
        .select((eb) => ['queue', eb.fn.countAll<number>().as('count')])
        .where('state', '=', 'open')
        .groupBy('queue')
        .execute();
      for (const queue of o.queues) gauge.set({ queue }, counted.find((row) => row.queue === queue)?.count ?? 0);
      return 'idle';
    },
  });
}

/** Kysely cannot see through a type parameter; every service that consumes has this table. */
const lettersOf = <T>(db: DbOrTrx<T>): Kysely<DeadLetterTables> => db as unknown as Kysely<DeadLetterTables>;
