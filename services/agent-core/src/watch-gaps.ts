import { sql } from 'kysely';
import { createLoop, newId, type Logger, type Loop, type Metrics } from '@steward/service-kit';
import { appendAudit, tell, type Db, type Trx } from '@steward/postgres';
import { advanceWatermark } from './record-inbound.ts';
import type { AgentTables } from './database.ts';

const lookEveryMs = 1_000;
/** A number that is missing for longer than this is asked for again, and again as often. */
const askAfterSeconds = 5;
/**
 * After this the conversation goes on without it: the adapter has nothing to send, or what it sends cannot be read.
 * A silent conversation would be worse; the skipped number is audited, and still worked on should it come.
 */
const skipAfterSeconds = 120;

/** Keeps a lost bus message from stopping a conversation for good. */
export function createGapWatch(o: { db: Db<AgentTables>; log: Logger; metrics: Metrics; wake: () => void }): Loop {
  const asked = o.metrics.counter(
    'steward_inbound_gap_asked_total',
    'Times a missing inbound event was asked for again',
    [],
  );
  const skipped = o.metrics.counter('steward_inbound_gap_skipped_total', 'Numbers that were given up on', []);
  return createLoop({
    name: 'gap-watch',
    idleMs: lookEveryMs,
    log: o.log,
    run: async () => {
      // One at a time: no conversation is locked for the sake of another.
      const gap = await o.db.transaction().execute((trx) => closeGap(trx));
      if (gap === null) return 'idle';
      const { skip, ...fields } = gap;
      if (skip) skipped.inc();
      else asked.inc();
      o.log.warn(skip ? 'inbound.gap.skipped' : 'inbound.gap.asked', fields);
      o.wake();
      return 'more';
    },
  });
}

type Gap = { robotCode: string; conversationId: string; fromSequence: number; toSequence: number; skip: boolean };

async function closeGap(trx: Trx<AgentTables>): Promise<Gap | null> {
  const gap = await claimGap(trx);
  if (gap === null) return null;
  if (gap.skip) await skipGap(trx, gap);
  else await askForGap(trx, gap);
  return gap;
}

/** Locks the conversation whose gap is the oldest due one, then looks how far the gap goes. */
async function claimGap(trx: Trx<AgentTables>): Promise<Gap | null> {
  const { rows } = await sql<{
    robot_code: string;
    conversation_id: string;
    recorded_through: number;
    skip: boolean;
  }>`
    select c.robot_code, c.conversation_id, c.recorded_through,
      c.gap_since < now() - ${skipAfterSeconds} * interval '1 s' as skip
    from agent_core.conversation c
    where c.gap_since < now() - ${askAfterSeconds} * interval '1 s'
      and (c.gap_asked_at is null or c.gap_asked_at < now() - ${askAfterSeconds} * interval '1 s')
    order by c.gap_since
    limit 1
    for update skip locked`.execute(trx);
  const [row] = rows;
  if (row === undefined) return null;
  // A statement of its own: only a snapshot taken under the lock shows what was recorded until then.
  const { next } = await trx
    .selectFrom('turn')
    .select((eb) => eb.fn.min('sequence').$notNull().as('next'))
    .where('robot_code', '=', row.robot_code)
    .where('conversation_id', '=', row.conversation_id)
    .where('sequence', '>', row.recorded_through)
    .executeTakeFirstOrThrow();
  return {
    robotCode: row.robot_code,
    conversationId: row.conversation_id,
    fromSequence: row.recorded_through + 1,
    toSequence: next - 1,
    skip: row.skip,
  };
}

async function askForGap(trx: Trx<AgentTables>, { skip: _, ...missing }: Gap): Promise<void> {
  await conversationOf(trx, missing)
    .set({ gap_asked_at: sql`now()` })
    .execute();
  const id = newId();
  const message = {
    type: 'inbound.missing.v1',
    id,
    correlationId: id,
    causationId: id,
    occurredAt: new Date().toISOString(),
    body: missing,
  } as const;
  await tell(trx, [{ subjectId: id, message }]);
}

async function skipGap(trx: Trx<AgentTables>, gap: Gap): Promise<void> {
  await conversationOf(trx, gap)
    .set({ recorded_through: gap.toSequence, gap_since: null, gap_asked_at: null })
    .execute();
  await advanceWatermark(trx, { robot_code: gap.robotCode, conversation_id: gap.conversationId });
  await appendAudit(trx, 'agent-core', [
    {
      kind: 'inbound.skipped',
      outcome: 'missing',
      robotCode: gap.robotCode,
      conversationId: gap.conversationId,
      detail: { fromSequence: gap.fromSequence, toSequence: gap.toSequence, afterSeconds: skipAfterSeconds },
    },
  ]);
}

function conversationOf(trx: Trx<AgentTables>, gap: { robotCode: string; conversationId: string }) {
  return trx
    .updateTable('conversation')
    .where('robot_code', '=', gap.robotCode)
    .where('conversation_id', '=', gap.conversationId);
}
