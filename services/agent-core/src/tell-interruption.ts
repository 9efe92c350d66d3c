import { sql } from 'kysely';
import { newId } from '@steward/service-kit';
import type { InboundReceived, LinkInterrupted } from '@steward/contracts';
import { appendAudit, recordOnce, tell, type Db, type Trx } from '@steward/postgres';
import type { AgentTables } from './database.ts';
import { judgeAccess, type Directory } from './judge-access.ts';
import { renderClock } from './render-clock.ts';
import { tellOutbound } from './tell-outbound.ts';
import { texts, type Language } from './texts.ts';
import { toInboundSettled } from './inbound-receipt.ts';

/** A conversation that was served within so many minutes before the link fell is active: somebody may have gone on talking. */
const activeMinutes = 15;
/** Told at most: a notice costs quota like any message. The most recently served come first. */
const maxTold = 20;

/**
 * The robot could not be heard for a while: every conversation that was active then is told once, with the times, so that
 * people repeat what may have been missed. Idle ones hear nothing.
 */
export async function tellInterruption(
  o: { db: Db<AgentTables>; directory: Directory; language: Language; timeZone: string; now: () => Date },
  interrupted: LinkInterrupted,
): Promise<void> {
  const { body, correlationId } = interrupted;
  await o.db.transaction().execute(async (trx) => {
    if (await recordOnce(trx, interrupted.id)) {
      const rooms = (await findActive(trx, body)).filter(
        (inbound) => judgeAccess(o.directory, inbound).verdict === 'allow',
      );
      const [from, to] = [renderClock(new Date(body.from), o.timeZone), renderClock(new Date(body.to), o.timeZone)];
      for (const { conversation, requester, replyAddress } of rooms) {
        await tellOutbound(trx, {
          outboundMessageId: newId(),
          after: null,
          environment: body.environment,
          lane: 'bulk',
          target: { kind: 'reply', conversation, staffId: requester.staffId, replyAddress },
          content: { kind: 'text', text: texts.linkWasDown[o.language](from, to) },
          correlationId,
          causationId: interrupted.id,
          now: o.now(),
        });
      }
      await appendAudit(trx, 'agent-core', [
        {
          kind: 'link.interrupted',
          outcome: rooms.length > 0 ? 'told' : 'nobody_active',
          correlationId,
          environment: body.environment,
          robotCode: body.robotCode,
          subjectId: body.inboundEventId,
          detail: { from: body.from, to: body.to, conversations: rooms.length },
        },
      ]);
    }
    await tell(trx, [{ subjectId: body.inboundEventId, message: toInboundSettled(interrupted, o.now()) }]);
  });
}

/** What was last said in each active conversation: it knows how to answer there. */
async function findActive(trx: Trx<AgentTables>, { robotCode, from }: LinkInterrupted['body']) {
  const { rows } = await sql<{ inbound: InboundReceived['body'] }>`
    select last.inbound
    from agent_core.conversation c
    cross join lateral (
      select t.inbound from agent_core.turn t
      where (t.robot_code, t.conversation_id) = (c.robot_code, c.conversation_id)
      order by t.sequence desc limit 1
    ) last
    where c.robot_code = ${robotCode} and c.last_claimed_at > ${from}::timestamptz - ${activeMinutes} * interval '1 minute'
    order by c.last_claimed_at desc
    limit ${maxTold}`.execute(trx);
  return rows.map(({ inbound }) => inbound);
}
