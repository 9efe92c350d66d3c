import type { CardRoute, HttpPusher } from './http-push.ts';
import type { PushPlan } from './push-course.ts';
import type { Attempt, PushRecord } from './records.ts';
import type { Simulation } from './simulation.ts';
import type { Frame, StreamConnections } from './stream-connections.ts';
import type { SimulatorApp } from './world.ts';

const KEPT_FAILED_EVENTS = 10_000;
export const robotTopic = { type: 'CALLBACK', topic: '/v1.0/im/bot/messages/get' } as const;
export const cardTopic = { type: 'CALLBACK', topic: '/v1.0/card/instances/callback' } as const;
export const eventTopic = { type: 'EVENT', topic: '*' } as const;

type Doors = { simulation: Simulation; stream: StreamConnections; http: HttpPusher };

/** How a robot message is pushed: HTTP with its retry schedule; Stream with one redelivery after the ack time. */
export function planRobotPush({ simulation: s, stream, http }: Doors, app: SimulatorApp, push: PushRecord): PushPlan {
  if (push.via === 'http') {
    return { attempt: () => http.pushRobot(app, push.payload), nextWaitMs: follow(s, () => s.faults.robotRetryMs) };
  }
  const frame: Frame = { ...robotTopic, data: JSON.stringify(push.payload) };
  return {
    attempt: () => stream.push(app.appKey, frame, s.scaled(s.faults.streamAckTimeoutMs)),
    nextWaitMs: (failed, attempts) => {
      const isUnacked = failed.outcome === 'timeout' || failed.outcome === 'broken' || failed.outcome === 'swallowed';
      if (!isUnacked || attempts > 1 || s.faults.streamRedelivery === 'never') return null;
      // A socket that broke early does not bring the redelivery forward.
      return Math.max(0, s.scaled(s.faults.streamAckTimeoutMs) - failed.ms);
    },
  };
}

/** How a card click is pushed: the answer counts within two seconds; repeated only if the switch says so. */
export function planCardPush(
  { simulation: s, stream, http }: Doors,
  app: SimulatorApp,
  push: PushRecord,
  route?: CardRoute,
): PushPlan {
  const frame: Frame = { ...cardTopic, data: JSON.stringify(push.payload) };
  return {
    attempt: () =>
      push.via === 'http'
        ? http.pushCard(app, push.payload, route)
        : stream.push(app.appKey, frame, s.faults.cardPushTimeoutMs),
    nextWaitMs: follow(s, () => s.faults.cardRetryMs),
  };
}

export type EventMeta = {
  eventId: string;
  eventType: string;
  corpId: string;
  bornTime: number;
  fields: Record<string, unknown>;
};

/** How an event is pushed: encrypted over HTTP and at last into the failed list; in frame headers over Stream. */
export function planEventPush(doors: Doors, app: SimulatorApp, push: PushRecord, meta: EventMeta): PushPlan {
  const { simulation: s, stream, http } = doors;
  if (push.via === 'http') {
    return {
      attempt: () => http.pushEvent(app, push.payload),
      nextWaitMs: follow(s, () => s.faults.httpEventRetryMs),
      // The check of the URL happens while the console saves it: it is not an event that could be read later.
      onFailed: () => meta.eventType !== 'check_url' && listFailedEvent(s, meta),
    };
  }
  const headers = {
    ...{ eventId: meta.eventId, eventType: meta.eventType, eventCorpId: meta.corpId },
    ...{ eventBornTime: `${meta.bornTime}`, eventUnifiedAppId: app.appKey },
  };
  const frame: Frame = { ...eventTopic, headers, data: JSON.stringify(meta.fields) };
  return {
    attempt: () => stream.push(app.appKey, frame, s.scaled(s.faults.streamEventAckMs)),
    nextWaitMs: follow(s, () => s.faults.streamEventRetryMs),
  };
}

function follow(s: Simulation, schedule: () => readonly number[]): PushPlan['nextWaitMs'] {
  return (failed: Attempt, attempts) => {
    const waitMs = failed.outcome === 'no-door' ? undefined : schedule()[attempts - 1];
    return waitMs === undefined ? null : s.scaled(waitMs);
  };
}

/** The entry of get_call_back_failed_result (reference section 3.4). */
function listFailedEvent(s: Simulation, { eventType, corpId, bornTime, fields }: EventMeta): void {
  const name = eventType.startsWith('bpms_')
    ? 'bpmsCallBackData'
    : eventType.startsWith('label_')
      ? 'roleLabelChange'
      : 'callbackData';
  const row = { call_back_tag: eventType, event_time: bornTime, [eventType]: { corpid: corpId, [name]: fields } };
  s.failedEvents.rows.push(row);
  if (s.failedEvents.rows.length > KEPT_FAILED_EVENTS) s.failedEvents.rows.shift();
}
