import { clickSchema, eventSchema, saySchema } from './control-requests.ts';
import { applyAnswer } from './card-store.ts';
import { findClicked, viaOf } from './control-cards.ts';
import { ControlError, requireAnyApp } from './control-errors.ts';
import type { SimulatorControl } from './control.ts';
import type { HttpPusher } from './http-push.ts';
import { applyVariants } from './payload-variants.ts';
import { createPushCourses } from './push-course.ts';
import { cardTopic, eventTopic, planCardPush, planEventPush, planRobotPush, robotTopic } from './push-plans.ts';
import type { EventMeta } from './push-plans.ts';
import { randomUUID } from 'node:crypto';
import type { PushRecord } from './records.ts';
import { buildCardPayload, buildMsgId, buildRobotPayload } from './robot-payload.ts';
import type { Saying } from './robot-payload.ts';
import type { Simulation } from './simulation.ts';
import type { StreamConnections } from './stream-connections.ts';
import { singleChatId } from './world.ts';
import type { SimulatorApp } from './world.ts';

type Parts = { simulation: Simulation; stream: StreamConnections; http: HttpPusher };
type Via = 'http' | 'stream' | 'auto';

/** The verbs that make people and the platform act: say, click, event. */
export function createPushVerbs(parts: Parts): Pick<SimulatorControl, 'say' | 'click' | 'event'> {
  const { simulation: s, stream } = parts;
  const courses = createPushCourses(s);
  const choose = (
    via: Via,
    app: SimulatorApp,
    topic: Parameters<typeof stream.hasSubscriber>[1],
    url?: string,
  ): 'http' | 'stream' => {
    if (via !== 'auto') return via;
    return url !== undefined && !stream.hasSubscriber(app.appKey, topic) ? 'http' : 'stream';
  };
  const open = (
    kind: PushRecord['kind'],
    app: SimulatorApp,
    key: string,
    via: 'http' | 'stream',
    payload: PushRecord['payload'],
  ): PushRecord =>
    s.pushes.add({
      ...{ at: s.now(), kind, appKey: app.appKey, robotCode: app.robotCode, key, via, payload },
      ...{ attempts: [], outcome: 'pending' },
    });

  return {
    say: async (o) => {
      const say = saySchema.parse(o);
      const saying = findSaying(s, say);
      const { app, msgId } = saying;
      const isPaid = s.limits.spend('pushes of the month', s.faults.monthlyPushes);
      const variants = [say.variant ?? s.faults.payloadVariants, isPaid ? [] : ['overQuota' as const]].flat();
      const payload = { ...applyVariants(buildRobotPayload(s, saying), variants), ...say.payload };
      recordSaying(s, saying);
      const push = open('robot', app, msgId, choose(say.via, app, robotTopic, app.callback?.robotUrl), payload);
      return { msgId, delivered: await courses.run(push, planRobotPush(parts, app, push), say.times) };
    },
    click: async (o) => {
      const click = clickSchema.parse(o);
      const { app, card, spaceId, route } = findClicked(s, click);
      const payload = buildCardPayload({ ...click, corpId: click.corpId ?? s.world.corpId, spaceId });
      const url = route?.url ?? app.callback?.cardUrl;
      const via = click.via === 'auto' && card ? viaOf(card) : choose(click.via, app, cardTopic, url);
      const push = open('card', app, click.outTrackId, via, payload);
      // A card without a callback type calls back nobody (reference section 7.1).
      if (card?.callbackType === '') {
        push.outcome = 'failed';
        return { delivered: [{ via, outcome: 'no-door' }], answer: null };
      }
      const delivered = await courses.run(push, planCardPush(parts, app, push, route), click.times);
      const answered = push.attempts.find(({ outcome }) => outcome === 'acked')?.answer;
      if (card && answered !== undefined) applyAnswer(s, card, click.staffId, answered);
      return { delivered, answer: push.attempts[0]?.answer ?? null };
    },
    event: async (o) => {
      const asked = eventSchema.parse(o);
      const app = requireAnyApp(s.world, asked.app);
      const meta: EventMeta = {
        ...{
          eventId: asked.eventId ?? randomUUID(),
          eventType: asked.eventType,
          corpId: asked.corpId ?? s.world.corpId,
        },
        ...{ bornTime: s.now(), fields: asked.payload },
      };
      const isCheck = asked.eventType === 'check_url';
      const via = isCheck ? 'http' : choose(asked.via, app, eventTopic, app.callback?.eventUrl);
      const push = open('event', app, meta.eventId, via, via === 'http' ? buildHttpEvent(meta) : meta.fields);
      if (!isCheck && !s.limits.spend('pushes of the month', s.faults.monthlyPushes)) {
        // Over the month's quota events simply stop (reference section 6.1).
        push.outcome = 'dropped';
        return { eventId: meta.eventId, delivered: [{ via, outcome: 'dropped' }] };
      }
      return {
        eventId: meta.eventId,
        delivered: await courses.run(push, planEventPush(parts, app, push, meta), asked.times),
      };
    },
  };
}

function findSaying(
  s: Simulation,
  say: { robot: string; room?: string; staffId?: string; text: string; msgId?: string },
): Saying {
  const app = requireAnyApp(s.world, say.robot);
  const room = s.world.rooms.find((known) => known.conversationId === say.room || known.title === say.room);
  if (say.room !== undefined && room === undefined) throw new ControlError(`no room ${say.room}`);
  if (room && !room.robots.includes(app.robotCode)) throw new ControlError(`${app.name} is not in room ${room.title}`);
  const staffId = say.staffId ?? room?.members[0];
  const person = s.world.people.find((known) => known.staffId === staffId);
  if (person === undefined) throw new ControlError(`nobody has staffId ${staffId ?? '(none)'}`);
  const conversationId = room?.conversationId ?? singleChatId(s.world, app.robotCode, person.staffId);
  const group = room?.kind === 'group' ? { room } : {};
  return { app, person, ...group, conversationId, text: say.text, msgId: say.msgId ?? buildMsgId() };
}

function recordSaying(s: Simulation, { room, person, conversationId, text, msgId }: Saying): void {
  s.chat.add({
    ...{ at: s.now(), conversationId, ...(room === undefined && { staffId: person.staffId }) },
    ...{ from: { kind: 'person', id: person.staffId }, via: 'chat', msgtype: 'text' },
    ...{ text, content: { content: text }, mentions: [], msgId },
  });
}

/** Flat: PascalCase meta fields beside the business fields (reference section 3.3). */
function buildHttpEvent(meta: EventMeta): Record<string, unknown> {
  if (meta.eventType === 'check_url') return { EventType: 'check_url', ...meta.fields };
  return {
    ...{ EventType: meta.eventType, EventTime: meta.bornTime, CorpId: meta.corpId, eventId: meta.eventId },
    ...meta.fields,
  };
}
