import type { Channel, ConsumeMessage } from 'amqplib';
import { AppError, type Logger } from '@steward/service-kit';
import { type QueueName, type ServiceName, deadQueueName } from '@steward/contracts';
import {
  type BusHandler,
  type ConsumeOptions,
  type DeadDelivery,
  closeTimeoutMs,
  deadCodes,
  defaultPrefetch,
} from './bus.ts';
import { parseBusBody } from './bus-body.ts';
import type { BusCounters } from './bus-counters.ts';
import { keepDead } from './keep-dead.ts';
import { type LinkLimits, type Session, createRabbitLink, toReason } from './rabbit-link.ts';
import { type RabbitPublisher, deadCodeHeader, endWithChannel, textOrNothing } from './rabbit-publisher.ts';
import { assertConsuming } from './rabbit-topology.ts';
import { type Ending, type RetryLimits, tryInHand } from './try-in-hand.ts';
import { allSettledWithin } from './all-settled-within.ts';

type Subscription = {
  queue: QueueName;
  handler: BusHandler;
  prefetch: number;
  onDead: ConsumeOptions['onDead'];
  inHand: Set<Promise<void>>;
  /** The session that it was begun on, and whether that is finished. */
  session?: Session;
  active: boolean;
};

/** Where a delivery came in. `signal` aborts when waiting for a retry has become pointless. */
type Place = { session: Session; channel: Channel; subscription: Subscription; signal: AbortSignal };

export type RabbitConsumer = {
  consume: (queue: QueueName, handler: BusHandler, options?: ConsumeOptions) => Promise<void>;
  isReady: () => boolean;
  attempted: Promise<unknown>;
  close: () => Promise<void>;
};

/** Consumes over a connection of its own, one channel for each queue, so that each has its own prefetch. */
export function createRabbitConsumer(o: {
  url: string;
  service: ServiceName;
  log: Logger;
  counters: BusCounters;
  publisher: Pick<RabbitPublisher, 'bury'>;
  retry: RetryLimits;
  limits: LinkLimits;
  reassertMs: number;
}): RabbitConsumer {
  const { log, counters, publisher } = o;
  const subscriptions = new Map<QueueName, Subscription>();
  const closing = new AbortController();
  let present: Session | undefined;
  const link = createRabbitLink<Session>({
    url: o.url,
    name: `${o.service} consume`,
    log,
    limits: o.limits,
    onReplaced: () => counters.reconnected('consume'),
    setUp: async (session) => {
      // From the first moment on, so that a `consume` meanwhile finds it: one of the two will subscribe.
      present = session;
      for (const subscription of subscriptions.values()) await subscribe(session, subscription);
      return session;
    },
  });

  async function subscribe(session: Session, subscription: Subscription): Promise<void> {
    // `consume` and a new connection may both ask for it; the first one does it.
    if (closing.signal.aborted || subscription.session === session) return;
    subscription.session = session;
    subscription.active = false;
    const channel = await session.model.createChannel();
    endWithChannel(channel, session.end);
    await assertConsuming(channel, subscription.queue);
    session.signal.throwIfAborted();
    reassertRegularly(session, channel, subscription.queue);
    await channel.prefetch(subscription.prefetch);
    const place = { session, channel, subscription, signal: AbortSignal.any([session.signal, closing.signal]) };
    const { consumerTag } = await channel.consume(subscription.queue, (delivery) => {
      // Null: the server cancelled us, the queue was deleted. A new session makes it again.
      if (delivery === null) session.end(`${subscription.queue} was taken away`);
      else if (!closing.signal.aborted) takeInHand(place, delivery);
    });
    const tags = [consumerTag, ...(await subscribeToDead(place))];
    const cancel = () => tags.forEach((tag) => void channel.cancel(tag).catch(() => undefined));
    closing.signal.addEventListener('abort', cancel, { signal: session.signal });
    session.signal.addEventListener('abort', () => (subscription.active = false));
    subscription.active = !session.signal.aborted;
  }

  /** The dead queue is read beside its queue, by whoever wants what dies there. */
  async function subscribeToDead(place: Place): Promise<string[]> {
    const { session, channel, subscription, signal } = place;
    const { queue, inHand, onDead } = subscription;
    if (onDead === undefined) return [];
    const { consumerTag } = await channel.consume(deadQueueName(queue), (delivery) => {
      if (delivery === null) return session.end(`${deadQueueName(queue)} was taken away`);
      if (closing.signal.aborted) return;
      const run = keepDead({ onDead, limits: o.retry, signal, log }, toDeadDelivery(queue, delivery))
        .then((kept) => {
          if (kept && !session.signal.aborted) channel.ack(delivery);
        })
        .catch((error: unknown) => session.end(toReason(error)))
        .finally(() => inHand.delete(run));
      inHand.add(run);
    });
    return [consumerTag];
  }

  /** Nobody tells a consumer that its bindings are gone, so they are made sure of now and then. */
  function reassertRegularly(session: Session, channel: Channel, queue: QueueName): void {
    const timer = setInterval(() => {
      assertConsuming(channel, queue).catch((error: unknown) => session.end(toReason(error)));
    }, o.reassertMs);
    session.signal.addEventListener('abort', () => clearInterval(timer));
  }

  function takeInHand(place: Place, delivery: ConsumeMessage): void {
    const { queue, inHand } = place.subscription;
    const run = workOn(place, delivery).finally(() => {
      inHand.delete(run);
      counters.inHand(queue, inHand.size);
    });
    inHand.add(run);
    counters.inHand(queue, inHand.size);
  }

  /** Never rejects: what goes wrong in telling the server ends the session, and the delivery comes again. */
  async function workOn(place: Place, delivery: ConsumeMessage): Promise<void> {
    const { session, channel, subscription } = place;
    try {
      const ending = await findEnding(place, delivery);
      // The server has taken the delivery back with the connection; whoever gets it next will tell how it ended.
      if (session.signal.aborted) return;
      counters.consumed(subscription.queue, ending.kind);
      if (ending.kind === 'done') channel.ack(delivery);
      else if (ending.kind === 'returned') channel.nack(delivery, false, true);
      else await refuse(channel, subscription.queue, delivery, ending.code);
    } catch (error) {
      session.end(toReason(error));
    }
  }

  function findEnding({ signal, subscription }: Place, delivery: ConsumeMessage): Promise<Ending> {
    const parsed = parseBusBody(delivery.content);
    if (parsed.kind === 'refused') return Promise.resolve({ kind: 'dead', code: parsed.code });
    const deliveryCount = Number(delivery.properties.headers?.['x-delivery-count'] ?? 0);
    const circumstances = { redelivered: delivery.fields.redelivered, deliveryCount };
    const deps = { handler: subscription.handler, limits: o.retry, signal, log };
    return tryInHand(deps, parsed.message, circumstances);
  }

  /** Buried by us the letter carries its code; if that cannot be confirmed, RabbitMQ dead-letters it without. */
  async function refuse(channel: Channel, queue: QueueName, delivery: ConsumeMessage, code: string): Promise<void> {
    const messageId: unknown = delivery.properties.messageId;
    const correlationId: unknown = delivery.properties.correlationId;
    log.error('bus.delivery.dead', { queue, code, busMessageId: messageId, correlationId });
    if (await publisher.bury(queue, delivery, code)) channel.ack(delivery);
    else channel.nack(delivery, false, false);
  }

  return {
    consume: async (queue, handler, { prefetch = defaultPrefetch, onDead } = {}) => {
      if (closing.signal.aborted) throw new AppError('BUS_CLOSED', 'the bus is closed', { retryable: false });
      if (subscriptions.has(queue)) {
        throw new AppError('BUS_CONSUMER_EXISTS', `${queue} has its handler`, { retryable: false });
      }
      const subscription = { queue, handler, prefetch, onDead, inHand: new Set<Promise<void>>(), active: false };
      subscriptions.set(queue, subscription);
      const session = present;
      if (!session || session.signal.aborted) return;
      // If it fails, the next session subscribes: the caller has nothing to repeat.
      await subscribe(session, subscription).catch((error: unknown) => session.end(toReason(error)));
    },
    isReady: () =>
      !closing.signal.aborted &&
      link.current() !== undefined &&
      [...subscriptions.values()].every(({ active }) => active),
    attempted: link.attempted,
    close: async () => {
      closing.abort();
      await allSettledWithin(
        [...subscriptions.values()].flatMap(({ inHand }) => [...inHand]),
        closeTimeoutMs,
      );
      await link.close();
    },
  };
}

/** Buried by us it carries its code; given up by RabbitMQ, the reason of its first death. */
function toDeadDelivery(queue: QueueName, { content, properties }: ConsumeMessage): DeadDelivery {
  const headers = properties.headers ?? {};
  const code = textOrNothing(headers[deadCodeHeader]);
  const limit = headers['x-first-death-reason'] === 'delivery_limit';
  return {
    queue,
    code: code ?? (limit ? deadCodes.deliveryLimit : deadCodes.refused),
    body: content,
    type: textOrNothing(properties.type) ?? null,
    messageId: textOrNothing(properties.messageId) ?? null,
    correlationId: textOrNothing(properties.correlationId) ?? null,
  };
}
