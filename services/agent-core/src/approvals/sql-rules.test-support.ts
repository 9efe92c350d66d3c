import { randomBytes } from 'node:crypto';
import { sql } from 'kysely';
import { newId } from '@steward/service-kit';
import type { Db } from '@steward/postgres';
import type { AgentTables } from '../database.ts';

type Row = Record<string, unknown>;
export type Outcome = Promise<string>;

/** What the database says to a statement: `accepted`, or the name of the rule (else the SQLSTATE) by which it refused. */
export const outcomeOf = (work: Promise<unknown>): Outcome =>
  work.then(
    () => 'accepted',
    (error: unknown) => {
      const { constraint, code } = error as { constraint?: string; code?: string };
      return constraint ?? code ?? String(error);
    },
  );

const corp = 'corp-1';
export const li = { corp_id: corp, staff_id: 'staff-1' };
export const han = { corp_id: corp, staff_id: 'staff-2' };
export const zhao = { corp_id: corp, staff_id: 'staff-3' };

/**
 * Straight SQL with the service's own role: rows that no code of Steward's has looked at. Each writer gives the whole row, with
 * what a test is about laid over.
 */
export function createRows(db: Db<AgentTables>) {
  let sequence = 0;
  const insert = async (table: string, row: Row): Promise<void> => {
    const columns = sql.join(Object.keys(row).map((name) => sql.ref(name)));
    await sql`insert into ${sql.table(`agent_core.${table}`)} (${columns}) values (${sql.join(Object.values(row))})`.execute(
      db,
    );
  };
  const update = async (table: string, id: unknown, row: Row): Promise<void> => {
    const set = sql.join(Object.entries(row).map(([name, value]) => sql`${sql.ref(name)} = ${value}`));
    await sql`update ${sql.table(`agent_core.${table}`)} set ${set} where id = ${id}`.execute(db);
  };

  const call = async (over: Row = {}): Promise<Row & { id: string }> => {
    sequence += 1;
    const place = { robot_code: 'dingtest', conversation_id: `cid-${sequence}` };
    const turnId = newId();
    await insert('conversation', { ...place, kind: 'group' });
    await insert('turn', {
      ...place,
      ...{ id: turnId, inbound_event_id: newId(), sequence: 1, lane: 'answer', status: 'queued' },
      ...{ correlation_id: newId(), inbound: '{}' },
    });
    const row = {
      ...place,
      ...{ id: newId(), turn_id: turnId, step: 0, position: 0, proposed_by: 'person', tool: 'restart' },
      ...{ effect: 'write', definition_hash: 'd', arguments: '{"service":"web"}', environment: 'test' },
      ...{ correlation_id: newId(), requester_staff_id: li.staff_id, requester_corp_id: corp },
      ...{ verdict: 'ask', verdict_reason: 'needs_approval', status: 'waiting' },
      ...over,
    };
    await insert('tool_call', row);
    return row;
  };

  const request = async (over: Row = {}, callOver: Row = {}) => {
    const asked = await call(callOver);
    const row = {
      ...{ id: newId(), tool_call_id: asked.id, code: randomBytes(8).toString('hex') },
      ...{ digest: randomBytes(32), identity: randomBytes(32), environment: 'test', robot_code: 'dingtest' },
      ...{ conversation_id: asked['conversation_id'], correlation_id: asked['correlation_id'] },
      ...{ requester_staff_id: li.staff_id, requester_corp_id: corp, approver_groups: '[["approver","sre-lead"]]' },
      ...{ quorum: 1, deny_quorum: 1, reason_required: false, self_approval: false, policy_hash: 'p' },
      ...{ policy_ids: '[]', card: '{}', too_large: false, approve_by: in60(), run_within_seconds: 600 },
      ...over,
    };
    await insert('approval_request', row);
    return row;
  };

  const vote = (requestId: string, over: Row = {}) =>
    insert('approval_vote', {
      ...{ request_id: requestId, ...han, decision: 'approve', roles: '["approver"]', door: 'http' },
      ...{ robot_code: 'dingtest', conversation_id: 'single-1', conversation_kind: 'single', ...over },
    });

  const approve = (id: string, over: Row = {}) =>
    update('approval_request', id, { status: 'approved', decided_at: new Date(), run_by: in60(), ...over });

  /** A request that people approved, as it should be. */
  const approved = async (over: Row = {}, callOver: Row = {}, runBy = in60()) => {
    const row = await request(over, callOver);
    await vote(row.id);
    await approve(row.id, { run_by: runBy });
    return { ...row, run_by: runBy };
  };

  const grant = async (row: Row, over: Row = {}) => {
    const given = {
      ...{ id: newId(), tool_call_id: row['tool_call_id'], approval_request_id: row['id'], digest: row['digest'] },
      ...{ run_by: row['run_by'], max_attempts: 1, ...over },
    };
    await insert('tool_grant', given);
    return given;
  };

  const attempt = (callId: unknown, grantId: unknown, over: Row = {}) =>
    insert('tool_attempt', {
      ...{ id: newId(), tool_call_id: callId, number: 1, grant_id: grantId, turn_attempt: 1 },
      ...{ idempotency_key: `steward-${String(callId)}`, ...over },
    });

  /** An approved call whose grant is consumed: what is left is the attempt. */
  const ready = async (o: { over?: Row; callOver?: Row; runBy?: Date; grantOver?: Row; consumed?: boolean } = {}) => {
    const row = await approved(o.over, o.callOver, o.runBy);
    const given = await grant(row, o.grantOver);
    if (o.consumed ?? true) await update('tool_grant', given.id, { consumed_at: new Date() });
    return { callId: row.tool_call_id, grantId: given.id, requestId: row.id };
  };

  const glass = async (over: Row = {}) => {
    const row = {
      ...{ id: newId(), environment: 'test', robot_code: 'dingtest', conversation_id: 'cid-1', ...li },
      ...{ tool: 'restart', reason: 'fire', correlation_id: newId(), until_at: in60(), ...over },
    };
    await insert('break_glass', row);
    return row;
  };

  return { insert, update, call, request, vote, approve, approved, grant, attempt, ready, glass };
}

const second = 1_000;
/** A minute from now, and a minute ago. */
export const in60 = (): Date => new Date(Date.now() + 60 * second);
export const past = (): Date => new Date(Date.now() - 60 * second);
