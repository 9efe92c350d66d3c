import { describeError } from '@steward/service-kit';
import type { Logger } from '@steward/service-kit';
import type { CardResponse } from './card-callback.ts';
import { toPlatformEvent } from './platform-event.ts';
import type { PlatformEventView } from './platform-event.ts';
import { buildAck, cardTopic, robotTopic } from './stream-frame.ts';
import type { StreamAck, StreamFrame } from './stream-frame.ts';
import { withinMs } from './stream-timers.ts';
import type { StreamTimers } from './stream-timers.ts';

/** Transport ids of a push; `messageId` is new on every redelivery. */
export type StreamPush = { messageId: string; connectionId: string | null };

/**
 * Who receives what. A promise resolves once the push is durable: only then is it acked. What is absent is not
 * subscribed, and answered 404 if it comes all the same.
 */
export type StreamReceivers = {
  /** Payload for `parseRobotMessage`. A rejection, or 20 s without an end, leaves the frame unacked. */
  robotMessage?: (payload: unknown, push: StreamPush) => Promise<void>;
  /** Payload for `parseCardCallback`. The person sees a failure after 2 s, so this has 1.9 s. */
  cardCallback?: (payload: unknown, push: StreamPush) => Promise<CardResponse | null>;
  /** LATER, or a rejection, asks for the same event again. */
  platformEvent?: (view: PlatformEventView, push: StreamPush) => Promise<'SUCCESS' | 'LATER'>;
};

/** Takes pushes and answers each when it is durable. */
export type PushDesk = {
  /** Never throws. Over the limit, or once closed, the frame stays unanswered: the platform may send it again. */
  take(frame: StreamFrame, reply: (ack: StreamAck) => void): void;
  /** Takes nothing more, and resolves when nothing is in hand. */
  close(): Promise<void>;
};

const receiveLimitMs = 20_000;
const cardLimitMs = 1_900;

/** A desk with at most `maxInHand` pushes at a time. */
export function createPushDesk(o: {
  receivers: StreamReceivers;
  maxInHand: number;
  timers: StreamTimers;
  log: Logger;
}): PushDesk {
  const inHand = new Set<Promise<void>>();
  let closed = false;
  let overloaded = false;

  const answer = async (frame: StreamFrame, messageId: string, reply: (ack: StreamAck) => void): Promise<void> => {
    try {
      reply(await answerPush(o, frame, { messageId, connectionId: frame.connectionId }));
    } catch (error) {
      o.log.error('stream.push_failed', { topic: frame.topic, messageId, error: describeError(error) });
      const ack = ackFailure(frame, messageId);
      if (ack !== null) reply(ack);
    }
  };

  return {
    take: (frame, reply) => {
      if (closed || frame.messageId === null) return;
      if (inHand.size >= o.maxInHand) {
        if (!overloaded) o.log.warn('stream.overloaded', { inHand: inHand.size });
        overloaded = true;
        return;
      }
      overloaded = false;
      const running = answer(frame, frame.messageId, reply).finally(() => inHand.delete(running));
      inHand.add(running);
    },
    close: async () => {
      closed = true;
      await Promise.all(inHand);
    },
  };
}

async function answerPush(
  o: { receivers: StreamReceivers; timers: StreamTimers },
  frame: StreamFrame,
  push: StreamPush,
): Promise<StreamAck> {
  const { robotMessage, cardCallback, platformEvent } = o.receivers;
  const within = async <T>(limitMs: number, received: Promise<T>): Promise<T> => {
    const settled = await withinMs(o.timers, limitMs, received);
    if (settled === 'late') throw new Error(`not durable within ${limitMs} ms`);
    return settled;
  };
  if (frame.type === 'EVENT' && platformEvent) {
    const view = toPlatformEvent(frame.headers, frame.payload);
    return eventAck(push.messageId, await within(receiveLimitMs, platformEvent(view, push)));
  }
  const isRobot = frame.type === 'CALLBACK' && frame.topic === robotTopic && robotMessage !== undefined;
  const isCard = frame.type === 'CALLBACK' && frame.topic === cardTopic && cardCallback !== undefined;
  if (!isRobot && !isCard) return buildAck(push.messageId, 404, { response: null });
  // Data that is not JSON never becomes it: say so instead of asking for it again.
  if (frame.payload === undefined) return buildAck(push.messageId, 400, { response: null });
  if (isCard) {
    const response = await within(cardLimitMs, cardCallback(frame.payload, push));
    return buildAck(push.messageId, 200, { response });
  }
  if (isRobot) await within(receiveLimitMs, robotMessage(frame.payload, push));
  return buildAck(push.messageId, 200, { response: null });
}

/** A robot message gets no answer: an unacked frame is what the platform sends again, and any answer ends it. */
function ackFailure(frame: StreamFrame, messageId: string): StreamAck | null {
  if (frame.type === 'EVENT') return eventAck(messageId, 'LATER');
  return frame.topic === robotTopic ? null : buildAck(messageId, 500, { response: null });
}

function eventAck(messageId: string, status: 'SUCCESS' | 'LATER'): StreamAck {
  return buildAck(messageId, 200, { status, message: status === 'SUCCESS' ? 'ok' : 'not stored yet' });
}
