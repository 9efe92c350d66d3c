import { randomUUID } from 'node:crypto';
import type { Query } from './query.ts';

export type Story = {
  correlationId: string;
  msgId: string;
  code: string;
  requestId: string;
  toolCallId: string;
  turnId: string;
  outboundMessageId: string;
};

/** The rows of one message that asked for a write, was approved by another person, ran, and was answered. */
export async function addStory(query: Query): Promise<Story> {
  const [correlationId, inboundId, turnId, toolCallId, requestId, grantId, outboundMessageId] = Array.from(
    { length: 7 },
    () => randomUUID(),
  ) as [string, string, string, string, string, string, string];
  const story = {
    correlationId,
    msgId: `msg-${inboundId}`,
    code: '7F3K',
    requestId,
    toolCallId,
    turnId,
    outboundMessageId,
  };
  const audit = (
    service: string,
    kind: string,
    outcome: string,
    subjectId: string,
    actor: string | null,
    personal?: unknown,
  ) =>
    query(
      `with given as (select $1::uuid as id, $8::jsonb as body, decode($9, 'hex') as salt),
       kept as (insert into audit.detail (entry_id, salt, body) select id, salt, body from given where body is not null)
       insert into audit.entry (id, service, kind, outcome, correlation_id, subject_id, actor_staff_id, detail_hash,
         environment, robot_code, conversation_id)
       select id, $2, $3, $4, $5, $6, $7, sha256(salt || convert_to(body::text, 'UTF8')), 'test', 'ding1', 'cid1' from given`,
      [
        ...[randomUUID(), service, kind, outcome, correlationId, subjectId, actor],
        ...[personal === undefined ? null : JSON.stringify(personal), '7b'.repeat(32)],
      ],
    );
  await query(
    `insert into adapter.inbound_event (id, kind, source, source_id, conversation_id, sequence, correlation_id, door, body_hash)
     values ($1, 'robot_message', 'ding1', $2, 'cid1', (select count(*) + 1 from adapter.inbound_event), $3, 'http', '\\x00')`,
    [inboundId, story.msgId, correlationId],
  );
  await audit('adapter', 'inbound.recorded', 'accepted', inboundId, 'requester-1');
  await query(
    `insert into agent_core.conversation (robot_code, conversation_id, kind) values ('ding1', 'cid1', 'group') on conflict do nothing`,
  );
  await query(
    `insert into agent_core.turn (id, inbound_event_id, robot_code, conversation_id, sequence, lane, status, correlation_id, inbound, created_at)
     values ($1, $2, 'ding1', 'cid1', (select count(*) + 1 from agent_core.turn), 'answer', 'done', $3, '{}', clock_timestamp())`,
    [turnId, inboundId, correlationId],
  );
  await query(
    `insert into agent_core.tool_call (id, turn_id, step, position, proposed_by, tool, effect, definition_hash, arguments, environment,
       robot_code, conversation_id, correlation_id, requester_staff_id, requester_corp_id, verdict, verdict_reason, status, created_at)
     values ($1, $2, 0, 0, 'person', 'restart_service', 'write', 'h', '{"service": {"name": "web"}}', 'test', 'ding1', 'cid1', $3, 'requester-1',
       'corp', 'ask', 'writes ask', 'waiting', clock_timestamp())`,
    [toolCallId, turnId, correlationId],
  );
  await query(
    `insert into agent_core.approval_request (id, tool_call_id, code, digest, identity, environment, robot_code, conversation_id,
       correlation_id, requester_staff_id, requester_corp_id, approver_groups, quorum, deny_quorum, reason_required, self_approval,
       policy_hash, policy_ids, card, too_large, approve_by, run_within_seconds, created_at)
     values ($1, $2, '7F3K', sha256('d'), sha256('i'), 'test', 'ding1', 'cid1', $3, 'requester-1', 'corp', '[["approver"]]', 1, 1,
       false, false, 'p', '[]', '{}', false, now() + interval '15 minutes', 600, clock_timestamp())`,
    [requestId, toolCallId, correlationId],
  );
  await audit('agent-core', 'approval.asked', 'pending', requestId, 'requester-1', { card: 'Restart web?' });
  await query(
    `insert into agent_core.approval_place (request_id, robot_code, conversation_id, kind) values ($1, 'ding1', 'cid1', 'room')`,
    [requestId],
  );
  await query(
    `insert into agent_core.approval_vote (request_id, corp_id, staff_id, decision, reason, roles, door, robot_code, conversation_id)
     values ($1, 'corp', 'approver-1', 'approve', 'looks right', '["approver"]', 'http', 'ding1', 'cid1')`,
    [requestId],
  );
  await query(
    `update agent_core.approval_request set status = 'approved', decided_at = clock_timestamp(), run_by = clock_timestamp() + interval '5 minutes'
     where id = $1`,
    [requestId],
  );
  await audit('agent-core', 'approval.decided', 'approved', requestId, 'approver-1');
  await query(
    `insert into agent_core.tool_grant (id, tool_call_id, approval_request_id, digest, run_by, max_attempts, granted_at)
     select $1, r.tool_call_id, r.id, r.digest, r.run_by, 1, clock_timestamp() from agent_core.approval_request r where r.id = $2`,
    [grantId, requestId],
  );
  await query('update agent_core.tool_grant set consumed_at = clock_timestamp() where id = $1', [grantId]);
  await query(
    `insert into agent_core.tool_attempt (id, tool_call_id, number, grant_id, turn_attempt, idempotency_key)
     values ($1, $2, 1, $3, 1, 'key')`,
    [randomUUID(), toolCallId, grantId],
  );
  await query(
    `update agent_core.tool_attempt set outcome = 'done', closed_at = clock_timestamp(), duration_ms = 12 where tool_call_id = $1`,
    [toolCallId],
  );
  await query(`update agent_core.tool_call set status = 'done', ended_at = clock_timestamp() where id = $1`, [
    toolCallId,
  ]);
  await query(
    `insert into outbound_sender.outbound_message (id, correlation_id, environment, lane, budget, target, content, parts, parts_accepted,
       status, ended_at, recorded_at) values ($1, $2, 'test', 'answer', 'b', '{"kind": "group", "robotCode": "ding1", "conversationId": "cid1"}',
       '{"kind": "text", "text": "done"}', '["done"]', 1, 'accepted', clock_timestamp(), clock_timestamp())`,
    [outboundMessageId, correlationId],
  );
  await audit('outbound-sender', 'outbound.recorded', 'accepted', outboundMessageId, null);
  await query(
    `insert into outbound_sender.delivery_attempt (id, outbound_message_id, number, part, path, outcome, started_at, ended_at)
     values ($1, $2, 1, 0, 'session_webhook', 'accepted', clock_timestamp(), clock_timestamp())`,
    [randomUUID(), outboundMessageId],
  );
  await audit('outbound-sender', 'outbound.ended', 'accepted', outboundMessageId, null);
  return story;
}
