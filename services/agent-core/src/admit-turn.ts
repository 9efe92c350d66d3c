import { sql, type RawBuilder } from 'kysely';
import { newId, type StewardConfig } from '@steward/service-kit';
import type { InboundReceived, Lane } from '@steward/contracts';
import { appendAudit, type Trx } from '@steward/postgres';
import type { AgentTables } from './database.ts';
import { judgeAccess, type Directory } from './judge-access.ts';
import { tellOutbound } from './tell-outbound.ts';
import { texts, type Language } from './texts.ts';
import { toMarkdown } from './to-markdown.ts';

/** What decides whether a recorded turn is run, and how the room hears that it is not. */
export type Admission = {
  fairness: StewardConfig['fairness'];
  directory: Directory;
  language: Language;
  /** A turn ended with its recording. Called before the commit. */
  onNotRun: (outcome: NotRun) => void;
};

/** Why a turn was recorded and never begun: its outcome in the audit log. */
export type NotRun = 'not_run.full';

/** Whoever steers Steward is never turned away for what others asked, and what the platform says of itself is no request. */
const isCounted = (lane: Lane, { content }: InboundReceived['body']): boolean =>
  lane !== 'control' && content.kind !== 'quota_notice';

/**
 * Why a turn is not to be run, as an expression over what is recorded of its conversation: null, or as many requests of it wait
 * as may. It is true of the snapshot it is evaluated in; whoever uses it sees to it that this is a fresh one.
 */
export function verdictOn(
  { body }: InboundReceived,
  lane: Lane,
  admission: Admission | undefined,
): RawBuilder<NotRun | null> {
  const { robotCode, conversationId } = body.conversation;
  if (admission === undefined || !isCounted(lane, body)) return sql`null::text`;
  const limit = admission.fairness.maxWaitingPerConversation;
  return sql`(case
    when (select count(*) from (
      select from agent_core.turn
      where robot_code = ${robotCode} and conversation_id = ${conversationId}
        and lane in ('approval', 'answer', 'bulk') and status in ('queued', 'running')
      limit ${limit}::integer) waiting) = ${limit}::integer then 'not_run.full'
    end)`;
}

/** Audits a turn that is not run, as the ended turn it is, and says so in the room, once in a while. */
export async function explainNotRun(
  trx: Trx<AgentTables>,
  received: InboundReceived,
  o: { id: string; lane: Lane; outcome: NotRun; admission: Admission; now: Date },
): Promise<void> {
  const { body, correlationId } = received;
  const { robotCode, conversationId } = body.conversation;
  const waiting = o.admission.fairness.maxWaitingPerConversation;
  const outboundMessageId = (await maySay(trx, body, o.admission)) ? newId() : null;
  if (outboundMessageId !== null) {
    const { conversation, requester, replyAddress } = body;
    await tellOutbound(trx, {
      outboundMessageId,
      // It is about those before it, and so waits for none of their answers.
      after: null,
      environment: body.environment,
      lane: 'control',
      target: { kind: 'reply', conversation, staffId: requester.staffId, replyAddress },
      content: toMarkdown(texts.roomIsFull[o.admission.language](waiting)),
      correlationId,
      causationId: body.inboundEventId,
      now: o.now,
    });
  }
  await appendAudit(trx, 'agent-core', [
    {
      kind: 'turn.ended',
      outcome: o.outcome,
      correlationId,
      environment: body.environment,
      robotCode,
      conversationId,
      actor: body.requester,
      door: body.door,
      subjectId: o.id,
      detail: { lane: o.lane, sequence: body.sequence, attempt: 0, waiting, outboundMessageId },
    },
  ]);
  o.admission.onNotRun(o.outcome);
}

/** Strangers hear nothing of how busy Steward is; everybody else at most once in each period. */
async function maySay(
  trx: Trx<AgentTables>,
  body: InboundReceived['body'],
  { directory, fairness }: Admission,
): Promise<boolean> {
  if (judgeAccess(directory, body).verdict === 'deny') return false;
  const { numUpdatedRows } = await trx
    .updateTable('conversation')
    .set({ full_told_at: sql`now()` })
    .where('robot_code', '=', body.conversation.robotCode)
    .where('conversation_id', '=', body.conversation.conversationId)
    .where(sql<boolean>`coalesce(full_told_at <= now() - ${fairness.noticeEverySeconds} * interval '1 s', true)`)
    .executeTakeFirst();
  return numUpdatedRows === 1n;
}
