import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { waitUntil } from '@steward/testkit';
import { newQuestion, startStack, type Stack } from './harness.ts';
import type { Replica } from './service-replicas.ts';
import { extraRoom } from './stack-config.ts';

jest.setTimeout(180_000);

const rooms = 5;
const questions = 20;

describe('RabbitMQ loses everything that it had confirmed', () => {
  let stack: Stack;
  beforeAll(async () => {
    stack = await startStack({ extraRooms: rooms });
  });
  afterAll(() => stack.stop());

  const ask = async () => {
    const asked = Array.from({ length: questions }, newQuestion);
    for (const [index, text] of asked.entries())
      await stack.say({ robot: 'http', room: extraRoom(index % rooms), text });
    return asked;
  };
  /** The witness: so many bus messages lay in the queue, confirmed and not consumed, when the vhost was deleted. */
  const wipeWhenFull = async (queue: string) => {
    const isFull = async () => ((await stack.vhost.queueLength(queue)) ?? 0) >= questions;
    await waitUntil(isFull, { timeoutMs: 30_000, what: `${questions} bus messages in ${queue}` });
    await stack.vhost.wipe();
    expect((await stack.vhost.queueLength(queue)) ?? 0).toBe(0);
  };

  it.each([
    ['inbound events, before agent-core has them', 'agent-core.inbound.v1', () => stack.agentCores],
    ['answers, before outbound-sender has them', 'outbound-sender.requests.v1', () => stack.outboundSenders],
  ])('%s: they are published again and nothing is lost', async (_name, queue, consumers: () => Replica[]) => {
    for (const consumer of consumers()) await consumer.kill('SIGTERM');
    await ask();
    await wipeWhenFull(queue);
    for (const consumer of consumers()) await consumer.start();
    // The first back-off is 12 to 18 s, the second 24 to 36 s; the rest is for reconnecting on a busy machine.
    const fates = await stack.checkNothingLost({ timeoutMs: 90_000 });
    expect(fates).toMatchObject({ lost: 0, duplicated: 0, reordered: 0 });
  });

  it('has answered every question', async () => {
    expect(await stack.checkNothingLost()).toMatchObject({ acknowledged: 2 * questions, lost: 0 });
  });
});
