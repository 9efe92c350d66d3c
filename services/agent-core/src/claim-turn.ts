import { sql, type RawBuilder } from 'kysely';
import type { Environment, InboundReceived, Lane } from '@steward/contracts';
import type { Db, DbOrTrx } from '@steward/postgres';
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
};

export const leaseSeconds = 15;

/**
 * Claims the next turn of the given lanes: the oldest open one of a lane of a conversation in which none runs, of the
 * conversation that was served longest ago, so that a noisy room waits for the quiet ones. A turn whose lease ran out is
 * claimed again with a higher attempt, before anything else of its lane: it holds the lane's place, even where a number
 * that was skipped has come late and is older. Returns null when nothing is due.
 */
export async function claimTurn(db: Db<AgentTables>, lanes: readonly Lane[]): Promise<ClaimedTurn | null> {
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
  }>`
    ${nextTurn(lanes)}, served as (
      update agent_core.conversation c set last_claimed_at = clock_timestamp()
      from next where (c.robot_code, c.conversation_id) = (next.robot_code, next.conversation_id)
    )
    update agent_core.turn t set
      status = 'running', attempt = t.attempt + 1, lease_until = now() + ${leaseSeconds} * interval '1 s'
    from next where t.id = next.id
    returning t.id, t.robot_code, t.conversation_id, t.sequence, t.lane, t.attempt, t.resumed_at_attempt,
      t.correlation_id, t.inbound,
      extract(epoch from now() - t.created_at)::float8 as age_seconds`
    .execute(db)
    .catch((error: unknown) => {
      // Two replicas saw the same lane idle: the index let one of them have it.
      if (error instanceof Error && 'code' in error && error.code === '23505') return { rows: [] };
      throw error;
    });
  const [row] = rows;
  return row === undefined
    ? null
    : {
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
      };
}

/**
 * The CTE `next`: at most one turn, locked. It walks from lane to lane by one probe of the index `turn_open` each and
 * looks at its first turn, or at the one that runs: what it costs grows with the lanes that have open work, never with how much
 * waits in one of them.
 */
export function nextTurn(lanes: readonly Lane[]): RawBuilder<unknown> {
  return sql`
    with recursive head as (
      (select id, robot_code, conversation_id, lane, sequence from agent_core.turn
       where status in ('queued', 'running')
       order by robot_code, conversation_id, lane, sequence limit 1)
      union all
      select following.* from head h cross join lateral (
        select t.id, t.robot_code, t.conversation_id, t.lane, t.sequence from agent_core.turn t
        where t.status in ('queued', 'running')
          and (t.robot_code, t.conversation_id, t.lane) > (h.robot_code, h.conversation_id, h.lane)
        order by t.robot_code, t.conversation_id, t.lane, t.sequence limit 1) following
    ), next as (
      select t.id, t.robot_code, t.conversation_id
      from head h
      join agent_core.conversation c using (robot_code, conversation_id)
      join agent_core.turn t on t.id = coalesce(
        (select r.id from agent_core.turn r
         where (r.robot_code, r.conversation_id, r.lane) = (h.robot_code, h.conversation_id, h.lane)
           and r.status = 'running'),
        h.id)
      where h.lane = any(${lanes})
        and t.sequence <= c.recorded_through
        and ((t.status = 'running' and t.lease_until < now()) or (t.status = 'queued' and t.next_attempt_at <= now()))
      order by t.lane <> 'control', c.last_claimed_at, t.sequence
      limit 1
      for update of t skip locked
    )`;
}

/** Keeps a claimed turn for another lease. False: somebody else has it now, and this process must stop working on it. */
export async function renewLease(db: Db<AgentTables>, turn: ClaimedTurn): Promise<boolean> {
  const { numUpdatedRows } = await fenced(db, turn)
    .set({ lease_until: sql`now() + ${leaseSeconds} * interval '1 s'` })
    .executeTakeFirst();
  return numUpdatedRows === 1n;
}

/** An update of a turn that only its present owner can make. */
export function fenced(db: DbOrTrx<AgentTables>, turn: ClaimedTurn) {
  return db
    .updateTable('turn')
    .where('id', '=', turn.id)
    .where('attempt', '=', turn.attempt)
    .where('status', '=', 'running');
}
