import { sql, type RawBuilder } from 'kysely';
import { createBatcher, newId } from '@steward/service-kit';
import type { Environment, Lane, OutboundContentV2, OutboundTarget } from '@steward/contracts';
import type { Db } from '@steward/postgres';
import { choosePath } from './choose-path.ts';
import { giveUpAfterMs } from './decide-next.ts';
import { endOutbound } from './end-outbound.ts';
import { findRecall } from './find-recall.ts';
import type { DeliveryPath, SenderTables } from './database.ts';
import { mustSave, type Quota } from './quota.ts';
import type { SendLimits } from './send-limits.ts';

/** An attempt that is written down as `unknown` and may now touch the network, until its lease ends. */
export type OpenAttempt = {
  attemptId: string;
  outboundMessageId: string;
  correlationId: string;
  budget: string;
  number: number;
  path: DeliveryPath;
  target: OutboundTarget;
  content: OutboundContentV2;
  part: number;
  partCount: number;
  text: string;
  unknownCount: number;
  ageMs: number;
  /** What the attempt before came to, if it was no success. */
  reason: string | null;
  /** For a recall: the handles of what is to be taken back. */
  processQueryKeys: readonly string[];
};

/** A send takes at most 12 s; the rest is for its closing, should the database be away for a moment. */
export const leaseSeconds = 45;
/**
 * An answer does not wait longer than this for a predecessor that never came. What the broker refused is published again after a
 * minute at most (`publishSoonAgain`): whatever the outage was, the predecessor has come by then.
 */
const orderWaitSeconds = 120;
/**
 * A claim and the writing after it take milliseconds. Later than this others may claim the message too, and whoever writes first has it.
 */
const claimSeconds = 2;
/** Claims that share a statement at most; a process has no more sends under way than this. */
const maxClaims = 16;
/** How long a message is put off whose path is held back by its breaker. */
const heldBackSeconds = 2;
/** As many messages of a budget and lane are looked at as may be locked by others that open an attempt just now. */
const headCount = 20;
/** One claim in so many takes what has waited longest, whatever its lane: no lane starves behind busier ones. */
const oldestFirstEvery = 10;
/** What waits for longer than this may use the room in a budget that is kept for control and approvals. */
const agedSeconds = 300;

/** The next attempt of what is due; `idle`: nothing is due; `again`: nothing came of what was, look again. */
export type Opener = () => Promise<OpenAttempt | 'idle' | 'again'>;

export type OpenContext = {
  db: Db<SenderTables>;
  limits: SendLimits;
  quotas: readonly Quota[];
  isHeldBack: (path: DeliveryPath, budget: string) => boolean;
  now: () => Date;
  /** 0 <= n < 1. */
  random: () => number;
};

/**
 * Opens attempts: each call claims the next message that is due and writes its attempt before anything is sent, so that a crash leaves
 * an attempt that says "unknown", never a send that nobody knows of. A claim only keeps a message from other claims for a
 * moment, and calls that come together share one; what is written after it holds only for a message that nobody else
 * worked on meanwhile. `again`: the message ended because there is no way to it or nothing to take back, or it was put off,
 * without an attempt, because a limit, a hold or a breaker is in its way or what it takes back is still being sent.
 */
export function createOpener(o: OpenContext): Opener {
  const claim = createBatcher({
    maxBatch: maxClaims,
    work: async (askers: readonly null[]) => {
      const due = await claimDue(o.db, { count: askers.length, oldestFirst: o.random() * oldestFirstEvery < 1 });
      return askers.map((_, at) => due[at]);
    },
  });
  return async () => {
    const due = await claim(null);
    return due === undefined ? 'idle' : ((await openClaimed(o, due)) ?? 'again');
  };
}

/** Null when the message ended, was put off, or is no longer ours. */
async function openClaimed(o: OpenContext, due: Due): Promise<OpenAttempt | null> {
  const { target, content } = due;
  const path = choosePath({ target, content, sessionGone: due.session_gone, nowMs: o.now().getTime() });
  if (path === null) return fail(o, due, 'NO_WAY_TO_RECIPIENT');
  const recall =
    content.kind === 'recall' ? await findRecall(o.db, { ...due, originalId: content.outboundMessageId }) : noRecall;
  if (recall.kind === 'refused') return fail(o, due, recall.reason);
  if (recall.kind === 'not_yet' || o.isHeldBack(path, due.budget)) {
    if (due.age_ms > giveUpAfterMs)
      return fail(o, due, recall.kind === 'not_yet' ? 'RECALL_IMPOSSIBLE' : 'BREAKER_OPEN');
    return putOff(o.db, due);
  }
  if (await mustSave(o.db, o.quotas, { ...due, path })) return fail(o, due, 'QUOTA_SAVED');
  return writeAttempt(o, due, path, recall.keys);
}

const noRecall = { kind: 'keys', keys: [] } as const;

type Due = {
  id: string;
  correlation_id: string;
  environment: Environment;
  budget: string;
  lane: Lane;
  target: OutboundTarget;
  content: OutboundContentV2;
  parts: string[];
  parts_accepted: number;
  attempt_count: number;
  unknown_count: number;
  session_gone: boolean;
  reason: string | null;
  age_ms: number;
};

/** True if `openAttempt` would find something: one statement that locks nothing, cheap enough to ask all day. */
export async function isAnythingDue(db: Db<SenderTables>): Promise<boolean> {
  const { rows } = await sql`${dueHeads} select 1 from head limit 1`.execute(db);
  return rows.length > 0;
}

/** Queued, as the index `outbound_message_queued` says it (`0019_open_work.sql`): words in which nobody else asks. */
const isQueued = sql`(ended_at is null and lease_until is null)`;

/**
 * The first messages of each budget that is free and of each lane: budgets are walked by the index from one to the next,
 * so that what waits for a spent budget is never read.
 */
const dueHeads = sql`
  with recursive waiting as (
    (select budget from outbound_sender.outbound_message where ${isQueued} order by budget limit 1)
    union all
    select (select m.budget from outbound_sender.outbound_message m
      where ${isQueued} and m.budget > w.budget order by m.budget limit 1)
    from waiting w where w.budget is not null
  ), head as (
    select h.id, h.status, h.attempt_count, h.next_attempt_at, h.recorded_at, l.rank
    from waiting w
    left join outbound_sender.send_budget b on b.budget = w.budget
    cross join (values ('control', 1), ('approval', 2), ('answer', 3), ('bulk', 4)) as l (lane, rank)
    cross join lateral (
      select m.id, m.status, m.attempt_count, m.next_attempt_at, m.recorded_at,
        m.recorded_at < now() - ${agedSeconds} * interval '1 s' as is_aged
      from outbound_sender.outbound_message m
      where ${isQueued} and m.budget = w.budget and m.lane = l.lane and m.next_attempt_at <= now()
        and (m.after_id is null or coalesce(
          (select before.ended_at is not null from outbound_sender.outbound_message before where before.id = m.after_id),
          m.recorded_at < now() - ${orderWaitSeconds} * interval '1 s'))
      order by m.recorded_at
      limit ${headCount}
    ) h
    where w.budget is not null and (b.budget is null
      or ((b.held_until is null or b.held_until <= now())
        and b.next_free_at <= now() + b.spacing * case when l.rank <= 2 or h.is_aged then 1 else 0.5 end))
  )`;

/**
 * Claims up to `count` messages, each for `claimSeconds`: whoever claimed one and died before writing delays it by no more. Plans are kept:
 * the lock asks for the row as it was read, by its id alone, because a plan made while nothing waited would otherwise begin with all that waits.
 */
async function claimDue(
  db: Db<SenderTables>,
  { count, oldestFirst }: { count: number; oldestFirst: boolean },
): Promise<Due[]> {
  const { rows } = await sql<Due>`
    ${dueHeads}, due as (
      select id
      from (select * from head order by case when ${oldestFirst} then 0 else rank end, recorded_at) as first
      cross join lateral (
        select from outbound_sender.outbound_message m
        where m.id = first.id and (m.status, m.attempt_count, m.next_attempt_at) = (first.status, first.attempt_count, first.next_attempt_at)
        for update skip locked) as locked
      limit ${count}
    )
    update outbound_sender.outbound_message m set next_attempt_at = now() + ${claimSeconds} * interval '1 s'
    from due where m.id = due.id
    returning m.id, m.correlation_id, m.environment, m.budget, m.lane, m.target, m.content, m.parts, m.parts_accepted, m.attempt_count,
      m.unknown_count, m.session_gone, m.reason,
      (extract(epoch from now() - coalesce(m.reopened_at, m.recorded_at)) * 1000)::float8 as age_ms`.execute(db);
  return rows;
}

/** The message as it was claimed: every attempt counts it on, and an ending is not `queued`. */
const unchanged = ({ id, attempt_count }: Due): RawBuilder<unknown> =>
  sql`id = ${id} and status = 'queued' and attempt_count = ${attempt_count}`;

async function fail({ db, now }: OpenContext, due: Due, reason: string): Promise<null> {
  // An attempt whose outcome nobody knows may have arrived: the message did not plainly fail.
  const status = due.unknown_count > 0 ? 'unknown' : 'failed';
  return db.transaction().execute(async (trx) => {
    const { rows } = await sql`
      select from outbound_sender.outbound_message where ${unchanged(due)} for update`.execute(trx);
    if (rows.length > 0) await endOutbound(trx, { ...due, status, reason }, now());
    return null;
  });
}

async function putOff(db: Db<SenderTables>, due: Due): Promise<null> {
  await sql`
    update outbound_sender.outbound_message set next_attempt_at = now() + ${heldBackSeconds} * interval '1 s'
    where ${unchanged(due)}`.execute(db);
  return null;
}

/** Writes the attempt if every limit admits it, all in one statement; else puts the message off until they may, and returns null. */
async function writeAttempt(
  { db, limits }: OpenContext,
  due: Due,
  path: DeliveryPath,
  processQueryKeys: readonly string[],
): Promise<OpenAttempt | null> {
  const attemptId = newId();
  const number = due.attempt_count + 1;
  const part = due.parts_accepted;
  const wanted = limits
    .of({ budget: due.budget, path, target: due.target })
    .map(({ scope, spacingMs, burst }) => ({ scope, spacing_ms: spacingMs, burst }));
  const isUrgent = due.lane === 'control' || due.lane === 'approval' || due.age_ms > agedSeconds * 1_000;
  const isRetry = due.reason !== null;
  const { rows } = await sql<{ free_at: Date | null }>`
    with ours as materialized (
      select id from outbound_sender.outbound_message where ${unchanged(due)} for update
    ), admitted as materialized (
      select id, outbound_sender.admit(${JSON.stringify(wanted)}::jsonb, ${isUrgent}, ${isRetry ? due.budget : null}) as free_at
      from ours
    ), moved as (
      update outbound_sender.outbound_message m set
        status = case when a.free_at is null then 'sending' else 'queued' end,
        attempt_count = case when a.free_at is null then ${number}::integer else m.attempt_count end,
        lease_until = case when a.free_at is null then now() + ${leaseSeconds} * interval '1 s' end,
        next_attempt_at = coalesce(a.free_at, m.next_attempt_at)
      from admitted a where m.id = a.id
    ), written as (
      insert into outbound_sender.delivery_attempt (id, outbound_message_id, number, part, path)
      select ${attemptId}::uuid, id, ${number}::integer, ${part}::integer, ${path} from admitted where free_at is null
    )
    select free_at from admitted`.execute(db);
  if (rows[0]?.free_at !== null) return null;
  return {
    attemptId,
    outboundMessageId: due.id,
    correlationId: due.correlation_id,
    budget: due.budget,
    number,
    path,
    target: due.target,
    content: due.content,
    part,
    partCount: due.parts.length,
    text: due.parts[part] ?? '',
    unknownCount: due.unknown_count,
    ageMs: due.age_ms,
    reason: due.reason,
    processQueryKeys,
  };
}
