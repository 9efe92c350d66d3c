import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { newQuestion, startStack, type Stack } from './harness.ts';
import { readMetric } from './read-metric.ts';
import { extraRoom } from './stack-config.ts';

jest.setTimeout(120_000);

const statements = 'steward_database_statements_total';
const rooms = 40;
const perRoom = 5;

/** What a turn may cost the database, by service, with 40 rooms talking at once: what each service does all day included, and room for a noisy machine. */
const most = { adapter: 2, 'agent-core': 8, 'outbound-sender': 11 } as const;

describe('a turn', () => {
  let stack: Stack;
  beforeAll(async () => {
    stack = await startStack({ extraRooms: rooms });
  });
  afterAll(() => stack.stop());

  it('needs no more statements than it ever did', async () => {
    const services = [...stack.adapters, ...stack.agentCores, ...stack.outboundSenders];
    const before = await Promise.all(services.map(({ url }) => readMetric(url, statements)));
    const say = async (room: number) => {
      for (let n = 0; n < perRoom; n += 1)
        await stack.say({ robot: 'http', room: extraRoom(room), text: newQuestion(), via: 'http' });
    };
    await Promise.all(Array.from({ length: rooms }, (_, room) => say(room)));
    await stack.checkNothingLost();
    const after = await Promise.all(services.map(({ url }) => readMetric(url, statements)));
    const perTurn = services.map(({ service }, at): [string, number] => [
      service,
      ((after[at] ?? NaN) - (before[at] ?? NaN)) / (rooms * perRoom),
    ]);
    process.stdout.write(`statements for one turn: ${JSON.stringify(Object.fromEntries(perTurn))}\n`);
    for (const [service, count] of perTurn) {
      expect(count).toBeGreaterThan(0);
      expect(count).toBeLessThanOrEqual(most[service as keyof typeof most]); // the stack has one of each
    }
  });
});
