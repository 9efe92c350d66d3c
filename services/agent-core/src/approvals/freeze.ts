import { sql } from 'kysely';
import type { Environment } from '@steward/contracts';
import { appendAudit, type Trx } from '@steward/postgres';
import type { AgentTables } from '../database.ts';
import type { GateContext } from '../gate/gate-context.ts';
import { transact } from '../gate/transact.ts';
import { wakeTurn } from '../wake-turn.ts';

/** Who moves the switch: a person whom the platform or a signature vouches for, or the account at the command line. */
export type Mover = { kind: 'person'; corpId: string; staffId: string } | { kind: 'os'; account: string };

export type FreezeOutcome =
  | { kind: 'frozen'; open: number; queued: number }
  | { kind: 'thawed'; waiting: number }
  | { kind: 'unchanged' }
  | { kind: 'needs_another_person' };

type Move = { environment: Environment; mover: Mover; reason: string; correlationId: string | null; door: string };

/**
 * Stops every write and destructive call of an environment before it starts; reads go on and approved calls are held. Says
 * what had begun already: those attempts and sends are not stopped by this (note A8).
 */
export async function freeze(context: GateContext, o: Move): Promise<FreezeOutcome> {
  return transact(context, async (trx) => {
    const current = await lockSwitch(trx, o.environment);
    if (current.frozen) return { kind: 'unchanged' };
    await setSwitch(trx, o, true);
    const { rows } = await sql<{ open: number; queued: number }>`
      select count(*) filter (where a.outbound_message_id is null)::int as open,
        count(*) filter (where a.outbound_message_id is not null)::int as queued
      from agent_core.tool_attempt a join agent_core.tool_call c on c.id = a.tool_call_id
      where a.closed_at is null and c.environment = ${o.environment} and c.effect <> 'read'`.execute(trx);
    const { open = 0, queued = 0 } = rows[0] ?? {};
    await auditSwitch(trx, o, 'frozen', { open, queued });
    return { kind: 'frozen', open, queued };
  });
}

/** Opens an environment again; never by whoever froze it. Held calls go on, as far as their time allows. */
export async function unfreeze(context: GateContext, o: Move): Promise<FreezeOutcome> {
  const outcome = await transact(context, async (trx): Promise<FreezeOutcome> => {
    const current = await lockSwitch(trx, o.environment);
    if (!current.frozen) return { kind: 'unchanged' };
    if (current.changed_by === nameMover(o.mover)) {
      await auditSwitch(trx, o, 'refused', { why: 'same_person' });
      return { kind: 'needs_another_person' };
    }
    await setSwitch(trx, o, false);
    const turns = await trx
      .selectFrom('approval_request as r')
      .innerJoin('tool_call as c', 'c.id', 'r.tool_call_id')
      .select('c.turn_id')
      .where('r.status', '=', 'approved')
      .where('r.environment', '=', o.environment)
      .orderBy('c.turn_id')
      .execute();
    for (const { turn_id } of turns) await wakeTurn(trx, turn_id);
    await auditSwitch(trx, o, 'open', { held: turns.length });
    return { kind: 'thawed', waiting: turns.length };
  });
  return outcome;
}

const nameMover = (mover: Mover): string =>
  mover.kind === 'person' ? `person ${mover.corpId} ${mover.staffId}` : `os ${mover.account}`;

function lockSwitch(trx: Trx<AgentTables>, environment: Environment) {
  return trx
    .selectFrom('freeze')
    .selectAll()
    .where('environment', '=', environment)
    .forUpdate()
    .executeTakeFirstOrThrow();
}

async function setSwitch(trx: Trx<AgentTables>, o: Move, frozen: boolean): Promise<void> {
  await trx
    .updateTable('freeze')
    .set({ frozen, changed_by: nameMover(o.mover), reason: o.reason.slice(0, 500), changed_at: sql<Date>`now()` })
    .where('environment', '=', o.environment)
    .execute();
}

async function auditSwitch(
  trx: Trx<AgentTables>,
  o: Move,
  outcome: string,
  detail: Record<string, unknown>,
): Promise<void> {
  const actor = o.mover.kind === 'person' ? { corpId: o.mover.corpId, staffId: o.mover.staffId } : null;
  await appendAudit(trx, 'agent-core', [
    {
      kind: 'freeze.changed',
      outcome,
      correlationId: o.correlationId,
      environment: o.environment,
      actor,
      door: o.door,
      subjectId: o.environment,
      detail: { ...detail, account: o.mover.kind === 'os' ? o.mover.account : null },
      personal: { reason: o.reason },
    },
  ]);
}
