import { sql, type RawBuilder } from 'kysely';
import { newId, type StewardConfig } from '@steward/service-kit';
import type { InboundReceived, Lane } from '@steward/contracts';
import { appendAudit, type Trx } from '@steward/postgres';
import { isOpen } from './claim-turn.ts';
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
export type NotRun = 'not_run.full' | 'not_run.loop';

/**
 * So many messages in a row, within this time, of senders whom the platform does not vouch for as a person of an organisation:
 * robots have no staff id. People without one are as many and as fast rarely, and are told.
 */
const loopMessages = 6;
const loopMinutes = 5;

/** Whoever steers Steward is never turned away for what others asked, and what the platform says of itself is no request. */
const isCounted = (lane: Lane, { content }: InboundReceived['body']): boolean =>
  lane !== 'control' && content.kind !== 'quota_notice';

/**
 * Why a turn is not to be run, as an expression over what is recorded of its conversation: null, or as many requests of it wait
 * as may, or it looks like robots that answer each other. (One of those is sure: a robot's own echo never gets here.) It is true
 * of the snapshot it is evaluated in; whoever uses it sees to it that this is a fresh one.
 */
export function verdictOn(
  { body }: InboundReceived,
  lane: Lane,
  admission: Admission | undefined,
): RawBuilder<NotRun | null> {
  if (admission === undefined) return sql`null::text`;
  const { robotCode, conversationId } = body.conversation;
  const limit = admission.fairness.maxWaitingPerConversation;
  const isFull = sql`(select count(*) from (
      select from agent_core.turn
      where robot_code = ${robotCode} and conversation_id = ${conversationId}
        and lane in ('approval', 'answer', 'bulk') and ${isOpen}
      limit ${limit}::integer) waiting)
      = ${limit}::integer`;
  const isLoop = sql`(select count(*) filter (where inbound -> 'requester' ->> 'staffId' is null
        and created_at > now() - ${loopMinutes}::integer * interval '1 minute')
      from (select inbound, created_at from agent_core.turn
        where robot_code = ${robotCode} and conversation_id = ${conversationId}
        order by sequence desc limit ${loopMessages}::integer) last_ones) = ${loopMessages}::integer`;
  const cases = [
    ...(isUnvouched(body) ? [sql`when ${isLoop} then 'not_run.loop'`] : []),
    ...(isCounted(lane, body) ? [sql`when ${isFull} then 'not_run.full'`] : []),
  ];
  return cases.length === 0 ? sql`null::text` : sql`(case ${sql.join(cases, sql` `)} end)`;
}

/** A sender in a group who is nobody the platform vouches for. What the platform says of itself is no sender's. */
const isUnvouched = ({ conversation, requester, content }: InboundReceived['body']): boolean =>
  conversation.kind === 'group' && requester.staffId === null && content.kind !== 'quota_notice';

/** Audits a turn that is not run, as the ended turn it is, and says so in the room, once in a while. */
export async function explainNotRun(
  trx: Trx<AgentTables>,
  received: InboundReceived,
  o: { id: string; lane: Lane; outcome: NotRun; admission: Admission; now: Date },
): Promise<void> {
  const { body, correlationId } = received;
  const { robotCode, conversationId } = body.conversation;
  const waiting = o.admission.fairness.maxWaitingPerConversation;
  const outboundMessageId = (await maySay(trx, body, o)) ? newId() : null;
  const { language } = o.admission;
  const text = o.outcome === 'not_run.loop' ? texts.robotLoop[language] : texts.roomIsFull[language](waiting);
  if (outboundMessageId !== null) {
    const { conversation, requester, replyAddress } = body;
    await tellOutbound(trx, {
      outboundMessageId,
      // It is about those before it, and so waits for none of their answers.
      after: null,
      environment: body.environment,
      lane: 'control',
      target: { kind: 'reply', conversation, staffId: requester.staffId, replyAddress },
      content: toMarkdown(text),
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
      detail: {
        lane: o.lane,
        sequence: body.sequence,
        attempt: 0,
        ...(o.outcome === 'not_run.full' && { waiting }),
        outboundMessageId,
      },
    },
  ]);
  o.admission.onNotRun(o.outcome);
}

/** Strangers hear nothing of how busy Steward is; a full room does once in each period, and a loop once as long as it lasts. */
async function maySay(
  trx: Trx<AgentTables>,
  body: InboundReceived['body'],
  { outcome, admission: { directory, fairness } }: { outcome: NotRun; admission: Admission },
): Promise<boolean> {
  if (judgeAccess(directory, body).verdict === 'deny') return false;
  return outcome === 'not_run.loop' ? isNewLoop(trx, body) : mayRepeat(trx, body, fairness.noticeEverySeconds);
}

async function mayRepeat(trx: Trx<AgentTables>, { conversation }: InboundReceived['body'], everySeconds: number) {
  const { numUpdatedRows } = await trx
    .updateTable('conversation')
    .set({ full_told_at: sql`now()` })
    .where('robot_code', '=', conversation.robotCode)
    .where('conversation_id', '=', conversation.conversationId)
    .where(sql<boolean>`coalesce(full_told_at <= now() - ${everySeconds} * interval '1 s', true)`)
    .executeTakeFirst();
  return numUpdatedRows === 1n;
}

/** Whether the message before was answered: whoever goes on talking to a silent robot hears nothing more. */
async function isNewLoop(trx: Trx<AgentTables>, { conversation, sequence }: InboundReceived['body']): Promise<boolean> {
  const before = await trx
    .selectFrom('turn')
    .select('outcome')
    .where('robot_code', '=', conversation.robotCode)
    .where('conversation_id', '=', conversation.conversationId)
    .where('sequence', '<', sequence)
    .orderBy('sequence', 'desc')
    .limit(1)
    .executeTakeFirst();
  return before?.outcome !== 'not_run.loop';
}
