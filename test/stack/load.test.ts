import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { waitUntil } from '@steward/testkit';
import { createConversation } from './conversation.ts';
import { run, serviceOf, type Container } from './docker.ts';
import { expectNoSecrets } from './find-secrets.ts';
import { createStack, type DemoCard, type Stack } from './stack.ts';

// One life of the real stack, in the order of the tests: each leaves it running for the next.
const minutes = 60_000;
let stack: Stack;
let card: DemoCard;
let conversation: ReturnType<typeof createConversation>;

beforeAll(async () => {
  stack = await createStack();
  await stack.generateSecrets();
  await stack.up('--build');
  card = stack.loadCard();
  conversation = createConversation(card);
  await conversation.meetSimulator();
}, 15 * minutes);

afterAll(() => stack.remove(), 3 * minutes);

/** Every accepted saying answered exactly once, by the simulator's record alone. */
async function expectNothingLostOrDoubled(): Promise<void> {
  const verdict = await conversation.settle();
  const { said, accepted, answered } = verdict;
  process.stdout.write(`  so far ${said} said, ${accepted} of them accepted, ${answered} answered\n`);
  expect(verdict).toMatchObject({ lost: [], doubled: [] });
  expect(verdict.accepted).toBeGreaterThan(0);
  expect(verdict.answered).toBeGreaterThanOrEqual(verdict.accepted);
}

async function waitUntilHealthy(): Promise<Container[]> {
  const areHealthy = async () => {
    const running = await stack.services();
    return running.every(({ State }) => State.Health?.Status === 'healthy') ? running : null;
  };
  return waitUntil(areHealthy, { timeoutMs: 3 * minutes, what: 'every container to be healthy', everyMs: 1_000 });
}

describe('under load', () => {
  it(
    'runs three agent cores, two senders and two adapters, and loses and doubles nothing',
    async () => {
      const scale = ['--scale', 'agent-core=3', '--scale', 'outbound-sender=2', '--scale', 'adapter=2'];
      await conversation.during(() => stack.up(...scale));
      await conversation.say(60);
      await expectNothingLostOrDoubled();
      const running = (await waitUntilHealthy()).map(serviceOf);
      const count = (service: string) => running.filter((name) => name === service).length;
      expect([count('agent-core'), count('outbound-sender'), count('adapter')]).toEqual([3, 2, 2]);
    },
    6 * minutes,
  );

  it('shares the work among the replicas', async () => {
    const worked = async (service: string, event: string) => {
      const logs = await Promise.all((await stack.containers(service)).map(({ Id }) => run('docker', ['logs', Id])));
      return logs.filter((log) => log.includes(`"event":"${event}"`)).length;
    };
    expect(await worked('agent-core', 'turn.ended')).toBe(3);
  });

  it(
    'loses and doubles nothing while each container is restarted, one after the other',
    async () => {
      const before = (await stack.services()).filter((container) => serviceOf(container) !== 'simulator');
      for (const container of before) {
        await conversation.during(async () => {
          await run('docker', ['restart', '--time', '30', container.Id], { timeoutMs: 2 * minutes });
          await waitUntilHealthy();
        });
        await expectNothingLostOrDoubled();
      }
      const after = await stack.services();
      for (const { Id, Name, State } of before) {
        expect([Name, after.find((container) => container.Id === Id)?.State.StartedAt]).not.toEqual([
          Name,
          State.StartedAt,
        ]);
      }
    },
    15 * minutes,
  );

  it(
    'goes on with new passwords after a rotation, as the operator’s guide does it',
    async () => {
      await conversation.during(async () => {
        stack.forgetSecrets(['postgres-agent-core.password', 'rabbitmq-agent-core.password']);
        await stack.generateSecrets();
        await stack.compose(['up', '--detach', '--no-deps', 'secrets']);
        await waitUntil(async () => (await stack.containers('secrets'))[0]?.State.Status === 'exited', {
          timeoutMs: 30_000,
          what: 'the secrets to be handed out',
        });
        await stack.compose(['exec', '-T', 'postgres', '/docker-entrypoint-initdb.d/10-roles.sh']);
        await stack.compose([
          'exec',
          '-T',
          'rabbitmq',
          'rabbitmqctl',
          '--quiet',
          'import_definitions',
          '/run/steward/secrets/definitions.json',
        ]);
        await stack.compose(['restart', '--timeout', '30', 'agent-core']);
        await waitUntilHealthy();
      });
      await expectNothingLostOrDoubled();
    },
    5 * minutes,
  );

  it(
    'loses and doubles nothing when it goes down in the middle of work and comes up with its volumes',
    async () => {
      await conversation.say(40);
      await stack.compose([
        'stop',
        '--timeout',
        '30',
        'caddy',
        'adapter',
        'agent-core',
        'outbound-sender',
        'audit-sealer',
        'rabbitmq',
        'postgres',
      ]);
      await conversation.remember();
      await stack.compose(['down', '--timeout', '30']);
      expect(await stack.containers().catch(() => [])).toEqual([]);
      await stack.up();
      await conversation.meetSimulator();
      await conversation.during(async () => {
        await waitUntilHealthy();
      });
      await expectNothingLostOrDoubled();
      await expect(stack.smoke()).resolves.toContain('ok   smoke');
      await expectNoSecrets(stack, card);
    },
    6 * minutes,
  );
});
