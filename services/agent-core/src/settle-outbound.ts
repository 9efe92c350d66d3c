import { sql } from 'kysely';
import { createBatcher } from '@steward/service-kit';
import type { BusMessageOf } from '@steward/contracts';
import {
  appendAudit,
  auditSteps,
  closeTold,
  postponeTold,
  recordOnce,
  type AuditEntry,
  type Db,
} from '@steward/postgres';
import { settleTellingCall } from './approvals/settle-telling-call.ts';
import { replaceFailedCard } from './approvals/tell-places.ts';
import type { AgentTables } from './database.ts';
import type { GateContext } from './gate/gate-context.ts';
import { isCallsSpent, tellQuotaSpent } from './tell-quota-spent.ts';

const requestTypes = ['outbound.requested.v1', 'outbound.requested.v2'] as const;

/** As many receipts share a statement at most. */
const maxReceipts = 100;
/** How long a receipt waits for others: nobody waits for it. */
const lingerMs = 50;

export type OutboundReceipts = {
  /** The sender holds the request: publishing it again can wait. */
  postpone(recorded: BusMessageOf<'outbound.recorded.v1'>): Promise<void>;
  /**
   * The outbound message has ended: the request is closed and its ending audited, once. A call that was waiting for it has its
   * outcome, and a card that could not be made is said in words. True: something may have waited for it and can go on.
   */
  settle(settled: Settled): Promise<boolean>;
};

/** What outbound-sender says of the messages that were asked for; what it says at the same time is written down together. */
export function createOutboundReceipts(o: GateContext): OutboundReceipts {
  const postpone = createBatcher({
    ...{ maxBatch: maxReceipts, lingerMs },
    work: async (subjectIds: readonly string[]) => {
      await postponeTold(o.db, { types: requestTypes, subjectIds });
      return subjectIds.map(() => null);
    },
  });
  const close = createBatcher({
    ...{ maxBatch: maxReceipts, lingerMs },
    work: (settled: readonly Settled[]) => closeAnswered(o.db, settled),
  });
  return {
    postpone: async ({ body }) => {
      await postpone(body.outboundMessageId);
    },
    settle: async (settled) => {
      const isAnswer = settled.body.ending === 'accepted' && settled.body.revised !== true;
      if (isAnswer && (await close(settled))) {
        report(o, settled);
        return false;
      }
      const isClosed = await closeAwaited(o, settled);
      if (isClosed) report(o, settled);
      return isClosed;
    },
  };
}

function report(o: GateContext, { body, correlationId }: Settled): void {
  const { outboundMessageId, ending, reason, attempts } = body;
  o.onTold();
  o.metrics
    .counter('steward_outbound_settled_total', 'Outbound messages by how they ended', ['ending'])
    .inc({ ending });
  // Whatever was not accepted is something that a person may be waiting for.
  if (ending !== 'accepted') {
    o.log.error('outbound.not.accepted', {
      outboundMessageId,
      correlationId,
      ending,
      reason,
      attempts,
    });
  }
}

/**
 * What nearly every ending is: an answer arrived, and nothing waits for that. One statement for all of them. The sender repeats
 * its last word when it is asked again; only the first one closes anything. Says of each whether it did.
 */
async function closeAnswered(db: Db<AgentTables>, settled: readonly Settled[]): Promise<readonly boolean[]> {
  const first = new Map(settled.toReversed().map((one) => [one.body.outboundMessageId, one]));
  const subjectIds = [...first.keys()];
  const entries = [...first.values()].map(toEntry);
  const { rows } = await sql<{ id: string }>`
    with closed as (
      delete from agent_core.outbox
      where subject_id = any(${subjectIds}::uuid[]) and type = any(${requestTypes})
        and not exists (select from agent_core.tool_attempt where outbound_message_id = subject_id)
      returning subject_id as id
    ), ${auditSteps('agent-core', entries, sql`r.subject_id::uuid in (select id from closed)`)}
    select id from closed`.execute(db);
  const closed = new Set(rows.map(({ id }) => id));
  return settled.map((one) => first.get(one.body.outboundMessageId) === one && closed.has(one.body.outboundMessageId));
}

/**
 * Whatever else ended: a call may wait for it, and a card that failed is said in words. A word that takes the place of an
 * earlier one closes nothing any more and counts even so, once.
 */
async function closeAwaited(o: GateContext, settled: Settled): Promise<boolean> {
  const { outboundMessageId, ending, revised = false } = settled.body;
  return o.db.transaction().execute(async (trx) => {
    const closed = await closeTold(trx, { types: requestTypes, subjectIds: [outboundMessageId] });
    if (revised ? !(await recordOnce(trx, settled.id)) : closed === 0) return false;
    await appendAudit(trx, 'agent-core', [toEntry(settled)]);
    await settleTellingCall(trx, o, settled.body);
    if (ending === 'failed') await replaceFailedCard(trx, o, outboundMessageId);
    if (isCallsSpent(settled.body.reason)) {
      const why = { quota: 'api_calls', correlationId: settled.correlationId, causationId: settled.id } as const;
      await tellQuotaSpent(trx, o, why);
    }
    return true;
  });
}

function toEntry({ body, correlationId }: Settled): AuditEntry {
  const { outboundMessageId, ending, reason, attempts, revised = false } = body;
  return {
    kind: 'outbound.settled',
    outcome: ending,
    correlationId,
    subjectId: outboundMessageId,
    detail: { reason, attempts, ...(revised && { revised }) },
  };
}

type Settled = BusMessageOf<'outbound.settled.v1'>;
