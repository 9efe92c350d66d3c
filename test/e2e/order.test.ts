import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { waitUntil } from '@steward/testkit';
import { newQuestion, startStack, type Stack } from './harness.ts';
import { extraRoom } from './stack-config.ts';

jest.setTimeout(180_000);

const conversations = 30;
const questionsEach = 10;

describe('two of each service under redelivery', () => {
  let stack: Stack;
  beforeAll(async () => {
    stack = await startStack({ adapters: 2, agentCores: 2, outboundSenders: 2, extraRooms: conversations });
  });
  afterAll(() => stack.stop());

  const countLostLinks = () =>
    [...stack.agentCores, ...stack.outboundSenders].map(
      (replica) => replica.output().split('"bus.link.lost"').length - 1,
    );
  /** RabbitMQ closes every connection: whatever was delivered and not acknowledged is delivered again. */
  const restartConsumers = async () => {
    const before = countLostLinks();
    const closeAll = async () => {
      // The management API learns of a new connection only after seconds.
      await stack.vhost.closeConnections();
      return countLostLinks().every((count, index) => count > (before[index] ?? 0));
    };
    await waitUntil(closeAll, { timeoutMs: 30_000, what: 'every consumer to lose its connection' });
  };

  it('answers 30 conversations of 10 questions in the order in which each asked', async () => {
    // Even an acknowledged push may come again.
    stack.simulator.control.setFaults({
      duplicateRate: 0.3,
      duplicateDelayMs: 300,
      robotRetryMs: [500, 1_000, 2_000, 4_000],
    });
    const askOneByOne = async (room: number) => {
      for (let question = 0; question < questionsEach; question += 1) {
        const { msgId } = await stack.say({ robot: 'http', room: extraRoom(room), text: newQuestion() });
        await stack.simulator.control.sent({ key: msgId, outcome: 'acked', wait: 30_000 });
      }
    };
    const asking = Promise.all(Array.from({ length: conversations }, (_, room) => askOneByOne(room)));
    await Promise.all([asking, restartConsumers()]);

    // A second wave while one replica of each leaves in good order and comes back.
    const leaving = [stack.agentCores[1], stack.outboundSenders[1]].map(async (replica) => {
      await replica?.kill('SIGTERM');
      await replica?.start();
    });
    await Promise.all([...leaving, ...Array.from({ length: conversations }, (_, room) => askOneByOne(room))]);

    const total = 2 * conversations * questionsEach;
    expect(await stack.checkNothingLost()).toEqual({ acknowledged: total, lost: 0, duplicated: 0, reordered: 0 });
  });

  it('did see redelivery, and work by both replicas', async () => {
    const [repeats] = await stack.sql<{ count: number }>(
      'select sum(duplicate_count)::int as count from adapter.inbound_event',
    );
    expect(repeats?.count).toBeGreaterThan(50);
    const turns = stack.agentCores.map((replica) => replica.output().split('"turn.ended"').length - 1);
    const sends = stack.outboundSenders.map((replica) => replica.output().split('"delivery.attempted"').length - 1);
    expect(Math.min(...turns, ...sends)).toBeGreaterThan(20);
  });
});
