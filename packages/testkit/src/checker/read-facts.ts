import { verifyAudit, type PublicKeys } from '@steward/audit';
import type { SimulatorControl } from '@steward/dingtalk-simulator';
import { countedKinds } from './find-audit-gaps.ts';
import type { AuditFacts, CollectedText, LedgerFacts, SimulatorFacts } from './run-facts.ts';

/** A query as somebody who may read everything; bytes and big numbers come as text. */
export type Sql = <T>(text: string, values?: readonly unknown[]) => Promise<T[]>;

/** Everything the simulator has on record. */
export async function readSimulator(control: SimulatorControl): Promise<SimulatorFacts> {
  const [pushes, lines, calls, effects] = await Promise.all([
    control.sent(),
    control.messages(),
    control.calls(),
    control.effects(),
  ]);
  return { pushes, lines, calls, effects };
}

/** The ledgers of all services, in one snapshot so that no row is seen before its cause. */
export async function readLedger(sql: Sql): Promise<LedgerFacts> {
  const [row] = await sql<{ facts: LedgerFacts }>(`select json_build_object(
    'events', (select coalesce(json_agg(json_build_object('id', id, 'sourceId', source_id,
        'place', source || ' ' || coalesce(conversation_id, ''), 'sequence', sequence, 'isSettled', settled_at is not null)), '[]')
      from adapter.inbound_event where kind = 'robot_message'),
    'turns', (select coalesce(json_agg(json_build_object('id', id, 'eventId', inbound_event_id, 'status', status)), '[]')
      from agent_core.turn),
    'messages', (select coalesce(json_agg(json_build_object('id', id, 'status', status, 'reason', reason,
        'text', coalesce(content ->> 'text', ''), 'isEnded', ended_at is not null)), '[]')
      from outbound_sender.outbound_message),
    'sends', (select coalesce(json_agg(json_build_object('id', id, 'subjectId', outbound_message_id, 'outcome', outcome,
        'code', code, 'isOpen', ended_at is null, 'startedAt', extract(epoch from started_at) * 1000)), '[]')
      from outbound_sender.delivery_attempt),
    'toolCalls', (select coalesce(json_agg(json_build_object('id', c.id, 'tool', c.tool, 'effect', c.effect,
        'status', c.status, 'arguments', c.arguments::text, 'requester', c.requester_staff_id,
        'approvers', (select coalesce(json_agg(v.staff_id), '[]') from agent_core.approval_vote v
          join agent_core.approval_request r on r.id = v.request_id
          where r.tool_call_id = c.id and v.decision = 'approve'),
        'isBreakGlass', exists (select from agent_core.tool_grant g
          where g.tool_call_id = c.id and g.break_glass_id is not null),
        'isEnded', c.ended_at is not null)), '[]')
      from agent_core.tool_call c),
    'toolAttempts', (select coalesce(json_agg(json_build_object('id', id, 'subjectId', tool_call_id, 'outcome', outcome,
        'code', code, 'isOpen', closed_at is null, 'startedAt', extract(epoch from opened_at) * 1000,
        'idempotencyKey', idempotency_key)), '[]')
      from agent_core.tool_attempt)) as facts`);
  if (row === undefined) throw new Error('the ledger could not be read');
  return row.facts;
}

/** Verifies the audit log (from a block on, if told) with public keys alone and counts the entries that the ledger answers for. */
export async function readAudit(
  sql: Sql,
  o: { publicKeys: PublicKeys; from?: number; unsealedLimitSeconds?: number },
): Promise<AuditFacts & { newestBlock: number }> {
  const report = await verifyAudit({ query: sql, ...o });
  const faults = report.faults.map(({ code, text }) => `${code}: ${text}`);
  // The first hundred are listed; the others count.
  const rest = Array.from({ length: report.faultCount - faults.length }, () => 'a further fault of the chain');
  const rows = await sql<{ kind: string; subject: string; count: number }>(
    `select kind, subject_id as subject, count(*)::int as count from audit.entry
     where kind = any($1) and (kind <> 'inbound.recorded' or detail ->> 'kind' = 'robot_message') group by 1, 2`,
    [countedKinds],
  );
  const entries = new Map(rows.map(({ kind, subject, count }) => [`${kind} ${subject}`, count]));
  return { faults: [...faults, ...rest], entries, newestBlock: report.newest?.number ?? (o.from ?? 1) - 1 };
}

/**
 * What the database keeps for others to read: audit entries (since then) with their details, what waits to be published, and
 * the reasons in the ledgers.
 */
export async function readStoredTexts(sql: Sql, since = new Date(0)): Promise<CollectedText[]> {
  const read = async (place: string, query: string, values: readonly unknown[] = []): Promise<CollectedText> => ({
    place,
    text: (await sql<{ text: string }>(query, values)).map(({ text }) => text).join('\n'),
  });
  const outbox = (schema: string) => `select message::text as text from ${schema}.outbox`;
  return Promise.all([
    read(
      'audit',
      `select e::text || coalesce(d.body::text, '') as text from audit.entry e left join audit.detail d on d.entry_id = e.id
       where e.occurred_at >= $1`,
      [since],
    ),
    read('queue', ['adapter', 'agent_core', 'outbound_sender'].map(outbox).join(' union all ')),
    read(
      'ledger reasons',
      `select reason as text from outbound_sender.outbound_message where reason is not null
       union all select code from outbound_sender.delivery_attempt where code is not null
       union all select code from agent_core.tool_attempt where code is not null`,
    ),
  ]);
}
