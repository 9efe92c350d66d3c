import { sql } from 'kysely';
import type { Environment, OutboundTarget } from '@steward/contracts';
import type { Db } from '@steward/postgres';
import type { SenderTables } from './database.ts';

/** The platform forgets its handles after 24 hours (official docs, "recall"); a little less, so that a call is not too late. */
const recallableMs = (24 * 60 - 1) * 60_000;

/** What a recall may name, or why it may not. `not_yet`: what it takes back is still being sent. */
export type Recall =
  | { kind: 'keys'; keys: string[] }
  | { kind: 'not_yet' }
  | { kind: 'refused'; reason: 'RECALL_NOT_ALLOWED' | 'RECALL_IMPOSSIBLE' };

/**
 * Finds the handles of an outbound message in this service's own ledger. RECALL_NOT_ALLOWED: it is not in the ledger, or of
 * another robot, conversation or environment than the recall, so that whoever may recall here can take back nothing said
 * elsewhere. RECALL_IMPOSSIBLE: the platform never accepted it, it has a part that left by a reply address (which gives no
 * handle), or it is older than 24 hours.
 */
export async function findRecall(
  db: Db<SenderTables>,
  o: { originalId: string; target: OutboundTarget; environment: Environment },
): Promise<Recall> {
  const original = await db
    .selectFrom('outbound_message')
    .select(['target', 'environment', 'ended_at'])
    .where('id', '=', o.originalId)
    .executeTakeFirst();
  const isOurs = original?.environment === o.environment && isSamePlace(original.target, o.target);
  if (original === undefined || !isOurs) return { kind: 'refused', reason: 'RECALL_NOT_ALLOWED' };
  if (original.ended_at === null) return { kind: 'not_yet' };
  const accepted = await db
    .selectFrom('delivery_attempt')
    .select([
      'process_query_key as key',
      // The database's clock wrote it, so the database's clock says how old it is.
      sql<number>`(extract(epoch from now() - started_at) * 1000)::float8`.as('age_ms'),
    ])
    .where('outbound_message_id', '=', o.originalId)
    .where('outcome', '=', 'accepted')
    .orderBy('number')
    .execute();
  const keys = accepted.flatMap(({ key }) => (key === null ? [] : [key]));
  const isTooOld = accepted.some(({ age_ms }) => age_ms > recallableMs);
  if (keys.length === 0 || keys.length < accepted.length || isTooOld)
    return { kind: 'refused', reason: 'RECALL_IMPOSSIBLE' };
  return { kind: 'keys', keys };
}

/** Whether a message went where a recall is asked for: the same robot in the same group, or with the same person. */
function isSamePlace(original: OutboundTarget, asked: OutboundTarget): boolean {
  const [was, is] = [placeOf(original), placeOf(asked)];
  return was !== null && is !== null && was.robot === is.robot && was.kind === is.kind && was.id === is.id;
}

function placeOf(target: OutboundTarget): { robot: string; kind: 'group' | 'person'; id: string } | null {
  switch (target.kind) {
    case 'group':
      return { robot: target.robotCode, kind: 'group', id: target.conversationId };
    case 'person':
      return { robot: target.robotCode, kind: 'person', id: target.staffId };
    case 'reply': {
      const { robotCode, conversationId, kind } = target.conversation;
      if (kind === 'group') return { robot: robotCode, kind: 'group', id: conversationId };
      return target.staffId === null ? null : { robot: robotCode, kind: 'person', id: target.staffId };
    }
    case 'custom_robot':
      return null;
    default:
      return target satisfies never;
  }
}
