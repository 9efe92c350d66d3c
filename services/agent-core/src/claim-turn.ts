import { sql, type RawBuilder } from 'kysely';
import { AppError, createBatcher, newId } from '@steward/service-kit';
import type { Environment, InboundReceived, Lane } from '@steward/contracts';
import type { Db, DbOrTrx, Trx } from '@steward/postgres';
import type { AgentTables } from './database.ts';

/** A turn that this process may work on until its lease ends. `attempt` is the fence: an older attempt cannot end it. */
export type ClaimedTurn = {
  id: string;
  robotCode: string;
  conversationId: string;
  sequence: number;
  lane: Lane;
  attempt: number;
  /** The attempt before it last went on after a wait: the attempts since then are its tries. */
  resumedAtAttempt: number;
  correlationId: string;
  /** How long ago it was recorded, by the database's clock, when it was claimed. */
  ageSeconds: number;
  environment: Environment;
  inbound: InboundReceived['body'];
  /** The lease of another process, or of an earlier life of this one, had run out. */
  isTakenOver: boolean;
  /** How its conversation fared lately. */
  room: RoomHealth;
};

/** Failures of a conversation as they were when the turn was claimed (`cool-down.ts`). */
export type RoomHealth = {
  failures: number;
  errorCode: string | null;
  /** How long ago the room heard of that error. */
  errorAgeSeconds: number | null;
  errorsUntold: number;
};

/** A process that is not heard of for so long has lost its turns; it says that it is there every second (`hold-leases.ts`). */
export const leaseSeconds = 4;
/** Claims that share a statement at most; a process has no more slots than this. */
const maxClaims = 16;

/**
 * Claims the next turn of the given lanes: the oldest open one of a lane of a conversation in which none runs, of the
 * conversation that was served longest ago, so that a noisy room waits for the quiet ones. A turn whose lease ran out is
 * claimed again with a higher attempt, before anything else of its lane: it holds the lane's place, even where a number
 * that was skipped has come late and is older; the audit log says so. A conversation that cools down after errors waits, its
 * commands apart. Returns null when nothing is due.
 */
export async function claimTurn(db: Db<AgentTables>, lanes: readonly Lane[]): Promise<ClaimedTurn | null> {
  const [turn] = await claimTurns(db, lanes, 1);
  return turn ?? null;
}

/** `claimTurn` for slots of one process: those that ask at the same time share a statement. */
export function createClaimer(db: Db<AgentTables>, lanes: readonly Lane[]): () => Promise<ClaimedTurn | null> {
  const claim = createBatcher({
    maxBatch: maxClaims,
    work: async (askers: readonly null[]) => {
      const turns = await claimTurns(db, lanes, askers.length);
      return askers.map((_, at) => turns[at] ?? null);
    },
  });
  return () => claim(null);
}

async function claimTurns(db: Db<AgentTables>, lanes: readonly Lane[], count: number): Promise<ClaimedTurn[]> {
  const { rows } = await sql<{
    id: string;
    robot_code: string;
    conversation_id: string;
    sequence: number;
    lane: Lane;
    attempt: number;
    resumed_at_attempt: number;
    correlation_id: string;
    age_seconds: number;
    inbound: InboundReceived['body'];
    is_taken_over: boolean;
    failures: number;
    error_code: string | null;
    error_age_seconds: number | null;
    errors_untold: number;
  }>`
    ${nextTurns(lanes, count)}, taken as (
      insert into audit.entry
        (id, service, kind, outcome, correlation_id, environment, robot_code, conversation_id, subject_id, detail)
      select (${Array.from({ length: count }, newId)}::uuid[])[row_number() over ()], 'agent-core', 'turn.taken_over', 'lease_ended', t.correlation_id, t.inbound ->> 'environment',
        t.robot_code, t.conversation_id, t.id::text, jsonb_build_object('lane', t.lane, 'sequence', t.sequence,
          'attempt', t.attempt + 1, 'overdueMs', round(extract(epoch from clock_timestamp() - t.lease_until) * 1000))
      from next join agent_core.turn t using (id) where next.is_taken_over
    ), served as (
      update agent_core.conversation c set last_claimed_at = clock_timestamp()
      from next where (c.robot_code, c.conversation_id) = (next.robot_code, next.conversation_id)
    )
    update agent_core.turn t set
      status = 'running', attempt = t.attempt + 1, lease_until = now() + ${leaseSeconds} * interval '1 s'
    from next where t.id = next.id
    returning t.id, t.robot_code, t.conversation_id, t.sequence, t.lane, t.attempt, t.resumed_at_attempt,
      t.correlation_id, t.inbound, next.is_taken_over,
      next.failures, next.error_code, next.error_age_seconds, next.errors_untold,
      extract(epoch from now() - t.created_at)::float8 as age_seconds`
    .execute(db)
    .catch((error: unknown) => {
      // Two replicas saw the same lane idle: the index let one of them have it.
      if (error instanceof Error && 'code' in error && error.code === '23505') return { rows: [] };
      throw error;
    });
  return rows.map((row) => ({
    id: row.id,
    robotCode: row.robot_code,
    conversationId: row.conversation_id,
    sequence: row.sequence,
    lane: row.lane,
    attempt: row.attempt,
    resumedAtAttempt: row.resumed_at_attempt,
    correlationId: row.correlation_id,
    ageSeconds: row.age_seconds,
    environment: row.inbound.environment,
    inbound: row.inbound,
    isTakenOver: row.is_taken_over,
    room: {
      failures: row.failures,
      errorCode: row.error_code,
      errorAgeSeconds: row.error_age_seconds,
      errorsUntold: row.errors_untold,
    },
  }));
}

/** Queued or running, as the index `turn_open` says it (`0019_open_work.sql`): words in which nobody else asks. */
export const isOpen = sql`(status = 'queued' or lease_until is not null)`;

/**
 * The CTE `next`: at most `count` turns, each of another lane, locked. It walks from lane to lane by one probe of the index `turn_open` each and
 * looks at its first turn, and at those that run: what it costs grows with the lanes that have open work, never with how much
 * waits in one of them. Plans are kept: one that is made while nothing waits must hold in a burst. So the lock asks for the row as it
 * was read, by its id alone, and no join begins with all that is open.
 */
export function nextTurns(lanes: readonly Lane[], count: number): RawBuilder<unknown> {
  return sql`
    with recursive head as (
      (select id, robot_code, conversation_id, lane, sequence, status, attempt, lease_until, next_attempt_at from agent_core.turn
       where ${isOpen}
       order by robot_code, conversation_id, lane, sequence limit 1)
      union all
      select following.* from head h cross join lateral (
        select t.id, t.robot_code, t.conversation_id, t.lane, t.sequence, t.status, t.attempt, t.lease_until, t.next_attempt_at
        from agent_core.turn t
        where ${isOpen}
          and (t.robot_code, t.conversation_id, t.lane) > (h.robot_code, h.conversation_id, h.lane)
        order by t.robot_code, t.conversation_id, t.lane, t.sequence limit 1) following
    ), running as materialized (
      select id, robot_code, conversation_id, lane, sequence, status, attempt, lease_until, next_attempt_at from agent_core.turn
      where status = 'running'
    ), open as (
      select * from head
      where status = 'queued' and next_attempt_at <= now()
        and (robot_code, conversation_id, lane) not in (select robot_code, conversation_id, lane from running)
      union all
      select * from running where lease_until < now()
    ), due as (
      select t.id, t.robot_code, t.conversation_id, t.status, t.attempt, t.lease_until, c.failures, c.error_code,
        extract(epoch from now() - c.error_told_at)::float8 as error_age_seconds, c.errors_untold
      from open t join agent_core.conversation c using (robot_code, conversation_id)
      where t.lane = any(${lanes})
        and t.sequence <= c.recorded_through
        and (t.lane = 'control' or c.cool_until is null or c.cool_until <= now())
      order by t.lane <> 'control', c.last_claimed_at, t.sequence
    ), next as (
      select id, robot_code, conversation_id, status = 'running' as is_taken_over, failures, error_code, error_age_seconds, errors_untold
      from due cross join lateral (
        select from agent_core.turn t
        where t.id = due.id and (t.status, t.attempt) = (due.status, due.attempt)
          and t.lease_until is not distinct from due.lease_until
        for update skip locked) as locked
      limit ${count}
    )`;
}

/** One hold of a turn: another attempt is somebody else's, also where that is this process again. */
export const holdOf = ({ id, attempt }: Pick<ClaimedTurn, 'id' | 'attempt'>): string => `${id} ${attempt}`;

/**
 * Keeps claimed turns for another lease, in one statement. Returns the holds (`holdOf`) that are still this process's: an ended
 * lease counts as long as nobody took the turn over. A turn that is locked just now is ours or changing hands: it is waited
 * for by nobody here, and the next call sees what became of it.
 */
export async function renewLeases(
  db: DbOrTrx<AgentTables>,
  turns: readonly Pick<ClaimedTurn, 'id' | 'attempt'>[],
): Promise<Set<string>> {
  const { rows } = await sql<{ id: string; attempt: number }>`
    with mine as (
      select t.id, t.attempt from agent_core.turn t
      join unnest(${turns.map(({ id }) => id)}::uuid[], ${turns.map(({ attempt }) => attempt)}::integer[]) as m (id, attempt)
        on m.id = t.id and m.attempt = t.attempt
      where t.status = 'running'
    ), free as (
      select t.id from agent_core.turn t join mine on mine.id = t.id and mine.attempt = t.attempt
      where t.status = 'running'
      for no key update of t skip locked
    ), renewed as (
      update agent_core.turn t set lease_until = now() + ${leaseSeconds} * interval '1 s' from free where t.id = free.id
    )
    select id, attempt from mine`.execute(db);
  return new Set(rows.map(holdOf));
}

/**
 * The fence of a turn, for the start of a transaction: rejects with TURN_LOST unless the turn is this process's, and keeps
 * claims away from it until the commit. A key-share lock: it stands in the way of nobody but a claim.
 */
export const fenceOf =
  (turn: Pick<ClaimedTurn, 'id' | 'attempt'>) =>
  async (trx: Trx<AgentTables>): Promise<void> => {
    const { rows } = await sql`
      select from agent_core.turn t where t.id = ${turn.id} and t.attempt = ${turn.attempt} and t.status = 'running'
      for key share`.execute(trx);
    if (rows.length === 0) throw new AppError('TURN_LOST', 'another process works on this turn', { retryable: true });
  };

/** An update of a turn that only its present owner can make. */
export function fenced(db: DbOrTrx<AgentTables>, turn: Pick<ClaimedTurn, 'id' | 'attempt'>) {
  return db
    .updateTable('turn')
    .where('id', '=', turn.id)
    .where('attempt', '=', turn.attempt)
    .where('status', '=', 'running');
}
