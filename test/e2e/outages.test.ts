import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { createTcpProxy, waitUntil, type TcpProxy } from '@steward/testkit';
import { newQuestion, startStack, type Stack } from './harness.ts';
import { postToDoor, signHeaders } from './signed-post.ts';
import { extraRoom } from './stack-config.ts';

jest.setTimeout(180_000);

const rooms = 4;

describe('a server goes away and comes back', () => {
  let stack: Stack;
  let postgres: TcpProxy;
  let rabbit: TcpProxy;
  beforeAll(async () => {
    postgres = await createTcpProxy(process.env.DATABASE_URL ?? '');
    rabbit = await createTcpProxy(process.env.AMQP_URL ?? '');
    const proxies = { postgres, rabbit };
    stack = await startStack({ extraRooms: rooms, route: (_service, server, url) => proxies[server].url(url) });
    stack.simulator.control.setFaults({ robotRetryMs: Array.from({ length: 10 }, () => 2_500) });
  });
  afterAll(async () => {
    await stack.stop();
    await Promise.all([postgres.close(), rabbit.close()]);
  });

  const ask = async (count: number) => {
    const sayings = Array.from({ length: count }, (_, index) =>
      stack.say({ robot: 'http', room: extraRoom(index % rooms), text: newQuestion() }),
    );
    return Promise.all(sayings);
  };
  const readReadiness = async () => {
    const response = await fetch(`${stack.adapters[0]?.url ?? ''}/readyz`);
    return { status: response.status, text: await response.text() };
  };
  const knock = () =>
    postToDoor({
      url: `${stack.adapters[0]?.url ?? ''}/dingtalk/robot/http`,
      headers: signHeaders(stack.secrets['http.app-secret'] ?? ''),
      body: {
        msgId: newQuestion(),
        msgtype: 'text',
        text: { content: 'x' },
        conversationId: 'cidKnock==',
        conversationType: '2',
      },
    });
  const expectAllAnswered = async (acknowledged: number) => {
    await waitUntil(async () => (await readReadiness()).status === 200, {
      timeoutMs: 60_000,
      what: 'the adapter to be ready again',
    });
    await stack.simulator.control.sent({ outcome: 'acked', count: acknowledged, wait: 30_000 });
    expect(await stack.checkNothingLost({ timeoutMs: 60_000 })).toEqual({
      acknowledged,
      lost: 0,
      duplicated: 0,
      reordered: 0,
    });
  };

  it.each([
    ['refuses', 'refusing', 20],
    ['has become a black hole', 'stalled', 40],
  ] as const)(
    'Postgres %s: 503 with Retry-After, not ready by name; then everything is answered',
    async (_name, mode, total) => {
      await ask(10);
      postgres.set(mode);
      if (mode === 'refusing') expect(postgres.cut()).toBeGreaterThan(0);
      const refused = await ask(10);
      expect(refused.flatMap(({ delivered }) => delivered.map(({ outcome }) => outcome))).toEqual(
        Array.from({ length: 10 }, () => expect.stringMatching(/^(refused|timeout)$/)),
      );
      expect(await knock()).toMatchObject({
        status: 503,
        retryAfter: '1',
        text: expect.stringContaining('OVERLOADED'),
      });
      const readiness = await readReadiness();
      expect(readiness.status).toBe(503);
      expect(JSON.parse(readiness.text)).toMatchObject({ checks: { database: { ok: false }, bus: { ok: true } } });
      // Away until every one of them was tried and refused a second time.
      const triedTwice = async () => {
        const pushes = await stack.simulator.control.sent({ outcome: 'pending' });
        return pushes.length === 10 && pushes.every(({ attempts }) => attempts.length >= 2);
      };
      await waitUntil(triedTwice, { timeoutMs: 30_000, what: 'the second attempts' });
      postgres.set('passing');
      await expectAllAnswered(total);
    },
  );

  it('RabbitMQ is away: the adapter goes on acknowledging, and all is answered afterwards', async () => {
    rabbit.set('refusing');
    expect(rabbit.cut()).toBeGreaterThan(0);
    await waitUntil(async () => (await readReadiness()).status === 503, {
      timeoutMs: 30_000,
      what: 'the adapter to notice',
    });
    const asked = await ask(20);
    expect(asked.flatMap(({ delivered }) => delivered)).toEqual(
      Array.from({ length: 20 }, () => ({ via: 'http', outcome: 'acked', status: 200 })),
    );
    const [waiting] = await stack.sql('select count(*)::int as count from adapter.outbox');
    expect(waiting).toEqual({ count: 20 });
    rabbit.set('passing');
    await expectAllAnswered(60);
  });
});
