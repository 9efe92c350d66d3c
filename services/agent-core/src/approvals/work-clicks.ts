import { sql } from 'kysely';
import { createLoop, type Loop } from '@steward/service-kit';
import { cardClickedSchema, type CardClicked } from '@steward/contracts';
import { appendAudit } from '@steward/postgres';
import type { GateContext } from '../gate/gate-context.ts';
import type { ApprovalPlaceTable } from '../governance-tables.ts';
import { recordDecision } from './record-decision.ts';

const lookEveryMs = 1_000;
/** Other replicas leave a click alone for so long; when whoever took it died, it is decided after this. */
const claimSeconds = 15;

/** Decides by the clicks that were recorded, those of one card in their order, each once; however often this process dies in between. */
export function createClickWorker(context: GateContext): Loop {
  return createLoop({
    name: 'card-clicks',
    idleMs: lookEveryMs,
    log: context.log,
    run: async () => {
      const { rows } = await sql<{ inbound_event_id: string; click: CardClicked['body']; correlation_id: string }>`
        update agent_core.card_click set claimed_until = now() + ${claimSeconds} * interval '1 s'
        where inbound_event_id = (
          select c.inbound_event_id from agent_core.card_click c
          where c.decided_at is null and (c.claimed_until is null or c.claimed_until < now())
            and not exists (select from agent_core.card_click earlier
              where earlier.out_track_id = c.out_track_id and earlier.decided_at is null
                and earlier.recorded_at < c.recorded_at)
          order by c.recorded_at limit 1 for update skip locked)
        returning inbound_event_id, click, correlation_id`.execute(context.db);
      const [row] = rows;
      if (row === undefined) return 'idle';
      const outcome = await decideClick(context, row.click, row.correlation_id);
      await sql`update agent_core.card_click set decided_at = now(), outcome = ${outcome}
        where inbound_event_id = ${row.inbound_event_id} and decided_at is null`.execute(context.db);
      context.log.info('card.decided', { correlationId: row.correlation_id, outcome });
      return 'more';
    },
  });
}

/**
 * What one click comes to, in a word. The clicker is the one whom the platform names; everything else that the click carries
 * must fit the card that Steward sent: its app, environment, place and digest. A press without a digest decides nothing.
 */
export async function decideClick(
  context: GateContext,
  click: CardClicked['body'],
  correlationId: string,
): Promise<string> {
  const body = cardClickedSchema.shape.body.safeParse(click);
  if (!body.success) return 'unreadable';
  const { outTrackId, staffId, corpId, params, inboundEventId } = body.data;
  const place = await context.db
    .selectFrom('approval_place')
    .selectAll()
    .where('out_track_id', '=', outTrackId)
    .executeTakeFirst();
  const verb = params['action'];
  const fault =
    place === undefined
      ? 'unknown_card'
      : verb !== 'approve' && verb !== 'deny'
        ? 'unknown_action'
        : findMismatch(context, place, body.data);
  const digest = params['digest'];
  if (place === undefined || (verb !== 'approve' && verb !== 'deny') || typeof digest !== 'string' || fault !== null) {
    await auditIgnored(context, body.data, correlationId, fault ?? 'no_digest');
    return fault ?? 'no_digest';
  }
  const roles = corpId === null ? [] : await context.rolesOf({ corpId, staffId });
  const outcome = await recordDecision(context, place.request_id, {
    decision: verb,
    reason: typeof params['reason'] === 'string' ? params['reason'].slice(0, 500) : null,
    // A click that does not say of which organisation is nobody's.
    decider: { corpId: corpId ?? '', staffId: corpId === null ? null : staffId, roles },
    door: 'card',
    place: { robotCode: place.robot_code, conversationId: place.conversation_id, kind: 'group' },
    sourceId: inboundEventId,
    correlationId,
    digestHex: digest,
  });
  return outcome.kind === 'refused' ? outcome.reason : outcome.kind;
}

function findMismatch(context: GateContext, place: ApprovalPlaceTable, click: CardClicked['body']): string | null {
  const robot = context.directory.robots.get(place.robot_code);
  if (robot?.appKey !== click.app) return 'other_app';
  if (robot.environment !== click.environment) return 'other_environment';
  // A forwarded card is pressed in another space.
  if (click.spaceId !== null && click.spaceId !== place.conversation_id) return 'other_space';
  return null;
}

async function auditIgnored(
  context: GateContext,
  click: CardClicked['body'],
  correlationId: string,
  why: string,
): Promise<void> {
  await appendAudit(context.db, 'agent-core', [
    {
      kind: 'card.ignored',
      outcome: why,
      correlationId,
      environment: click.environment,
      actor: { staffId: click.staffId, corpId: click.corpId },
      door: 'card',
      subjectId: click.inboundEventId,
      detail: { outTrackId: click.outTrackId },
    },
  ]);
}
