import { createPublicKey, verify } from 'node:crypto';
import { sql } from 'kysely';
import { z } from 'zod';
import type { Loop } from '@steward/service-kit';
import { toSignedClaims } from '@steward/governance';
import { createOperatorDesk, decideDeadLetter, type OperatorAnswer, type OperatorRequest } from '@steward/postgres';
import type { GateContext } from '../gate/gate-context.ts';
import { endRequest } from './end-request.ts';
import { freeze, unfreeze, type Mover } from './freeze.ts';
import { findRequest, lockUnused } from './load-request.ts';
import { recordDecision } from './record-decision.ts';
import { renderOutcome } from './answer-decision.ts';
import { resolveCallFor } from './resolve-call.ts';

/** A signature is for now, not for a drawer. */
const maxSignatureAgeMs = 5 * 60_000;

const environment = z.enum(['test', 'production']);
const code = z.string().regex(/^[2-9A-Z]{4}$/);
const signed = z.object({
  staffId: z.string().min(1).max(200),
  corpId: z.string().min(1).max(200),
  at: z.iso.datetime(),
  signature: z.string().max(200),
});
const denySchema = z.object({ environment, corpId: z.string(), code, reason: z.string().min(1).max(500) });
const approveSchema = signed.extend({
  environment,
  code,
  digest: z.string().regex(/^[0-9a-f]{64}$/),
  reason: z.string().max(500).nullable(),
});
const freezeSchema = z.object({ environment, reason: z.string().max(500) });
const resolveSchema = z.object({
  toolCallId: z.uuid(),
  decision: z.enum(['happened', 'did_not']),
  reason: z.string().trim().min(1).max(500),
});
const unfreezeSchema = freezeSchema.extend(signed.shape);

type Answer = OperatorAnswer;
type Request = OperatorRequest;

/**
 * Works on what operators asked for at the command line. Denying and freezing go on the operating system's word; approving and
 * unfreezing need a signature by a person's registered key, which makes them that person (note A6).
 */
export function createOperatorWorker(context: GateContext): Loop {
  return createOperatorDesk({
    db: context.db,
    desk: 'agent-core',
    log: context.log,
    decide: (request) => decide(context, request),
    onAnswered: context.onTold,
  });
}

async function decide(context: GateContext, request: Request): Promise<Answer> {
  switch (request.verb) {
    case 'approvals.deny':
      return deny(context, request);
    case 'approvals.approve':
      return approve(context, request);
    case 'freeze':
      return moveSwitch(context, request, 'freeze');
    case 'unfreeze':
      return moveSwitch(context, request, 'unfreeze');
    case 'dead.redrive':
    case 'dead.discard':
      return decideDeadLetter({ db: context.db, desk: 'agent-core' }, request);
    case 'calls.resolve':
      return settleCall(context, request);
    default:
      return no('this version of agent-core does not know that verb');
  }
}

const no = (text: string): Answer => ({ ok: false, text });

async function settleCall(context: GateContext, request: Request): Promise<Answer> {
  const body = resolveSchema.safeParse(request.body);
  if (!body.success) return no('a resolution needs toolCallId, decision and reason');
  const { toolCallId, decision, reason } = body.data;
  const { asked_by: decidedBy, id: sourceId } = request;
  return resolveCallFor(context, toolCallId, { decision, reason, decidedBy, door: 'cli', sourceId });
}

async function deny(context: GateContext, request: Request): Promise<Answer> {
  const body = denySchema.safeParse(request.body);
  if (!body.success) return no('a denial needs environment, corpId, code and reason');
  const found = await findRequest(context.db, body.data);
  if (found === null) return no(`there is no request ${body.data.code} in ${body.data.environment}`);
  return context.db.transaction().execute(async (trx): Promise<Answer> => {
    const open = await lockUnused(trx, found.id);
    if (open?.status !== 'pending' && open?.status !== 'approved') return no(`${found.code} is closed or has begun`);
    const reason = `os ${request.asked_by}: ${body.data.reason}`.slice(0, 500);
    // Nobody voted: the operating system's word ends it as cancelled, never as a person's denial.
    await endRequest(trx, context, open, { status: 'cancelled', why: 'operator', text: reason, by: null });
    return { ok: true, text: `${found.code} will not run` };
  });
}

async function approve(context: GateContext, request: Request): Promise<Answer> {
  const body = approveSchema.safeParse(request.body);
  if (!body.success) return no('an approval needs environment, corpId, staffId, code, digest, at and signature');
  const { signature, ...claims } = body.data;
  const refusal = await checkSignature(context, request, claims, signature);
  if (refusal !== null) return no(refusal);
  const found = await findRequest(context.db, claims);
  if (found === null) return no(`there is no request ${claims.code} in ${claims.environment}`);
  const roles = await context.rolesOf(claims);
  if (found.tooLarge) await recordShown(context, found.id, claims);
  const outcome = await recordDecision(context, found.id, {
    decision: 'approve',
    reason: claims.reason,
    decider: { corpId: claims.corpId, staffId: claims.staffId, roles },
    door: 'cli',
    place: null,
    sourceId: request.id,
    correlationId: request.id,
    digestHex: claims.digest,
  });
  const ok = outcome.kind === 'approved' || outcome.kind === 'voted';
  return { ok, text: renderOutcome(context, claims.code, outcome) };
}

/** Whoever signs the digest at the command line had every byte printed there. */
async function recordShown(
  context: GateContext,
  requestId: string,
  o: { corpId: string; staffId: string },
): Promise<void> {
  await context.db
    .insertInto('approval_shown')
    .values({ request_id: requestId, corp_id: o.corpId, staff_id: o.staffId })
    .onConflict((oc) => oc.columns(['request_id', 'corp_id', 'staff_id']).doNothing())
    .execute();
}

async function moveSwitch(context: GateContext, request: Request, verb: 'freeze' | 'unfreeze'): Promise<Answer> {
  const body = (verb === 'freeze' ? freezeSchema : unfreezeSchema).safeParse(request.body);
  if (!body.success) return no(`${verb} needs environment and reason${verb === 'unfreeze' ? ', and a signature' : ''}`);
  let mover: Mover = { kind: 'os', account: request.asked_by };
  if (verb === 'unfreeze') {
    const { signature, ...claims } = unfreezeSchema.parse(request.body);
    const refusal = await checkSignature(context, request, claims, signature);
    if (refusal !== null) return no(refusal);
    const roles = await context.rolesOf(claims);
    if (!context.governance.freezeRoles.some((role) => roles.includes(role)))
      return no(`this needs one of the roles ${context.governance.freezeRoles.join(', ')}`);
    mover = { kind: 'person', corpId: claims.corpId, staffId: claims.staffId };
  }
  const { environment: where, reason } = body.data;
  const move = { environment: where, mover, reason, correlationId: null, door: 'cli' };
  const outcome = await (verb === 'freeze' ? freeze : unfreeze)(context, move);
  switch (outcome.kind) {
    case 'frozen':
      return { ok: true, text: `${where} is frozen; attempts open ${outcome.open}, sends queued ${outcome.queued}` };
    case 'thawed':
      return { ok: true, text: `${where} is open again; held calls ${outcome.waiting}` };
    case 'unchanged':
      return { ok: true, text: `${where} was so already` };
    case 'needs_another_person':
      return no('whoever froze cannot unfreeze');
    default:
      return outcome satisfies never;
  }
}

type Claims = { corpId: string; staffId: string; at: string };

/**
 * Null when the person's registered key signed exactly these claims, just now and for this request alone; else why not. Its age
 * is that of the row, by the database's clock. The operator's role can read rows and add some: a signature that an earlier row
 * carries was copied from there, and would unfreeze a second time.
 */
async function checkSignature(
  context: GateContext,
  request: Request,
  claims: Claims,
  signature: string,
): Promise<string | null> {
  const person = context.people.find(({ corpId, staffId }) => corpId === claims.corpId && staffId === claims.staffId);
  if (person?.operatorKey === undefined) return 'no operator key is registered for this person in steward.yaml';
  if (Math.abs(request.asked_at.getTime() - Date.parse(claims.at)) > maxSignatureAgeMs)
    return 'the signature is too old, or the clocks differ';
  const bytes = Buffer.from(signature, 'base64');
  // One signature has one text: written otherwise it would not be found again.
  const fits =
    bytes.toString('base64') === signature &&
    verify(null, toSignedClaims(request.verb, claims), toKey(person.operatorKey), bytes);
  if (!fits) return 'the signature does not fit';
  const { rows } = await sql`
    select from agent_core.operator_request o
    where o.id <> ${request.id} and o.body ->> 'signature' = ${signature}
      and (o.asked_at, o.id) < (select asked_at, id from agent_core.operator_request where id = ${request.id})
    limit 1`.execute(context.db);
  return rows.length === 0 ? null : 'this signature was used already; sign again';
}

/** A raw Ed25519 public key as Node wants it: the fixed head of its DER form (RFC 8410), then the 32 bytes. */
const toKey = (base64: string) =>
  createPublicKey({
    key: Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), Buffer.from(base64, 'base64')]),
    format: 'der',
    type: 'spki',
  });
