import type { ApiErrorCode } from './api-errors.ts';
import type { CardRecord } from './records.ts';
import { objectOf, textField } from './reply.ts';
import type { Reply } from './reply.ts';
import { DAY_MS, findRobotRefusal } from './robot-api.ts';
import type { Simulation } from './simulation.ts';
import { singleChatId } from './world.ts';

type Body = Record<string, unknown>;
type Space = { type: string; id: string };
type Delivery = { spaceType: string; spaceId: string; success: boolean; carrierId: string; errorMsg: string };
type Delivered = { results: Delivery[]; sent?: NonNullable<Reply['sent']> };

/** Section 7.1: the models that go with each kind of space. */
const models: Record<string, { space: string; deliver: string }> = {
  IM_GROUP: { space: 'imGroupOpenSpaceModel', deliver: 'imGroupOpenDeliverModel' },
  IM_ROBOT: { space: 'imRobotOpenSpaceModel', deliver: 'imRobotOpenDeliverModel' },
};

/**
 * Delivers a card into every space that a body names; with null for a card it only looks whether the body is one that
 * could be delivered. A space that cannot be reached is a failure inside a success.
 */
export function deliverCard(
  s: Simulation,
  body: Body,
  appKey: string,
  card: CardRecord | null,
): Delivered | { refused: ApiErrorCode } {
  const spaces = readSpaces(textField(body, 'openSpaceId'));
  if (spaces === undefined) return { refused: 'param.openSpaceIdInvalid' };
  const results: Delivery[] = [];
  let sent: Delivered['sent'];
  for (const space of spaces) {
    const model = models[space.type];
    const deliver = objectOf(model && body[model.deliver]);
    if (model === undefined || textField(deliver, 'robotCode') === '')
      return { refused: 'param.openDeliverModelEmpty' };
    if (typeof objectOf(body[model.space]).supportForward !== 'boolean')
      return { refused: 'param.supportForwardEmpty' };
    const refused = findRobotRefusal(s, deliver, appKey);
    if (refused) return { refused };
    const lastText = textField(objectOf(objectOf(body[model.space]).lastMessageI18n), 'ZH_CN');
    const made = card === null ? place(s, space, deliver) : deliverInto(s, { card, space, deliver, lastText });
    results.push(toDelivery(space, made));
    if (made !== undefined) sent = { robot: textField(deliver, 'robotCode'), text: lastText, ...made };
  }
  return { results, ...(sent && { sent }) };
}

type Made = { conversationId: string; staffIds: string[]; processQueryKey?: string };

function toDelivery({ type, id }: Space, made: Made | undefined): Delivery {
  const carrierId = made?.processQueryKey ?? '';
  const errorMsg = made === undefined ? '%s' : '';
  return { spaceType: type, spaceId: id, success: made !== undefined, carrierId, errorMsg };
}

/** `dtv1.card//<TYPE>.<id>[;<TYPE>.<id>…]`, the type in either case. */
function readSpaces(openSpaceId: string): Space[] | undefined {
  const prefix = 'dtv1.card//';
  if (!openSpaceId.startsWith(prefix) || openSpaceId.length > 1_000) return undefined;
  const spaces = openSpaceId
    .slice(prefix.length)
    .split(';')
    .map((part) => /^([A-Za-z_]+)\.(.+)$/.exec(part));
  const read = spaces.flatMap((found) => (found ? [{ type: (found[1] ?? '').toUpperCase(), id: found[2] ?? '' }] : []));
  return read.length === spaces.length ? read : undefined;
}

/** Which conversation a space is and who sees the card there; undefined where it cannot be delivered. */
function place(s: Simulation, { type, id }: Space, deliver: Body): Made | undefined {
  if (s.faults.cardDeliveryFails.some((failing) => failing === '*' || failing === id)) return undefined;
  const robotCode = textField(deliver, 'robotCode');
  if (type === 'IM_GROUP') {
    const room = s.world.rooms.find((known) => known.conversationId === id);
    if (room?.kind !== 'group' || !room.robots.includes(robotCode)) return undefined;
    const listed = Array.isArray(deliver.recipients) ? deliver.recipients.map(String) : [];
    const isOpen = listed.length === 0 || listed.includes('@ALL');
    return { conversationId: id, staffIds: room.members.filter((member) => isOpen || listed.includes(member)) };
  }
  const person = s.world.people.find((known) => known.staffId === id || known.unionId === id);
  if (person === undefined) return undefined;
  return { conversationId: singleChatId(s.world, robotCode, person.staffId), staffIds: [person.staffId] };
}

function deliverInto(
  s: Simulation,
  o: { card: CardRecord; space: Space; deliver: Body; lastText: string },
): Made | undefined {
  const { card, space, deliver, lastText } = o;
  const made = place(s, space, deliver);
  if (made === undefined) return undefined;
  const { conversationId, staffIds } = made;
  const before = card.spaces.find((known) => known.conversationId === conversationId);
  if (before && s.faults.cardRedelivery === 'ignored') return { ...made, processQueryKey: before.carrierId };
  const robotCode = textField(deliver, 'robotCode');
  const isGroup = space.type === 'IM_GROUP';
  const key = { robotCode, staffIds, ...(isGroup && { conversationId }) };
  const carrierId = s.sentKeys.issue(key, s.scaled(DAY_MS));
  card.spaces.push({ at: s.now(), spaceType: space.type, conversationId, visibleTo: staffIds, carrierId });
  s.chat.add({
    ...{ at: s.now(), conversationId, ...(!isGroup && { staffId: staffIds[0] ?? '' }) },
    ...{ from: { kind: 'robot', id: robotCode }, via: 'card', msgtype: 'interactiveCard', text: lastText },
    ...{ content: { outTrackId: card.outTrackId }, mentions: [], processQueryKey: carrierId },
  });
  return { ...made, processQueryKey: carrierId };
}
