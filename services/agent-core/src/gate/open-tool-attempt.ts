import { sql } from 'kysely';
import { newId } from '@steward/service-kit';
import { appendAudit, type Trx } from '@steward/postgres';
import type { AgentTables } from '../database.ts';
import { takeToolBudget } from '../call-limits.ts';
import { renewLeases } from '../claim-turn.ts';
import type { Tool } from '../tool.ts';
import { aboutCall } from './end-call.ts';
import type { GatedTurn } from './gate-context.ts';
import type { CallRow } from './load-calls.ts';

/** An attempt that is written down as `unknown`: from now on the call may have happened. */
export type OpenToolAttempt = { attemptId: string; number: number; idempotencyKey: string };

/** Why no attempt was opened. `frozen` and `throttled` pass; after `lost` somebody else has the turn or the grant is used. */
export type NotOpened = 'frozen' | 'throttled' | 'lost';

/** As many attempts as a repeatable call may have, the first included (note A2). Reads are repeatable by nature. */
export const maxAttempts = 3;

/**
 * Opens an attempt of a call before the call is made. The grant, if the verdict asked for one, is consumed in the statement
 * that writes the attempt: whoever comes second with the same grant writes nothing. The freeze switch, the digest, the run-by
 * clock and the turn's fence are conditions of that statement or of the table's own trigger.
 */
export async function openToolAttempt(
  trx: Trx<AgentTables>,
  gated: GatedTurn,
  o: { call: CallRow; tool: Tool; outboundMessageId: string | null },
): Promise<OpenToolAttempt | NotOpened> {
  const { call, tool } = o;
  if (call.effect !== 'read' && (await isFrozen(trx, call.environment))) return 'frozen';
  // A whole lease from here on: nobody takes the turn over between this and the call.
  if ((await renewLeases(trx, [gated.turn])).size === 0) return 'lost';
  if (!(await isWithinLimit(trx, o))) return 'throttled';
  const attempt = { attemptId: newId(), number: call.attemptCount + 1, idempotencyKey: `steward-${call.id}` };
  const written = await writeAttempt(trx, gated, { ...o, ...attempt });
  if (!written) return 'lost';
  await trx
    .updateTable('tool_call')
    .set({ status: 'running' })
    .where('id', '=', call.id)
    .where('ended_at', 'is', null)
    .execute();
  await appendAudit(trx, 'agent-core', [
    {
      kind: 'attempt.opened',
      outcome: 'opened',
      ...aboutCall(call),
      detail: {
        tool: tool.definition.name,
        effect: call.effect,
        number: attempt.number,
        requestId: call.requestId,
        breakGlassId: call.breakGlassId,
      },
    },
  ]);
  return attempt;
}

/** Locks the switch, so that a freeze waits for attempts that are being written and sees them. */
async function isFrozen(trx: Trx<AgentTables>, environment: CallRow['environment']): Promise<boolean> {
  const { frozen } = await trx
    .selectFrom('freeze')
    .select('frozen')
    .where('environment', '=', environment)
    .forShare()
    .executeTakeFirstOrThrow();
  return frozen;
}

async function isWithinLimit(trx: Trx<AgentTables>, { call, tool }: { call: CallRow; tool: Tool }): Promise<boolean> {
  const { limit, name } = tool.definition;
  if (limit === null || call.attemptCount > 0) return true;
  const target = tool.budgetOf?.(call.arguments) ?? '';
  return takeToolBudget(trx, { budget: `${call.environment} ${name} ${target}`, limit });
}

async function writeAttempt(
  trx: Trx<AgentTables>,
  { turn }: GatedTurn,
  o: OpenToolAttempt & { call: CallRow; outboundMessageId: string | null },
): Promise<boolean> {
  const { call } = o;
  const isOurs = sql`exists (select from agent_core.turn t
    where t.id = ${turn.id} and t.attempt = ${turn.attempt} and t.status = 'running')`;
  // A repeat goes on under the grant that its first attempt consumed; the trigger counts.
  const needsGrant = call.verdict === 'ask' && call.attemptCount === 0;
  const { rows } = await (needsGrant
    ? sql<{ id: string }>`
      with consumed as (
        update agent_core.tool_grant g set consumed_at = clock_timestamp()
        where g.tool_call_id = ${call.id} and g.digest = ${call.digest} and g.consumed_at is null
          and g.run_by > clock_timestamp() and ${isOurs}
        returning g.id, g.approval_request_id
      ), used as (
        update agent_core.approval_request r set status = 'used', ended_at = now()
        from consumed where r.id = consumed.approval_request_id and r.status = 'approved'
        returning r.id
      )
      insert into agent_core.tool_attempt
        (id, tool_call_id, number, grant_id, turn_attempt, idempotency_key, outbound_message_id)
      select ${o.attemptId}::uuid, ${call.id}::uuid, ${o.number}::int, consumed.id, ${turn.attempt}::int,
        ${o.idempotencyKey}, ${o.outboundMessageId}::uuid
      from consumed
      where consumed.approval_request_id is null or exists (select from used)
      returning id`.execute(trx)
    : sql<{ id: string }>`
      insert into agent_core.tool_attempt
        (id, tool_call_id, number, grant_id, turn_attempt, idempotency_key, outbound_message_id)
      select ${o.attemptId}::uuid, ${call.id}::uuid, ${o.number}::int, ${call.grantId}::uuid, ${turn.attempt}::int,
        ${o.idempotencyKey}, ${o.outboundMessageId}::uuid
      where ${isOurs} and (${call.grantId}::uuid is null or exists (
        select from agent_core.tool_grant g where g.id = ${call.grantId}::uuid and g.run_by > clock_timestamp()))
      returning id`.execute(trx));
  return rows.length === 1;
}
