import { deliveryLimit, queues, type BusMessage, type QueueName } from '@steward/contracts';
import type { BusHandler, PublishOutcome } from '@steward/bus';
import { pick, type Random } from '../random.ts';
import type { Scheduler, SimProcess } from './scheduler.ts';

type Letter = { body: string; deliveryCount: number; isWiped?: true };
type Consumer = { process: SimProcess; handler: BusHandler };

/** At-least-once queues between processes: they double, return, lose confirms and, when they are wiped, lose everything. */
export type SimBus = {
  of(process: SimProcess): {
    publish(messages: readonly BusMessage[]): Promise<PublishOutcome[]>;
    isReady(): boolean;
  };
  consume(process: SimProcess, queue: QueueName, handler: BusHandler): void;
  /** What a dead process had in hand comes back. */
  forget(process: SimProcess): void;
  wipe(): void;
  isEmpty(): boolean;
  /** The types of what was returned too often. */
  dead: readonly string[];
};

const prefetch = 4;

export function createSimBus(o: { scheduler: Scheduler; random: Random; isHostile: () => boolean }): SimBus {
  const { scheduler, random } = o;
  const waiting = new Map<QueueName, Letter[]>(queues.map(({ name }) => [name, []]));
  const consumers = new Map<QueueName, Consumer[]>(queues.map(({ name }) => [name, []]));
  const dead: string[] = [];
  const inHand = new Map<SimProcess, { queue: QueueName; letter: Letter }[]>();
  const chance = (share: number) => o.isHostile() && random() < share;

  const publishOne = (message: BusMessage): PublishOutcome => {
    const wanting = queues.filter(({ types }) => types.some((type) => type === message.type)).map(({ name }) => name);
    const isLost = chance(0.04);
    if (!isLost)
      for (const name of wanting) {
        const letters = waiting.get(name) ?? [];
        letters.push({ body: JSON.stringify(message), deliveryCount: 0 });
        if (chance(0.05)) letters.push({ body: JSON.stringify(message), deliveryCount: 0 });
        deliver(name);
      }
    // Nobody tells a publisher that a message has arrived whose confirm is lost.
    return isLost || chance(0.04) ? 'failed' : 'confirmed';
  };

  function deliver(name: QueueName): void {
    const open = (consumers.get(name) ?? []).filter(
      ({ process }) => process.isAlive && (inHand.get(process)?.length ?? 0) < prefetch,
    );
    const letters = waiting.get(name) ?? [];
    if (open.length === 0 || letters.length === 0) return;
    const { process, handler } = pick(random, open);
    // Mostly in order; what was returned, or goes to another consumer, comes when it comes.
    const [letter] = letters.splice(chance(0.2) ? Math.floor(random() * letters.length) : 0, 1);
    if (letter === undefined) return;
    const held = { queue: name, letter };
    inHand.set(process, [...(inHand.get(process) ?? []), held]);
    void handle(process, handler, held);
    deliver(name);
  }

  async function handle(process: SimProcess, handler: BusHandler, held: { queue: QueueName; letter: Letter }) {
    const { queue, letter } = held;
    const message = JSON.parse(letter.body) as BusMessage;
    await scheduler.perform(process, `takes ${message.type}`, () => Promise.resolve());
    let isDone = true;
    try {
      if (!letter.isWiped)
        await handler(message, { redelivered: letter.deliveryCount > 0, deliveryCount: letter.deliveryCount });
      await scheduler.perform(process, `acknowledges ${message.type}`, () => Promise.resolve());
    } catch (error) {
      isDone = false;
      scheduler.note(`${process.name}: returns ${message.type}: ${String(error)}`);
    }
    if (!process.isAlive) return;
    inHand.set(
      process,
      (inHand.get(process) ?? []).filter((other) => other !== held),
    );
    if (letter.isWiped) isDone = true;
    if (!isDone && letter.deliveryCount >= deliveryLimit) dead.push(message.type);
    else if (!isDone) waiting.get(queue)?.push({ ...letter, deliveryCount: letter.deliveryCount + 1 });
    deliver(queue);
  }

  return {
    of: (process) => ({
      publish: (messages) =>
        scheduler.perform(process, `publishes ${messages.length}`, () => Promise.resolve(messages.map(publishOne))),
      isReady: () => true,
    }),
    consume: (process, queue, handler) => {
      consumers.get(queue)?.push({ process, handler });
      deliver(queue);
    },
    forget: (process) => {
      const held = inHand.get(process) ?? [];
      inHand.delete(process);
      for (const list of consumers.values())
        list.splice(0, list.length, ...list.filter((one) => one.process !== process));
      for (const { queue, letter } of held.filter((one) => !one.letter.isWiped))
        waiting.get(queue)?.unshift({ ...letter, deliveryCount: letter.deliveryCount + 1 });
      for (const { name } of queues) deliver(name);
    },
    wipe: () => {
      for (const letters of waiting.values()) letters.length = 0;
      // What is still on its way to a consumer is gone; what one works on comes back to nobody.
      for (const held of inHand.values()) for (const { letter } of held) letter.isWiped = true;
    },
    dead,
    isEmpty: () => [...waiting.values()].every((letters) => letters.length === 0),
  };
}
