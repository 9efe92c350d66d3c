import { sql } from 'kysely';
import { newId } from '@steward/service-kit';
import type { Environment, InboundReceived, OutboundTarget } from '@steward/contracts';
import type { Trx } from '@steward/postgres';
import { findOperationsRoom } from './approvals/approvals-room.ts';
import type { AgentTables } from './database.ts';
import type { GateContext } from './gate/gate-context.ts';
import { tellOutbound } from './tell-outbound.ts';
import { texts } from './texts.ts';

/** What an organisation may do in a month: calls of the OpenAPI, and messages that reach its robots. */
export type MonthlyQuota = 'api_calls' | 'messages';

/** What the platform refuses a call with when the organisation's calls of the month are spent (official docs, error codes). */
const callsSpent: ReadonlySet<string> = new Set(['Forbidden.AccessDenied.ApiCountLimitForOrg', '90020']);

/** Whether a message failed for that reason. */
export const isCallsSpent = (reason: string | null): boolean => reason !== null && callsSpent.has(reason);

/**
 * Tells the operations rooms that the platform calls a quota spent: once a day each, whoever finds it out. The notice leaves by
 * the room's latest reply address while that lives, because it costs no call; else it waits with everything else.
 */
export async function tellQuotaSpent(
  trx: Trx<AgentTables>,
  context: Pick<GateContext, 'directory' | 'operations' | 'language' | 'now'>,
  o: { quota: MonthlyQuota; correlationId: string; causationId: string },
): Promise<void> {
  for (const environment of ['test', 'production'] as const) {
    const room = findOperationsRoom(context, environment);
    if (room === null) continue;
    const outboundMessageId = newId();
    if (!(await isFirstToday(trx, { ...o, environment, outboundMessageId }))) continue;
    await tellOutbound(trx, {
      outboundMessageId,
      after: null,
      environment,
      // It waits for people, as an approval does, and is as rare.
      lane: 'approval',
      target: await findReply(trx, room),
      content: { kind: 'text', text: texts.quotaSpent[context.language](o.quota) },
      correlationId: o.correlationId,
      causationId: o.causationId,
      now: context.now(),
    });
  }
}

async function isFirstToday(
  trx: Trx<AgentTables>,
  o: { quota: MonthlyQuota; environment: Environment; outboundMessageId: string },
): Promise<boolean> {
  const { rows } = await sql`
    insert into agent_core.quota_told (quota, environment, told_on, outbound_message_id)
    values (${o.quota}, ${o.environment}, (now() at time zone 'Asia/Shanghai')::date, ${o.outboundMessageId})
    on conflict do nothing
    returning quota`.execute(trx);
  return rows.length > 0;
}

/** The way to a room by what was last said in it, or as to any group when nothing ever was. */
async function findReply(
  trx: Trx<AgentTables>,
  { robotCode, conversationId }: { robotCode: string; conversationId: string },
): Promise<OutboundTarget> {
  const { rows } = await sql<{ inbound: InboundReceived['body'] }>`
    select inbound from agent_core.turn
    where (robot_code, conversation_id) = (${robotCode}, ${conversationId})
    order by sequence desc limit 1`.execute(trx);
  const [last] = rows;
  if (last === undefined) return { kind: 'group', robotCode, conversationId };
  const { conversation, requester, replyAddress } = last.inbound;
  return { kind: 'reply', conversation, staffId: requester.staffId, replyAddress };
}
