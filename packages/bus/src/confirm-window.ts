import type { ConfirmChannel, Message, Options } from 'amqplib';
import type { PublishOutcome } from './bus.ts';

/** One body on its way out. */
export type Outgoing = { exchange: string; routingKey: string; body: Buffer; properties: Properties };
type Properties = Pick<Options.Publish, 'contentType' | 'messageId' | 'type' | 'correlationId'> & {
  headers?: Record<string, string>;
};

/** The most that may be unconfirmed at once: fast enough to hide the round trip, small enough to lose cheaply. */
export const windowSize = 100;

/** Names a publish on the wire, because a returned body carries no delivery tag to recognise it by. */
const publishNumberHeader = 'steward-publish';

/** What the window needs of a confirm channel. */
type WindowChannel = Pick<ConfirmChannel, 'publish'> & {
  on(event: 'drain' | 'close', listener: () => void): unknown;
  on(event: 'return', listener: (returned: Message) => void): unknown;
};

type Ticket = { outgoing: Outgoing; settle: (outcome: PublishOutcome) => void; settled: boolean; returned: boolean };

export type ConfirmWindow = {
  /** The outcomes in order, each within `timeoutMs`. */
  send: (outgoing: readonly Outgoing[], timeoutMs: number) => Promise<PublishOutcome[]>;
  setBlocked: (blocked: boolean) => void;
  isBlocked: () => boolean;
};

/**
 * The confirms of one channel. A slot is freed by the server's word or by the end of the channel, never by our
 * impatience, so that amqplib's own list of unconfirmed publishes cannot outgrow the window.
 * `onSilence` is called when a confirm is overdue although the server does not block us: the channel is worth nothing.
 */
export function createConfirmWindow(o: { channel: WindowChannel; onSilence: () => void }): ConfirmWindow {
  const { channel } = o;
  const waiting: Ticket[] = [];
  const unconfirmed = new Map<number, Ticket>();
  let writable = true;
  let blocked = false;
  let closed = false;
  let lastNumber = 0;

  function fillWindow(): void {
    while (writable && !blocked && !closed && unconfirmed.size < windowSize) {
      const ticket = waiting.shift();
      if (!ticket) return;
      if (!ticket.settled) sendOne(ticket);
    }
  }

  function sendOne(ticket: Ticket): void {
    lastNumber += 1;
    const number = lastNumber;
    const { exchange, routingKey, body, properties } = ticket.outgoing;
    const options = {
      ...properties,
      headers: { ...properties.headers, [publishNumberHeader]: number },
      mandatory: true,
      persistent: true,
    };
    unconfirmed.set(number, ticket);
    try {
      writable = channel.publish(exchange, routingKey, body, options, (error: unknown) => {
        unconfirmed.delete(number);
        ticket.settle(error ? 'failed' : ticket.returned ? 'unroutable' : 'confirmed');
        fillWindow();
      });
    } catch {
      // The channel closed under our hands; its `close` is about to tell.
      unconfirmed.delete(number);
      ticket.settle('failed');
    }
  }

  function failWaiting(): void {
    for (const ticket of waiting.splice(0)) ticket.settle('failed');
  }

  channel.on('drain', () => {
    writable = true;
    fillWindow();
  });
  // The server returns what nobody wants before it confirms it.
  channel.on('return', (returned) => {
    const ticket = unconfirmed.get(Number(returned.properties.headers?.[publishNumberHeader]));
    if (ticket) ticket.returned = true;
  });
  channel.on('close', () => {
    closed = true;
    failWaiting();
  });

  return {
    send: async (outgoing, timeoutMs) => {
      const tickets = outgoing.map(createTicket);
      if (blocked || closed) return outgoing.map(() => 'failed');
      for (const { ticket } of tickets) waiting.push(ticket);
      fillWindow();
      const timer = setTimeout(() => {
        for (const { ticket } of tickets) ticket.settle('failed');
        if (!blocked && isOverdue()) o.onSilence();
      }, timeoutMs);
      const outcomes = await Promise.all(tickets.map(({ outcome }) => outcome));
      clearTimeout(timer);
      return outcomes;
    },
    setBlocked: (now) => {
      blocked = now;
      if (blocked) failWaiting();
      else fillWindow();
    },
    isBlocked: () => blocked,
  };

  function isOverdue(): boolean {
    return [...unconfirmed.values()].some((ticket) => ticket.settled);
  }
}

function createTicket(outgoing: Outgoing): { ticket: Ticket; outcome: Promise<PublishOutcome> } {
  const { promise, resolve } = Promise.withResolvers<PublishOutcome>();
  const ticket: Ticket = {
    outgoing,
    settled: false,
    returned: false,
    settle: (outcome) => {
      ticket.settled = true;
      resolve(outcome);
    },
  };
  return { ticket, outcome: promise };
}
