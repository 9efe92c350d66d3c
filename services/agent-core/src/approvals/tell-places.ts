import { newId } from '@steward/service-kit';
import type { OutboundContentV2, OutboundTarget } from '@steward/contracts';
import type { Trx } from '@steward/postgres';
import type { AgentTables } from '../database.ts';
import type { GateContext } from '../gate/gate-context.ts';
import type { ApprovalPlaceTable, RequestStatus } from '../governance-tables.ts';
import { quoteForMarkdown } from '../quote-for-markdown.ts';
import { renderClock } from '../render-clock.ts';
import { tellOutbound } from '../tell-outbound.ts';
import { toMarkdown } from '../to-markdown.ts';
import type { Language } from '../texts.ts';
import { approvalTexts } from './approval-texts.ts';
import type { EndedBy } from './end-request.ts';
import { loadVotes, lockRequest, type RequestRow } from './load-request.ts';
import { renderRequest, type ShownRequest } from './render-approval.ts';

type Place = ApprovalPlaceTable;

/** The request with its votes, names and clocks: what every way of showing it is made of. */
export async function toShown(
  trx: Trx<AgentTables>,
  context: Pick<GateContext, 'directory' | 'language' | 'timeZone'>,
  request: RequestRow,
): Promise<ShownRequest> {
  const { votes, obligations } = await loadVotes(trx, request.id);
  return {
    code: request.code,
    card: request.card,
    obligations,
    approvals: votes.filter(({ decision }) => decision === 'approve').map((vote) => ({ name: nameOf(context, vote) })),
    approveBy: renderClock(request.approveBy, context.timeZone),
    runWithin: approvalTexts[context.language].minutes(Math.ceil(request.runWithinSeconds / 60)),
    tooLarge: request.tooLarge,
  };
}

/** A person as configured; of anybody else the id. */
export function nameOf(
  { directory }: Pick<GateContext, 'directory'>,
  { corpId, staffId }: { corpId: string; staffId: string },
): string {
  return directory.people.get(JSON.stringify([corpId, staffId]))?.name ?? staffId;
}

/** Shows a new request in a place: as a card where its robot has a template, else in words with the code. */
export async function showInPlace(
  trx: Trx<AgentTables>,
  context: GateContext,
  request: RequestRow,
  place: Place,
  target: OutboundTarget,
): Promise<void> {
  const outboundMessageId = newId();
  const shown = await toShown(trx, context, request);
  const content =
    place.out_track_id === null
      ? toMarkdown(renderRequest(context.language, shown).text)
      : toCard(context, request, shown, place, place.out_track_id);
  await tellAbout(trx, context, request, { outboundMessageId, after: null, target, content });
  await setLast(trx, place, outboundMessageId);
}

/** The word for an ending that nobody knows; never something that a person wrote. */
export const outcomeUnknown = 'outcome_unknown';

/** How something ended, for those who are told: by whom, a word of ours, and what a person wrote about it. */
export type Ended = { by: EndedBy; why: string; text: string | null; saidIn?: string };

/**
 * Tells every place what became of a request: a card gets its new state; a room of approvers without cards gets one line when
 * it is over. The room where it was asked hears the outcome as the answer of the waiting turn.
 */
export async function tellPlaces(
  trx: Trx<AgentTables>,
  context: GateContext,
  request: RequestRow,
  ended: Ended,
): Promise<void> {
  await updateCards(trx, context, request, ended);
  if (request.status === 'pending') return;
  for (const place of await loadPlaces(trx, request.id)) {
    const isTold =
      place.out_track_id !== null || place.kind !== 'approvals_room' || place.conversation_id === ended.saidIn;
    if (!isTold) await sayEnding(trx, context, request, place, ended);
  }
}

const loadPlaces = (trx: Trx<AgentTables>, requestId: string): Promise<Place[]> =>
  trx.selectFrom('approval_place').selectAll().where('request_id', '=', requestId).execute();

/** Puts the new state onto every card of a request, each after the one before. */
export async function updateCards(
  trx: Trx<AgentTables>,
  context: GateContext,
  request: RequestRow,
  ended: Ended,
): Promise<void> {
  for (const place of await loadPlaces(trx, request.id)) {
    if (place.out_track_id === null) continue;
    const outboundMessageId = newId();
    const { params } = toCard(context, request, await toShown(trx, context, request), place, place.out_track_id, ended);
    const content = { kind: 'card_update' as const, outTrackId: place.out_track_id, params };
    const target = { kind: 'group' as const, robotCode: place.robot_code, conversationId: place.conversation_id };
    await tellAbout(trx, context, request, { outboundMessageId, after: place.last_outbound_id, target, content });
    await setLast(trx, place, outboundMessageId);
  }
}

async function sayEnding(
  trx: Trx<AgentTables>,
  context: GateContext,
  request: RequestRow,
  place: Place,
  ended: Ended,
): Promise<void> {
  const outboundMessageId = newId();
  const target = { kind: 'group' as const, robotCode: place.robot_code, conversationId: place.conversation_id };
  const content = toMarkdown(renderEnding(context, request, ended));
  await tellAbout(trx, context, request, { outboundMessageId, after: null, target, content });
}

/** One line on how it came out, and whose word that was. */
export function renderEnding(
  context: Pick<GateContext, 'directory' | 'language' | 'timeZone' | 'now'>,
  request: Pick<RequestRow, 'code' | 'tool' | 'status' | 'correlationId'>,
  ended: Ended,
): string {
  const t = approvalTexts[context.language];
  const tool = quoteForMarkdown(request.tool);
  if (ended.why === outcomeUnknown)
    return t.unknown({ code: request.code, tool, reference: request.correlationId.slice(-8) });
  return t.decided({
    code: request.code,
    tool,
    status: statusText(context.language, request.status, ended.why),
    who: ended.by === null ? '' : quoteForMarkdown(nameOf(context, ended.by)),
    at: renderClock(context.now(), context.timeZone),
    reason: ended.text === null ? '' : quoteForMarkdown(ended.text),
  });
}

/** A status in words; the same status has several meanings, and who caused it must not be said wrongly. */
export function statusText(language: Language, status: RequestStatus, why: string | null): string {
  const t = approvalTexts[language];
  return (
    (why !== null && Object.hasOwn(t.statusWhy, `${status} ${why}`) && t.statusWhy[`${status} ${why}`]) ||
    t.status[status]
  );
}

function toCard(
  context: GateContext,
  request: RequestRow,
  shown: ShownRequest,
  place: Place,
  outTrackId: string,
  ended?: Ended,
): OutboundContentV2 & { kind: 'card' } {
  const template = context.directory.robots.get(place.robot_code)?.cards?.approvals;
  const names = template?.variables;
  const t = approvalTexts[context.language];
  const { title, text } = renderRequest(context.language, shown);
  const isOpen = request.status === 'pending';
  const status = ended !== undefined && !isOpen ? renderEnding(context, request, ended) : t.status[request.status];
  return {
    kind: 'card',
    outTrackId,
    templateId: template?.templateId ?? '',
    lastText: title.slice(0, 200),
    params: {
      [names?.title ?? 'title']: title,
      [names?.body ?? 'body']: text,
      [names?.status ?? 'status']: status,
      [names?.code ?? 'code']: request.code,
      [names?.digest ?? 'digest']: request.digest.toString('hex'),
      // A card that cannot show every byte has no button to approve (note A7).
      [names?.canDecide ?? 'canDecide']: String(isOpen && !request.tooLarge),
    },
  };
}

type About = { outboundMessageId: string; after: string | null; target: OutboundTarget; content: OutboundContentV2 };

async function tellAbout(
  trx: Trx<AgentTables>,
  context: GateContext,
  request: RequestRow,
  about: About,
): Promise<void> {
  await tellOutbound(trx, {
    ...about,
    environment: request.environment,
    lane: 'approval',
    correlationId: request.correlationId,
    causationId: request.id,
    now: context.now(),
  });
}

async function setLast(trx: Trx<AgentTables>, place: Place, outboundMessageId: string): Promise<void> {
  await trx
    .updateTable('approval_place')
    .set({ last_outbound_id: outboundMessageId })
    .where('request_id', '=', place.request_id)
    .where('robot_code', '=', place.robot_code)
    .where('conversation_id', '=', place.conversation_id)
    .execute();
}

/** A card that could not be created (no such template, no permission) is said in words instead. True if it was one of ours. */
export async function replaceFailedCard(
  trx: Trx<AgentTables>,
  context: GateContext,
  outboundMessageId: string,
): Promise<boolean> {
  const found = await findCardOf(trx, outboundMessageId);
  if (found === undefined) return false;
  // The request first, as every decision does; what was found before the lock is looked at again.
  const request = await lockRequest(trx, found.request_id);
  const place = await findCardOf(trx, outboundMessageId);
  if (place === undefined || request?.status !== 'pending') return false;
  await trx
    .updateTable('approval_place')
    .set({ out_track_id: null })
    .where('request_id', '=', place.request_id)
    .where('robot_code', '=', place.robot_code)
    .where('conversation_id', '=', place.conversation_id)
    .execute();
  const target = { kind: 'group' as const, robotCode: place.robot_code, conversationId: place.conversation_id };
  await showInPlace(trx, context, request, { ...place, out_track_id: null }, target);
  return true;
}

function findCardOf(trx: Trx<AgentTables>, outboundMessageId: string): Promise<Place | undefined> {
  return trx
    .selectFrom('approval_place')
    .selectAll()
    .where('last_outbound_id', '=', outboundMessageId)
    .where('out_track_id', 'is not', null)
    .executeTakeFirst();
}
