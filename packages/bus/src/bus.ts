import type { BusMessage, QueueName } from '@steward/contracts';

/**
 * What became of a published bus message.
 * `confirmed`: a queue holds it durably. `unroutable`: no queue wants its type yet. `failed`: nothing is known, it may
 * or may not have arrived. Only `confirmed` ends the publisher's duty; the outbox publishes everything else again.
 */
export type PublishOutcome = 'confirmed' | 'unroutable' | 'failed';

/** What the broker knows about one delivery. `deliveryCount` is how often it was given out before and came back. */
export type Delivery = { redelivered: boolean; deliveryCount: number };

/**
 * Resolves: the bus message is done. Rejects with an AppError that is not retryable: it goes to the dead queue.
 * Rejects with anything else: it is tried again in hand, then returned to the queue. Must bound its own waits.
 */
export type BusHandler = (message: BusMessage, delivery: Delivery) => Promise<void>;

/** A delivery that was refused for good or came back too often, as the dead queue has it. `body` is what was on the wire. */
export type DeadDelivery = {
  queue: QueueName;
  code: string;
  body: Buffer;
  /** What its sender said of it; anybody could have written that. */
  type: string | null;
  messageId: string | null;
  correlationId: string | null;
};

export type ConsumeOptions = {
  /**
   * Takes over what died in this queue: once it resolves, the bus forgets the letter. Tried again in hand while it rejects.
   * Without it dead letters stay in the dead queue.
   */
  onDead?: (letter: DeadDelivery) => Promise<void>;
  /** How many deliveries may be in hand at once, 20 unless told. */
  prefetch?: number;
};

/** Contract messages to and from the other services, at least once. */
export type Bus = {
  /** One outcome for each bus message, in the same order. Never rejects; takes at most the confirm timeout. */
  publish: (messages: readonly BusMessage[]) => Promise<PublishOutcome[]>;
  /** Takes effect now, or as soon as the server is back. Rejects for a second handler of a queue and after `close`. */
  consume: (queue: QueueName, handler: BusHandler, options?: ConsumeOptions) => Promise<void>;
  /** True while publishing is possible and every queue asked for is being consumed. */
  isReady: () => boolean;
  /** Stops consuming, waits (bounded) for the handlers in hand, then closes. Repeating it is harmless. */
  close: () => Promise<void>;
};

export const defaultPrefetch = 20;

/** Largest body either way: far above what the contracts need, far below what hurts a broker's memory. */
export const maxBodyBytes = 256 * 1024;

/** How long `close` waits for handlers in hand. Their deliveries are then given to somebody else. */
export const closeTimeoutMs = 10_000;

/** Why a delivery was refused, beside the codes of the handlers' own AppErrors. */
export const deadCodes = {
  bodyInvalid: 'BUS_BODY_INVALID',
  bodyTooLarge: 'BUS_BODY_TOO_LARGE',
  deliveryLimit: 'BUS_DELIVERY_LIMIT',
  rowRefused: 'BUS_ROW_REFUSED',
  /** Refused, and the code was lost on the way to the dead queue. */
  refused: 'BUS_REFUSED',
} as const;
