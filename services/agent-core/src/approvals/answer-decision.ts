import { maxOutboundTextLength } from '@steward/contracts';
import { appendAudit } from '@steward/postgres';
import { actorOf, type GateContext, type GatedTurn } from '../gate/gate-context.ts';
import { transact } from '../gate/transact.ts';
import { quoteForMarkdown } from '../quote-for-markdown.ts';
import { renderClock } from '../render-clock.ts';
import { approvalTexts } from './approval-texts.ts';
import { findRequest, listOpen, lockUnused, loadVotes, type RequestRow } from './load-request.ts';
import { endRequest } from './end-request.ts';
import { recordDecision, type DecisionOutcome } from './record-decision.ts';
import { renderWhole } from './render-approval.ts';
import { nameOf, statusText, toShown } from './tell-places.ts';

/** `/approve 7F3K [reason]` and `/deny 7F3K reason`. */
export async function answerDecision(
  context: GateContext,
  gated: GatedTurn,
  verb: 'approve' | 'deny',
  argument: string,
): Promise<string> {
  const t = approvalTexts[context.language];
  const { code, rest } = splitCode(argument);
  if (code === null) return t.usage(verb);
  if (/[?？]\s*$/.test(rest)) return t.refused.question;
  const { turn, principal } = gated;
  const request = await findRequest(context.db, { code, environment: turn.environment, corpId: principal.corpId });
  if (request === null) {
    await auditNotFound(context, gated, verb, code);
    return t.notFound(code);
  }
  const { robotCode, conversationId, kind } = turn.inbound.conversation;
  const outcome = await recordDecision(context, request.id, {
    decision: verb,
    reason: rest === '' ? null : rest.slice(0, 500),
    decider: principal,
    door: turn.inbound.door,
    place: { robotCode, conversationId, kind },
    sourceId: turn.inbound.inboundEventId,
    correlationId: turn.correlationId,
  });
  return renderOutcome(context, code, outcome);
}

/** Somebody tries codes, or those of another organisation or environment: on record, whether there is such a request or not. */
async function auditNotFound(
  context: GateContext,
  { turn, principal }: GatedTurn,
  decision: string,
  code: string,
): Promise<void> {
  await transact(context, (trx) =>
    appendAudit(trx, 'agent-core', [
      {
        kind: 'approval.refused',
        outcome: 'not_found',
        correlationId: turn.correlationId,
        environment: turn.environment,
        robotCode: turn.robotCode,
        conversationId: turn.conversationId,
        actor: actorOf(principal),
        door: turn.inbound.door,
        subjectId: turn.id,
        detail: { code, decision },
      },
    ]),
  );
}

/** What the decider hears. */
export function renderOutcome(context: GateContext, code: string, outcome: DecisionOutcome): string {
  const t = approvalTexts[context.language];
  switch (outcome.kind) {
    case 'not_found':
      return t.notFound(code);
    case 'refused':
      return t.refused[outcome.reason];
    case 'closed':
      return t.alreadyDecided({
        code,
        status: statusText(context.language, outcome.request.status, outcome.request.endReason),
        who: outcome.by === null ? '' : quoteForMarkdown(nameOf(context, outcome.by)),
        at: renderClock(outcome.request.decidedAt ?? context.now(), context.timeZone),
      });
    case 'voted':
      return t.voted({ code, have: outcome.have, need: outcome.request.quorum });
    case 'approved':
      return t.approved({ code, tool: quoteForMarkdown(outcome.request.tool) });
    case 'denied':
      return t.denied({ code, tool: quoteForMarkdown(outcome.request.tool) });
    default:
      return outcome satisfies never;
  }
}

/** A code as people type it: any case, full-width, in brackets, with a colon behind it. */
export function splitCode(argument: string): { code: string | null; rest: string } {
  const folded = argument.normalize('NFKC').trim();
  const [, code, rest = ''] =
    /^[[(【「]?([A-Za-z0-9]{4})[\])】」]?(?:[\s:,：，、]+|(?=[?？]|$))([\s\S]*)$/.exec(folded) ?? [];
  return { code: code?.toUpperCase() ?? null, rest: rest.trim() };
}

/** `/pending`: what waits for a decision in this place. */
export async function answerPending(context: GateContext, { turn }: GatedTurn): Promise<string> {
  const t = approvalTexts[context.language];
  const open = await listOpen(context.db, turn.inbound.conversation);
  if (open.length === 0) return t.none;
  const lines = await Promise.all(
    open.map(async (request) => {
      const { votes } = await loadVotes(context.db, request.id);
      return t.pendingLine({
        code: request.code,
        tool: quoteForMarkdown(request.tool),
        requester: quoteForMarkdown(request.card.requesterName),
        approveBy: renderClock(request.approveBy, context.timeZone),
        have: votes.filter(({ decision }) => decision === 'approve').length,
        need: request.quorum,
      });
    }),
  );
  return lines.join('\n');
}

/** `/show 7F3K`: every byte of a request, to somebody who may decide it or asked for it; who saw it is on record (note A7). */
export async function answerShow(context: GateContext, gated: GatedTurn, argument: string): Promise<string> {
  const t = approvalTexts[context.language];
  const { code } = splitCode(argument);
  if (code === null) return t.usage('show');
  const { turn, principal } = gated;
  const request = await findRequest(context.db, { code, environment: turn.environment, corpId: principal.corpId });
  if (request === null) return t.notFound(code);
  if (principal.staffId === null) return t.refused.vote_of_unknown_person;
  if (!(await isVisible(context, gated, request))) return t.refused.wrong_place;
  const { staffId, corpId } = principal;
  return transact(context, async (trx) => {
    const whole = renderWhole(context.language, await toShown(trx, context, request), request.digest.toString('hex'));
    const text = `${whole}\n${statusText(context.language, request.status, request.endReason)}`;
    // What would be cut on its way was not shown.
    if (text.length > maxOutboundTextLength) return t.tooLargeToShow(code);
    await trx
      .insertInto('approval_shown')
      .values({ request_id: request.id, corp_id: corpId, staff_id: staffId })
      .onConflict((oc) => oc.columns(['request_id', 'corp_id', 'staff_id']).doNothing())
      .execute();
    return text;
  });
}

/** In a place where it was shown, or in a single chat with somebody who may decide it or asked for it. */
async function isVisible(context: GateContext, { turn, principal }: GatedTurn, request: RequestRow): Promise<boolean> {
  const { robotCode, conversationId, kind } = turn.inbound.conversation;
  const place = await context.db
    .selectFrom('approval_place')
    .select('kind')
    .where('request_id', '=', request.id)
    .where('robot_code', '=', robotCode)
    .where('conversation_id', '=', conversationId)
    .executeTakeFirst();
  if (place !== undefined) return true;
  const concerned =
    principal.staffId === request.requesterStaffId ||
    request.approverGroups.flat().some((role) => principal.roles.includes(role));
  return kind === 'single' && robotCode === request.robotCode && concerned;
}

/** `/cancel 7F3K`: takes one's own request back, as long as it has not begun. */
export async function answerCancel(context: GateContext, gated: GatedTurn, argument: string): Promise<string> {
  const t = approvalTexts[context.language];
  const { code } = splitCode(argument);
  if (code === null) return t.usage('cancel');
  const { turn, principal } = gated;
  const found = await findRequest(context.db, { code, environment: turn.environment, corpId: principal.corpId });
  if (found === null) return t.notFound(code);
  if (principal.staffId === null || principal.staffId !== found.requesterStaffId) return t.notYours(code);
  const by = { corpId: principal.corpId, staffId: principal.staffId };
  const closed = await transact(context, async (trx) => {
    const request = await lockUnused(trx, found.id);
    if (request === null) return { ...found, status: 'used' as const };
    if (request.status !== 'pending' && request.status !== 'approved') return request;
    await endRequest(trx, context, request, { status: 'cancelled', why: 'requester', text: null, by });
    return null;
  });
  context.onTold();
  if (closed === null || closed.status === 'cancelled') return t.cancelled(code);
  return renderOutcome(context, code, { kind: 'closed', request: closed, by: null });
}
