import { sql } from 'kysely';
import { newId } from '@steward/service-kit';
import type { OutboundContent, OutboundTarget } from '@steward/contracts';
import type { Db, Trx } from '@steward/postgres';
import { choosePath } from './choose-path.ts';
import { endOutbound } from './end-outbound.ts';
import type { DeliveryPath, SenderTables } from './database.ts';

/** An attempt that is written down as `unknown` and may now touch the network, until its lease ends. */
export type OpenAttempt = {
  attemptId: string;
  outboundMessageId: string;
  correlationId: string;
  budget: string;
  number: number;
  path: DeliveryPath;
  target: OutboundTarget;
  content: OutboundContent;
  part: number;
  partCount: number;
  text: string;
  unknownCount: number;
  ageMs: number;
};

/** Longer than any send may take (10 s) and its closing. */
export const leaseSeconds = 30;
/** An answer does not wait longer than this for a predecessor that never came. */
const orderWaitSeconds = 30;

type Limits = { perMinuteOf: (budget: string) => number };

/**
 * Claims the next message that is due and writes its attempt, in one transaction, before anything is sent: so a crash
 * leaves an attempt that says "unknown", never a send that nobody knows of. `idle`: nothing is due. `again`: another
 * replica was faster with the budget, or the message ended because there is no way to it; look again.
 */
export async function openAttempt(o: {
  db: Db<SenderTables>;
  limits: Limits;
  now: () => Date;
}): Promise<OpenAttempt | 'idle' | 'again'> {
  return o.db.transaction().execute(async (trx) => {
    const due = await claimDue(trx);
    if (due === undefined) return 'idle';
    const path = choosePath({ target: due.target, sessionGone: due.session_gone, nowMs: o.now().getTime() });
    if (path === null) {
      await endOutbound(trx, { ...due, status: 'failed', reason: 'NO_WAY_TO_RECIPIENT' }, o.now());
      return 'again';
    }
    if (!(await spendBudget(trx, due.budget, o.limits.perMinuteOf(due.budget)))) return 'again';
    return writeAttempt(trx, due, path);
  });
}

type Due = {
  id: string;
  correlation_id: string;
  budget: string;
  target: OutboundTarget;
  content: OutboundContent;
  parts: string[];
  parts_accepted: number;
  attempt_count: number;
  unknown_count: number;
  session_gone: boolean;
  age_ms: number;
};

async function claimDue(trx: Trx<SenderTables>): Promise<Due | undefined> {
  const { rows } = await sql<Due>`
    select m.id, m.correlation_id, m.budget, m.target, m.content, m.parts, m.parts_accepted, m.attempt_count, m.unknown_count,
      m.session_gone, (extract(epoch from now() - m.recorded_at) * 1000)::float8 as age_ms
    from outbound_sender.outbound_message m
    left join outbound_sender.outbound_message before on before.id = m.after_id
    left join outbound_sender.send_budget b on b.budget = m.budget
    where m.status = 'queued' and m.next_attempt_at <= now()
      and (b.budget is null or b.next_free_at <= now() + b.spacing)
      and (m.after_id is null or before.ended_at is not null
        or (before.id is null and m.recorded_at < now() - ${orderWaitSeconds} * interval '1 s'))
    order by array_position(array['control', 'approval', 'answer', 'bulk'], m.lane), m.recorded_at
    limit 1
    for update of m skip locked`.execute(trx);
  return rows[0];
}

/** Takes one send out of a budget: sends are spread evenly, at most two at once, so no sliding minute holds more than
 * `perMinute` plus one. False: another replica took it first. */
async function spendBudget(trx: Trx<SenderTables>, budget: string, perMinute: number): Promise<boolean> {
  const spacing = sql`${60 / perMinute} * interval '1 s'`;
  const { numAffectedRows } = await sql`
    insert into outbound_sender.send_budget as b (budget, spacing, next_free_at)
    values (${budget}, ${spacing}, now() + ${spacing})
    on conflict (budget) do update
    set spacing = excluded.spacing, next_free_at = greatest(b.next_free_at, now()) + excluded.spacing
    where b.next_free_at <= now() + excluded.spacing`.execute(trx);
  return numAffectedRows === 1n;
}

async function writeAttempt(trx: Trx<SenderTables>, due: Due, path: DeliveryPath): Promise<OpenAttempt> {
  const attemptId = newId();
  const number = due.attempt_count + 1;
  const part = due.parts_accepted;
  await trx
    .updateTable('outbound_message')
    .set({ status: 'sending', attempt_count: number, lease_until: sql`now() + ${leaseSeconds} * interval '1 s'` })
    .where('id', '=', due.id)
    .execute();
  await trx
    .insertInto('delivery_attempt')
    .values({ id: attemptId, outbound_message_id: due.id, number, part, path })
    .execute();
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
  };
}
