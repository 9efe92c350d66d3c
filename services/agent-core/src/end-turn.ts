import { sql } from 'kysely';
import { newId } from '@steward/service-kit';
import type { OutboundContent } from '@steward/contracts';
import { auditSteps, tellStep, type AuditEntry, type Db } from '@steward/postgres';
import type { ClaimedTurn } from './claim-turn.ts';
import { healthStep, type Failure } from './cool-down.ts';
import type { AgentTables } from './database.ts';
import { toOutboundRequested } from './tell-outbound.ts';

/** How a turn came out: what it says (null: nothing) and one word for the audit log. */
export type TurnResult = {
  status: 'done' | 'failed';
  outcome: string;
  answer: OutboundContent | null;
  detail?: Record<string, unknown>;
  /** For a failed turn: what that means for its conversation. */
  failure?: Failure;
  /** The model that worked on it and the prompt it was given, if one did. */
  model?: { name: string; promptHash: string };
};

/**
 * Ends a turn: status, answer, transcript and audit entry in one statement. Returns false, with no effect at all,
 * when this process has lost the turn to another one: everything hangs on the fenced update.
 */
export async function endTurn(
  o: { db: Db<AgentTables>; now: () => Date },
  turn: ClaimedTurn,
  result: TurnResult,
): Promise<boolean> {
  const outboundMessageId = result.answer ? newId() : null;
  const isOurs = sql`exists (select from ended)`;
  const entry = toEntry(turn, result, outboundMessageId);
  const answer =
    result.answer && outboundMessageId ? sql`, ${answerSteps(turn, result.answer, outboundMessageId, o.now())}` : sql``;
  const health = healthStep(turn, result.failure, isOurs);
  const { rows } = await sql`
    with ended as (
      update agent_core.turn
      set status = ${result.status}, outcome = ${result.outcome}, lease_until = null, ended_at = now()
      where id = ${turn.id} and attempt = ${turn.attempt} and status = 'running'
      returning id
    )${answer}${health === null ? sql`` : sql`, ${health}`}, ${auditSteps('agent-core', [entry], isOurs)}
    select id from ended`.execute(o.db);
  return rows.length === 1;
}

/**
 * Asks outbound-sender to answer where the question was asked. The answer becomes the last outbound message of its lane and names
 * the one before, if any, so that answers leave in order. A lane works on one turn at a time: nobody else moves its tail.
 */
function answerSteps(turn: ClaimedTurn, content: OutboundContent, outboundMessageId: string, now: Date) {
  const { robotCode, conversationId, lane } = turn;
  const { conversation, requester, replyAddress, inboundEventId } = turn.inbound;
  const message = toOutboundRequested({
    outboundMessageId,
    after: null,
    environment: turn.environment,
    lane,
    target: { kind: 'reply', conversation, staffId: requester.staffId, replyAddress },
    content,
    correlationId: turn.correlationId,
    causationId: inboundEventId,
    now,
  });
  const afterPrevious = sql`jsonb_set(${JSON.stringify(message)}::jsonb, '{body,afterOutboundMessageId}',
    coalesce((select to_jsonb(outbound_message_id) from previous), 'null'))`;
  // A turn that had to wait has a line in the transcript already that says so.
  return sql`previous as (
      select outbound_message_id from agent_core.outbound_tail
      where (robot_code, conversation_id, lane) = (${robotCode}, ${conversationId}, ${lane})
    ), tail as (
      insert into agent_core.outbound_tail (robot_code, conversation_id, lane, outbound_message_id)
      select ${robotCode}, ${conversationId}, ${lane}, ${outboundMessageId}::uuid from ended
      on conflict (robot_code, conversation_id, lane) do update set outbound_message_id = excluded.outbound_message_id
    ), line as (
      insert into agent_core.transcript (turn_id, speaker, robot_code, conversation_id, sequence, name, text)
      select id, 'robot', ${robotCode}, ${conversationId}, ${turn.sequence}::bigint, 'steward', ${content.text} from ended
      on conflict (turn_id, speaker) do update set text = excluded.text
    ), ${tellStep('agent_core', { subjectId: outboundMessageId, message }, sql`exists (select from ended)`, afterPrevious)}`;
}

function toEntry(turn: ClaimedTurn, result: TurnResult, outboundMessageId: string | null): AuditEntry {
  return {
    kind: 'turn.ended',
    outcome: result.outcome,
    correlationId: turn.correlationId,
    environment: turn.environment,
    robotCode: turn.robotCode,
    conversationId: turn.conversationId,
    actor: turn.inbound.requester,
    door: turn.inbound.door,
    subjectId: turn.id,
    model: result.model?.name ?? null,
    promptHash: result.model?.promptHash ?? null,
    detail: {
      ...result.detail,
      lane: turn.lane,
      sequence: turn.sequence,
      attempt: turn.attempt,
      outboundMessageId,
    },
  };
}
