import type { Channel, ConsumeMessage } from 'amqplib';
import { type BusMessage, type QueueName, type ServiceName, deadExchangeName, exchangeOf } from '@steward/contracts';
import type { Logger } from '@steward/service-kit';
import { type Bus, type PublishOutcome, deadCodes } from './bus.ts';
import { allSettledWithin } from './all-settled-within.ts';
import { toBusBody } from './bus-body.ts';
import type { BusCounters } from './bus-counters.ts';
import { type ConfirmWindow, type Outgoing, createConfirmWindow } from './confirm-window.ts';
import { type LinkLimits, createRabbitLink, toReason } from './rabbit-link.ts';
import { assertPublishing } from './rabbit-topology.ts';
import { toLogFields } from './try-in-hand.ts';

/** On a dead letter: the code of the refusal. A letter without it was given up by RabbitMQ, see its `x-death`. */
export const deadCodeHeader = 'steward-dead-code';

/** Frames the channel buffers before `publish` says "enough, wait for drain". */
const highWaterMark = 64;

export type RabbitPublisher = {
  publish: Bus['publish'];
  /** Puts a refused delivery into the dead queue with its code. True once the server has confirmed that. */
  bury: (queue: QueueName, delivery: ConsumeMessage, code: string) => Promise<boolean>;
  isReady: () => boolean;
  attempted: Promise<unknown>;
  close: () => Promise<void>;
};

/** Publishes over a connection of its own: a blocked publisher must not stop this service's consumers from acking. */
export function createRabbitPublisher(o: {
  url: string;
  service: ServiceName;
  log: Logger;
  counters: BusCounters;
  confirmTimeoutMs: number;
  limits: LinkLimits;
}): RabbitPublisher {
  const { log, counters, confirmTimeoutMs } = o;
  let closed = false;
  const link = createRabbitLink<ConfirmWindow>({
    url: o.url,
    name: `${o.service} publish`,
    log,
    limits: o.limits,
    onReplaced: () => counters.reconnected('publish'),
    setUp: async ({ model, end }) => {
      const channel = await model.createConfirmChannel({ highWaterMark });
      endWithChannel(channel, end);
      await assertPublishing(channel, o.service);
      const window = createConfirmWindow({ channel, onSilence: () => end('a confirm is overdue') });
      model.on('blocked', (reason: string) => {
        log.warn('bus.publish.blocked', { reason });
        window.setBlocked(true);
      });
      model.on('unblocked', () => {
        log.info('bus.publish.unblocked');
        window.setBlocked(false);
      });
      return window;
    },
  });

  const sending = new Set<Promise<unknown>>();

  /** Without a connection the answer is "failed", at once: the outbox is the only buffer. */
  async function send(outgoing: readonly Outgoing[]): Promise<PublishOutcome[]> {
    const window = closed ? undefined : link.current();
    if (!window) return outgoing.map(() => 'failed');
    const sent = window.send(outgoing, confirmTimeoutMs);
    sending.add(sent);
    return sent.finally(() => sending.delete(sent));
  }

  return {
    publish: async (messages) => {
      const outgoing = messages.map((message) => toOutgoing(message, o.service, log));
      const sent = await send(outgoing.filter((one) => one !== null));
      const answers = sent.values();
      const outcomes = outgoing.map((one) => (one === null ? 'failed' : (answers.next().value ?? 'failed')));
      for (const outcome of outcomes) counters.published(outcome);
      return outcomes;
    },
    bury: async (queue, delivery, code) => {
      const [outcome] = await send([toDeadLetter(queue, delivery, code)]);
      return outcome === 'confirmed';
    },
    isReady: () => !closed && link.current()?.isBlocked() === false,
    attempted: link.attempted,
    close: async () => {
      closed = true;
      await allSettledWithin([...sending], confirmTimeoutMs);
      await link.close();
    },
  };
}

/** Any end of a channel ends its connection, and nothing that a listener throws reaches the process. */
export function endWithChannel(channel: Channel, end: (reason: string) => void): void {
  channel.on('error', (error) => end(toReason(error)));
  channel.on('close', () => end('the channel closed'));
  channel.on('handler-error', (error) => end(toReason(error)));
}

/** To the service's own exchange, whatever the type: a type of another service is wanted by nobody there. */
function toOutgoing(message: BusMessage, service: ServiceName, log: Logger): Outgoing | null {
  const body = toBusBody(message);
  if (body === null) {
    log.error('bus.publish.refused', { ...toLogFields(message), code: deadCodes.bodyTooLarge });
    return null;
  }
  const { id, type, correlationId } = message;
  const properties = { contentType: 'application/json', messageId: id, type, correlationId };
  return { exchange: exchangeOf(service), routingKey: type, body, properties };
}

/** Only what we know is copied: foreign headers (CC, x-death) mean something to the server. */
function toDeadLetter(queue: QueueName, delivery: ConsumeMessage, code: string): Outgoing {
  const known = delivery.properties;
  const properties = {
    contentType: textOrNothing(known.contentType),
    messageId: textOrNothing(known.messageId),
    type: textOrNothing(known.type),
    correlationId: textOrNothing(known.correlationId),
    headers: { [deadCodeHeader]: code },
  };
  return { exchange: deadExchangeName, routingKey: queue, body: delivery.content, properties };
}

export function textOrNothing(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}
