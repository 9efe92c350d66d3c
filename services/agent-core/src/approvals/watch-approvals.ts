import { sql } from 'kysely';
import { createLoop, newId, type Loop } from '@steward/service-kit';
import { appendAudit, type Trx } from '@steward/postgres';
import { whoMayDecide, type RoledPerson } from '@steward/governance';
import type { AgentTables } from '../database.ts';
import { closeAttempt, endCall, hasBegunSince } from '../gate/end-call.ts';
import type { GateContext } from '../gate/gate-context.ts';
import { loadCalls } from '../gate/load-calls.ts';
import { quoteForMarkdown } from '../quote-for-markdown.ts';
import { renderClock } from '../render-clock.ts';
import { tellOutbound } from '../tell-outbound.ts';
import { toMarkdown } from '../to-markdown.ts';
import { hasWork } from '../wake-turn.ts';
import { approvalTexts } from './approval-texts.ts';
import { endRequest, tellUnknown } from './end-request.ts';
import { loadVotes, lockRequest, lockUnused, type RequestRow } from './load-request.ts';
import { listPeople } from './request-approval.ts';

const lookEveryMs = 1_000;
/** As many as are ended in one round; the rest follows in the next. */
const batch = 50;
/** No more approvers are reminded one by one: each reminder costs a call of the monthly quota. */
const maxReminded = 5;
/** An attempt whose turn is over is given up on this long after it was opened: longer than any tool may take. */
const abandonedSeconds = 330;

/**
 * What time does to approvals: requests expire, grants run out, approvers are reminded at half time, attempts that nobody
 * works on any more become unknown, and a turn whose wake-up was lost goes on.
 */
export function createApprovalWatch(context: GateContext, onWoken: () => void): Loop {
  return createLoop({
    name: 'approvals',
    idleMs: lookEveryMs,
    log: context.log,
    run: async () => {
      const ended =
        (await expireRequests(context)) + (await remindApprovers(context)) + (await closeAbandoned(context));
      if (ended > 0) context.onTold();
      if (ended + (await wakeForgotten(context)) > 0) onWoken();
      return ended >= batch ? 'more' : 'idle';
    },
  });
}

/** Nobody decided in time, or what was decided did not run in time: the answer is no. */
export async function expireRequests(context: GateContext): Promise<number> {
  const { rows } = await sql<{ id: string }>`
    (select id from agent_core.approval_request where status = 'pending' and approve_by <= now() limit ${batch})
    union all
    (select id from agent_core.approval_request where status = 'approved' and run_by <= now() limit ${batch})
    union all
    (select r.id from agent_core.approval_request r join agent_core.tool_call c on c.id = r.tool_call_id
     join agent_core.turn t on t.id = c.turn_id
     where r.status in ('pending', 'approved') and t.status in ('done', 'failed') limit ${batch})`.execute(context.db);
  let count = 0;
  for (const { id } of rows) {
    if (await context.db.transaction().execute((trx) => expireOne(trx, context, id))) count += 1;
  }
  if (count > 0) context.log.info('approval.expired', { count });
  return count;
}

async function expireOne(trx: Trx<AgentTables>, context: GateContext, id: string): Promise<boolean> {
  const request = await lockUnused(trx, id);
  if (request === null) return false;
  if (request.status !== 'pending' && request.status !== 'approved') return false;
  const { rows } = await sql<{ due: boolean; over: boolean }>`
    select (r.status = 'pending' and r.approve_by <= clock_timestamp())
        or (r.status = 'approved' and r.run_by <= clock_timestamp()) as due,
      t.status in ('done', 'failed') as over
    from agent_core.approval_request r, agent_core.turn t
    where r.id = ${id} and t.id = ${request.turnId}`.execute(trx);
  const { due = false, over = false } = rows[0] ?? {};
  if (due) {
    const why = request.status === 'pending' ? 'approve_by' : 'run_by';
    await endRequest(trx, context, request, { status: 'expired', why, text: null, by: null });
  } else if (over) {
    // Nobody is left to run it: the turn was stopped or given up.
    await endRequest(trx, context, request, { status: 'cancelled', why: 'turn_over', text: null, by: null });
  }
  return due || over;
}

/** Half of the time is over and nobody decided: the approvers hear of it in their single chats, where they may decide. */
async function remindApprovers(context: GateContext): Promise<number> {
  const due = await context.db
    .selectFrom('approval_request')
    .select(['id', 'requester_corp_id', 'approver_groups'])
    .where('status', '=', 'pending')
    .where('remind_at', '<=', sql<Date>`now()`)
    .limit(batch)
    .execute();
  for (const { id, requester_corp_id, approver_groups } of due) {
    // Before the transaction: nothing asks for a second connection while one is held.
    const people = await listPeople(context, requester_corp_id, approver_groups);
    await context.db.transaction().execute((trx) => remindOne(trx, context, { id, people }));
  }
  return due.length;
}

async function remindOne(
  trx: Trx<AgentTables>,
  context: GateContext,
  { id, people }: { id: string; people: readonly RoledPerson[] },
): Promise<void> {
  const request = await lockRequest(trx, id);
  if (request?.status !== 'pending') return;
  const { numUpdatedRows } = await trx
    .updateTable('approval_request')
    .set({ remind_at: null })
    .where('id', '=', id)
    .where('remind_at', 'is not', null)
    .executeTakeFirst();
  if (numUpdatedRows !== 1n) return;
  const { votes, obligations, requester } = await loadVotes(trx, id);
  const silent = whoMayDecide({ obligations, requester, people }).filter(
    ({ staffId }) => !votes.some((vote) => vote.staffId === staffId),
  );
  for (const { staffId } of silent.slice(0, maxReminded)) await tellReminder(trx, context, request, staffId);
  await appendAudit(trx, 'agent-core', [
    {
      kind: 'approval.reminded',
      outcome: 'told',
      correlationId: request.correlationId,
      environment: request.environment,
      subjectId: id,
      digest: request.digest.toString('hex'),
      detail: { code: request.code, people: silent.slice(0, maxReminded).map(({ staffId }) => staffId) },
    },
  ]);
}

async function tellReminder(
  trx: Trx<AgentTables>,
  context: GateContext,
  request: RequestRow,
  staffId: string,
): Promise<void> {
  const text = approvalTexts[context.language].reminder({
    code: request.code,
    tool: quoteForMarkdown(request.tool),
    approveBy: renderClock(request.approveBy, context.timeZone),
  });
  await tellOutbound(trx, {
    outboundMessageId: newId(),
    after: null,
    environment: request.environment,
    lane: 'approval',
    target: { kind: 'person', robotCode: request.robotCode, staffId },
    content: toMarkdown(text),
    correlationId: request.correlationId,
    causationId: request.id,
    now: context.now(),
  });
}

/** Calls whose turn is over (stopped, or given up): what had begun is unknown, what had not is cancelled. */
async function closeAbandoned(context: GateContext): Promise<number> {
  const { rows } = await sql<{ id: string; turn_id: string }>`
    select c.id, c.turn_id from agent_core.tool_call c
    join agent_core.turn t on t.id = c.turn_id
    left join agent_core.approval_request r on r.tool_call_id = c.id and r.status in ('pending', 'approved')
    where c.ended_at is null and t.status in ('done', 'failed') and r.id is null
      and not exists (select from agent_core.tool_attempt a where a.tool_call_id = c.id and a.closed_at is null
        and (a.outbound_message_id is not null or a.opened_at > now() - ${abandonedSeconds} * interval '1 s'))
    limit ${batch}`.execute(context.db);
  for (const { id, turn_id } of rows) {
    const call = (await loadCalls(context.db, { turnId: turn_id })).find((one) => one.id === id);
    if (call === undefined) continue;
    await context.db.transaction().execute(async (trx) => {
      if (await hasBegunSince(trx, call)) return;
      const hasBegun = call.attempt !== null || call.hasUnknown;
      if (call.attempt !== null)
        await closeAttempt(trx, call, call.attempt.id, { outcome: 'unknown', code: 'TURN_OVER', durationMs: null });
      const status = !hasBegun ? 'cancelled' : call.effect === 'read' ? 'failed' : 'unknown';
      const ended = await endCall(trx, call, { status, code: 'TURN_OVER' });
      if (ended && status === 'unknown') await tellUnknown(trx, context, call);
    });
  }
  return rows.length;
}

/** A wake-up is a hint that can be lost; that there is something to do is a fact of the rows. */
async function wakeForgotten(context: GateContext): Promise<number> {
  const { numAffectedRows } = await sql`
    update agent_core.turn t set status = 'queued', next_attempt_at = now(), resumed_at_attempt = t.attempt
    where t.id in (
      select t.id from agent_core.turn t where t.status = 'waiting' and t.next_attempt_at <= now() and ${hasWork}
      limit ${batch} for update skip locked)`.execute(context.db);
  return Number(numAffectedRows ?? 0n);
}
