import { sql } from 'kysely';
import { appendAudit } from '@steward/postgres';
import { actorOf, type GateContext, type GatedTurn } from '../gate/gate-context.ts';
import { transact } from '../gate/transact.ts';
import { approvalTexts } from './approval-texts.ts';
import { endRequest } from './end-request.ts';
import { freeze, unfreeze, type FreezeOutcome } from './freeze.ts';
import { lockUnused } from './load-request.ts';

/** `/freeze [reason]` and `/unfreeze [reason]`, for people with a role that the configuration names. */
export async function answerFreeze(
  context: GateContext,
  { turn, principal }: GatedTurn,
  verb: 'freeze' | 'unfreeze',
  reason: string,
): Promise<string> {
  const t = approvalTexts[context.language];
  const { freezeRoles } = context.governance;
  const { corpId, staffId } = principal;
  if (staffId === null || !freezeRoles.some((role) => principal.roles.includes(role))) {
    await transact(context, (trx) =>
      appendAudit(trx, 'agent-core', [
        {
          kind: 'freeze.changed',
          outcome: 'refused',
          correlationId: turn.correlationId,
          environment: turn.environment,
          robotCode: turn.robotCode,
          conversationId: turn.conversationId,
          actor: actorOf(principal),
          door: turn.inbound.door,
          subjectId: turn.environment,
          detail: { why: 'no_role', verb },
        },
      ]),
    );
    return t.noRole(freezeRoles.join(', '));
  }
  const { environment, correlationId } = turn;
  const move = {
    environment,
    mover: { kind: 'person' as const, corpId, staffId },
    reason,
    correlationId,
    door: turn.inbound.door,
  };
  return renderFreeze(context, environment, await (verb === 'freeze' ? freeze : unfreeze)(context, move), verb);
}

function renderFreeze(
  context: GateContext,
  environment: string,
  outcome: FreezeOutcome,
  verb: 'freeze' | 'unfreeze',
): string {
  const t = approvalTexts[context.language];
  switch (outcome.kind) {
    case 'frozen':
      return t.frozen({ environment, open: outcome.open, queued: outcome.queued });
    case 'thawed':
      return t.thawed({ environment, waiting: outcome.waiting });
    case 'needs_another_person':
      return t.needsAnother;
    case 'unchanged':
      return verb === 'freeze' ? t.alreadyFrozen(environment) : t.notFrozen(environment);
    default:
      return outcome satisfies never;
  }
}

/**
 * `/stop`: ends the person's own turns in this conversation that run or wait. Requests of theirs are cancelled; a change that
 * has begun is not undone, and its outcome is still written down.
 */
export async function answerStop(context: GateContext, { turn, principal }: GatedTurn): Promise<string> {
  const t = approvalTexts[context.language];
  const { staffId, corpId } = principal;
  if (staffId === null) return t.nothingToStop;
  const stopped = await transact(context, async (trx) => {
    const { rows: requests } = await sql<{ id: string }>`
      select r.id from agent_core.approval_request r join agent_core.tool_call c on c.id = r.tool_call_id
      join agent_core.turn t on t.id = c.turn_id
      where r.status in ('pending', 'approved') and t.robot_code = ${turn.robotCode}
        and t.conversation_id = ${turn.conversationId} and t.status in ('running', 'waiting')
        and (r.requester_corp_id, r.requester_staff_id) = (${corpId}, ${staffId})
      order by r.id`.execute(trx);
    for (const { id } of requests) {
      const request = await lockUnused(trx, id);
      if (request?.status === 'pending' || request?.status === 'approved')
        await endRequest(trx, context, request, {
          status: 'cancelled',
          why: 'stopped',
          text: null,
          by: { corpId, staffId },
        });
    }
    const { rows } = await sql<{ id: string }>`
      update agent_core.turn t set status = 'failed', outcome = 'stopped', lease_until = null, ended_at = now()
      where t.robot_code = ${turn.robotCode} and t.conversation_id = ${turn.conversationId} and t.lane <> 'control'
        and t.status in ('running', 'waiting', 'queued') and t.inbound -> 'requester' ->> 'staffId' = ${staffId}
        and coalesce(t.inbound -> 'requester' ->> 'corpId', ${corpId}) = ${corpId}
        and t.sequence < ${turn.sequence}
      returning id`.execute(trx);
    for (const { id } of rows) {
      await appendAudit(trx, 'agent-core', [
        {
          kind: 'turn.ended',
          outcome: 'stopped',
          correlationId: turn.correlationId,
          environment: turn.environment,
          robotCode: turn.robotCode,
          conversationId: turn.conversationId,
          actor: actorOf(principal),
          subjectId: id,
        },
      ]);
    }
    return rows.length;
  });
  context.onTold();
  return stopped === 0 ? t.nothingToStop : t.stopped(stopped);
}
