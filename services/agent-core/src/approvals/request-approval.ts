import { randomInt } from 'node:crypto';
import { sql } from 'kysely';
import { newId } from '@steward/service-kit';
import type { OutboundTarget } from '@steward/contracts';
import { appendAudit, type Trx } from '@steward/postgres';
import {
  approvalDigest,
  approvalIdentity,
  isReachable,
  type JsonObject,
  type Obligations,
  type RoledPerson,
} from '@steward/governance';
import type { AgentTables } from '../database.ts';
import type { GateContext, GatedTurn } from '../gate/gate-context.ts';
import { recordCall, type JudgedCall } from '../gate/propose-call.ts';
import { transact } from '../gate/transact.ts';
import type { ApprovalPlaceTable } from '../governance-tables.ts';
import { isPlainJson } from '../is-plain-json.ts';
import type { Tool } from '../tool.ts';
import { findApprovalsRoom } from './approvals-room.ts';
import { lockRequest } from './load-request.ts';
import { fitsCard } from './render-approval.ts';
import { showInPlace } from './tell-places.ts';

type AskedCall = JudgedCall & { known: Tool };
/** A call that an approval may permit, with all that its request will say. */
type Draft = {
  gated: GatedTurn;
  call: AskedCall;
  obligations: Obligations;
  staffId: string;
  preview: JsonObject | null;
};

/** Two of the same are easily confused on a phone, so they are left out: 0 O, 1 I L. */
const codeLetters = '23456789ABCDEFGHJKMNPQRSTUVWXYZ';
const codeLength = 4;

/**
 * Turns a call whose verdict is `ask` into an approval request, shown where it was asked and in the approvals room of its
 * environment; or refuses it at once with the reason: nobody could approve it, the same is asked already, or too much waits.
 */
export async function requestApproval(context: GateContext, gated: GatedTurn, call: AskedCall): Promise<void> {
  const { obligations } = call.verdict;
  const { staffId, corpId } = gated.principal;
  if (obligations === null || staffId === null) return refuseCall(context, gated, call, 'unknown_person');
  const people = await listPeople(context, corpId, obligations.approverGroups);
  if (!isReachable({ obligations, people, requester: { corpId, staffId } }))
    return refuseCall(context, gated, call, 'no_approver', renderRoles(obligations));
  const preview = await loadPreview(gated, call);
  if (preview === 'failed') return refuseCall(context, gated, call, 'preview_failed');
  const draft: Draft = { gated, call, obligations, staffId, preview };
  await transact(context, (trx) => openRequest(trx, context, draft));
  context.onTold();
}

/** Who of the organisation could be an approver at all, with the roles of now; only who may hold one is asked about. */
export async function listPeople(
  context: Pick<GateContext, 'people' | 'rolesOf' | 'governance'>,
  corpId: string,
  approverGroups: Obligations['approverGroups'],
): Promise<RoledPerson[]> {
  const wanted = new Set(approverGroups.flat());
  const { directory, deputies } = context.governance;
  const people = context.people.filter(
    (person) =>
      person.corpId === corpId &&
      (directory !== undefined ||
        person.roles.some((role) => wanted.has(role)) ||
        deputies.some(({ deputy }) => deputy === person.staffId)),
  );
  return Promise.all(
    people.map(async ({ staffId }) => ({ corpId, staffId, roles: await context.rolesOf({ corpId, staffId }) })),
  );
}

const renderRoles = ({ approverGroups, quorum }: Obligations) => `${quorum} × ${approverGroups.flat().join(' | ')}`;

async function refuseCall(
  context: GateContext,
  gated: GatedTurn,
  call: AskedCall,
  code: string,
  result?: string,
): Promise<void> {
  await transact(context, (trx) => recordCall(trx, gated, call, { status: 'refused', code, result }));
}

/** What will change, as the system says now. A tool that promises a preview and cannot give one is not asked for. */
async function loadPreview({ turn, principal }: GatedTurn, call: AskedCall): Promise<JsonObject | null | 'failed'> {
  const { preview, definition } = call.known;
  if (preview === undefined) return null;
  const context = {
    toolCallId: call.id,
    idempotencyKey: `steward-${call.id}`,
    environment: turn.environment,
    robotCode: turn.robotCode,
    conversationId: turn.conversationId,
    conversationKind: turn.inbound.conversation.kind,
    requester: principal,
    correlationId: turn.correlationId,
  };
  const shown = await preview(call.arguments, context, AbortSignal.timeout(definition.timeoutMs)).catch(() => null);
  // What a system says may be nothing that a row can hold (NUL, half characters): then nobody can be shown it.
  return shown !== null && isPlainJson(shown) ? shown : 'failed';
}

async function openRequest(trx: Trx<AgentTables>, context: GateContext, draft: Draft): Promise<void> {
  const { gated, call } = draft;
  // One at a time of a requester, then of a room: the caps and the identity are looked at under these locks.
  await lockFor(trx, `approval of ${gated.principal.corpId} ${draft.staffId}`);
  await lockFor(trx, `approval in ${gated.turn.robotCode} ${gated.turn.conversationId}`);
  const requestId = newId();
  const bound = {
    requestId,
    definitionHash: call.definitionHash ?? '',
    arguments: call.arguments,
    requester: { corpId: gated.principal.corpId, staffId: draft.staffId },
    room: { robotCode: gated.turn.robotCode, conversationId: gated.turn.conversationId },
    robot: context.directory.robots.get(gated.turn.robotCode)?.name ?? '',
    environment: gated.turn.environment,
  };
  const identity = approvalIdentity(bound);
  const refusal = await findRefusal(trx, context, draft, identity);
  if (refusal !== null) return recordCall(trx, gated, call, { status: 'refused', ...refusal });
  await recordCall(trx, gated, call, { status: 'waiting', code: null });
  const code = await takeCode(trx);
  await insertRequest(trx, draft, { requestId, code, digest: approvalDigest(bound), identity });
  await showEverywhere(trx, context, draft, requestId);
}

async function lockFor(trx: Trx<AgentTables>, name: string): Promise<void> {
  await sql`select pg_advisory_xact_lock(hashtextextended(${name}, 0))`.execute(trx);
}

/** The cap that is reached, or the open request that asks for the very same. */
async function findRefusal(
  trx: Trx<AgentTables>,
  context: GateContext,
  { gated, staffId }: Draft,
  identity: Buffer,
): Promise<{ code: string; result: string } | null> {
  const { rows } = await sql<{ twin: string | null; mine: number; here: number }>`
    select max(r.code) filter (where r.identity = ${identity}) as twin,
      count(*) filter (where (r.requester_corp_id, r.requester_staff_id) = (${gated.principal.corpId}, ${staffId}))::int as mine,
      count(*) filter (where (r.robot_code, r.conversation_id) = (${gated.turn.robotCode}, ${gated.turn.conversationId}))::int as here
    from agent_core.approval_request r
    where r.status in ('pending', 'approved') and r.environment = ${gated.turn.environment}`.execute(trx);
  const { twin = null, mine = 0, here = 0 } = rows[0] ?? {};
  const { maxPendingPerRequester, maxPendingPerRoom } = context.governance;
  if (twin !== null) return { code: 'already_waiting', result: twin };
  if (mine >= maxPendingPerRequester) return { code: 'too_many_of_requester', result: String(mine) };
  if (here >= maxPendingPerRoom) return { code: 'too_many_of_room', result: String(here) };
  return null;
}

/** A code that nobody has seen for 30 days: an old line in a chat can never decide a new request. */
async function takeCode(trx: Trx<AgentTables>): Promise<string> {
  for (;;) {
    const code = Array.from({ length: codeLength }, () => codeLetters[randomInt(codeLetters.length)]).join('');
    const taken = await trx
      .selectFrom('approval_request')
      .select('id')
      .where('code', '=', code)
      .where('created_at', '>', sql<Date>`now() - interval '30 days'`)
      .executeTakeFirst();
    if (taken === undefined) return code;
  }
}

type Keys = { requestId: string; code: string; digest: Buffer; identity: Buffer };

async function insertRequest(trx: Trx<AgentTables>, draft: Draft, keys: Keys): Promise<void> {
  const { gated, call, obligations, staffId, preview } = draft;
  const { turn, access, principal } = gated;
  const card = {
    tool: call.known.definition.name,
    description: call.known.definition.description,
    effect: call.known.definition.effect,
    environment: turn.environment,
    room: access.place,
    requesterName: access.person?.name ?? turn.inbound.requester.nick,
    requesterStaffId: staffId,
    arguments: call.arguments,
    preview,
  };
  await trx
    .insertInto('approval_request')
    .values({
      id: keys.requestId,
      tool_call_id: call.id,
      code: keys.code,
      digest: keys.digest,
      identity: keys.identity,
      environment: turn.environment,
      robot_code: turn.robotCode,
      conversation_id: turn.conversationId,
      correlation_id: turn.correlationId,
      requester_staff_id: staffId,
      requester_corp_id: principal.corpId,
      approver_groups: JSON.stringify(obligations.approverGroups),
      quorum: obligations.quorum,
      deny_quorum: obligations.denyQuorum,
      reason_required: obligations.reasonRequired,
      self_approval: obligations.selfApproval,
      policy_hash: call.verdict.policyHash,
      policy_ids: JSON.stringify(call.verdict.policyIds),
      card: JSON.stringify(card),
      preview: preview === null ? null : JSON.stringify(preview),
      too_large: !fitsCard(card),
      approve_by: sql<Date>`now() + ${obligations.approveWithinSeconds} * interval '1 s'`,
      run_within_seconds: obligations.runWithinSeconds,
      remind_at: sql<Date>`now() + ${obligations.approveWithinSeconds / 2} * interval '1 s'`,
    })
    .execute();
  await appendAudit(trx, 'agent-core', [
    {
      kind: 'approval.requested',
      outcome: 'pending',
      correlationId: turn.correlationId,
      environment: turn.environment,
      robotCode: turn.robotCode,
      conversationId: turn.conversationId,
      actor: { staffId, corpId: principal.corpId },
      door: turn.inbound.door,
      subjectId: keys.requestId,
      digest: keys.digest.toString('hex'),
      policyHash: call.verdict.policyHash,
      model: call.model?.name ?? null,
      promptHash: call.model?.promptHash ?? null,
      detail: {
        toolCallId: call.id,
        tool: card.tool,
        code: keys.code,
        definitionHash: call.definitionHash,
        obligations,
        policyIds: call.verdict.policyIds,
      },
      personal: { card },
    },
  ]);
}

/** Where it was asked, and in the approvals room of its environment: there, and in single chats, it can be decided. */
async function showEverywhere(
  trx: Trx<AgentTables>,
  context: GateContext,
  { gated }: Draft,
  requestId: string,
): Promise<void> {
  const request = await lockRequest(trx, requestId);
  if (request === null) return;
  const { turn } = gated;
  const { conversation, requester, replyAddress } = turn.inbound;
  const here: OutboundTarget = { kind: 'reply', conversation, staffId: requester.staffId, replyAddress };
  const kind = conversation.kind === 'group' ? 'room' : 'single';
  const shownAt: { place: ApprovalPlaceTable; target: OutboundTarget }[] = [
    { place: toPlace(context, requestId, kind, turn.robotCode, turn.conversationId), target: here },
  ];
  const room = findApprovalsRoom(context, turn.environment);
  if (room !== null && (room.robotCode !== turn.robotCode || room.conversationId !== turn.conversationId)) {
    const place = toPlace(context, requestId, 'approvals_room', room.robotCode, room.conversationId);
    shownAt.push({ place, target: { kind: 'group', ...room } });
  }
  for (const { place, target } of shownAt) {
    await trx.insertInto('approval_place').values(place).execute();
    const cardTarget = { kind: 'group' as const, robotCode: place.robot_code, conversationId: place.conversation_id };
    await showInPlace(trx, context, request, place, place.out_track_id === null ? target : cardTarget);
  }
}

function toPlace(
  context: GateContext,
  requestId: string,
  kind: ApprovalPlaceTable['kind'],
  robotCode: string,
  conversationId: string,
): ApprovalPlaceTable {
  const hasTemplate = context.directory.robots.get(robotCode)?.cards?.approvals !== undefined;
  return {
    request_id: requestId,
    robot_code: robotCode,
    conversation_id: conversationId,
    kind,
    // A single chat is addressed by the person, not by its conversation: there the words do.
    out_track_id: hasTemplate && kind !== 'single' ? newId() : null,
    last_outbound_id: null,
  };
}
