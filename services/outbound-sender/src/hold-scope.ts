import { sql } from 'kysely';
import type { OutcomeScope, SendOutcome } from '@steward/dingtalk';
import { appendAudit, type Trx } from '@steward/postgres';
import type { SenderTables } from './database.ts';

/** What the platform wants paused, and for how long. */
export type Wish = { scope: OutcomeScope; ms: number };
/** The same for a scope of `send_budget`. */
export type Hold = { scope: string; ms: number };

const bans: ReadonlySet<string> = new Set(['1111', 'HTTP_403']);

/** How long the calls of an organisation stand still before the next one asks whether its month is still spent. */
const spentMs = 600_000;

/** What a refusal asks us to pause beyond the message itself; null: nothing. */
export function wishOf(outcome: SendOutcome): Wish | null {
  if (outcome.kind === 'permanent' && outcome.scope === 'organisation') return { scope: 'organisation', ms: spentMs };
  if (outcome.kind !== 'retryable' || outcome.scope === undefined || outcome.retryAfterMs === undefined) return null;
  if (outcome.scope === 'content' || outcome.scope === 'target') return null;
  // One odd answer (a 404 of some proxy) must not silence every robot: a ban is 1111, or a page with 403 (protocol: limits of an address).
  if (outcome.scope === 'egress' && !bans.has(outcome.code)) return null;
  return { scope: outcome.scope, ms: outcome.retryAfterMs };
}

/**
 * Pauses a scope for every replica and across restarts; a longer pause stays. True when it was not paused before: that is
 * audited, so that operators see when and why sending stood still.
 */
export async function holdScope(
  trx: Trx<SenderTables>,
  o: Hold & { reason: string; correlationId: string },
): Promise<boolean> {
  // Locked first: of two replicas that are refused at once, the second one sees the first one's hold. (Who sends under a scope has made its row.)
  const { rows } = await sql<{ is_held: boolean }>`
    select coalesce(held_until > clock_timestamp(), false) as is_held
    from outbound_sender.send_budget where budget = ${o.scope} for update`.execute(trx);
  await sql`
    insert into outbound_sender.send_budget as b (budget, spacing, next_free_at, held_until, held_reason)
    values (${o.scope}, '0', '-infinity', clock_timestamp() + ${o.ms} * interval '1 ms', ${o.reason})
    on conflict (budget) do update set
      held_until = greatest(coalesce(b.held_until, '-infinity'), excluded.held_until), held_reason = excluded.held_reason`.execute(
    trx,
  );
  const isNew = rows[0]?.is_held !== true;
  if (isNew) {
    await appendAudit(trx, 'outbound-sender', [
      {
        kind: 'send.held',
        outcome: 'held',
        correlationId: o.correlationId,
        subjectId: o.scope,
        detail: { reason: o.reason, seconds: Math.round(o.ms / 1_000) },
      },
    ]);
  }
  return isNew;
}
