import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { WebSocket } from 'ws';
import { createSimulator } from './simulator.ts';
import type { Simulator } from './simulator.ts';
import { allTopics, buildTestWorld, connectStream, openConnection } from './testing.ts';

describe('the Stream gateway', () => {
  let simulator: Simulator;
  let nowMs = 1_760_000_000_000;
  beforeEach(async () => {
    simulator = await createSimulator({ world: buildTestWorld(), now: () => nowMs });
  });
  afterEach(() => simulator.close());
  const open = (body: unknown, accept?: string): Promise<Response> =>
    fetch(`${simulator.url}/v1.0/gateway/connections/open`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...(accept && { accept }) },
      body: JSON.stringify(body),
    });
  const connect = async (ticket: string): Promise<string> => {
    const socket = new WebSocket(`${simulator.url.replace('http', 'ws')}/connect?ticket=${ticket}`);
    const outcome = await Promise.race([
      once(socket, 'open').then(() => 'open'),
      once(socket, 'unexpected-response').then(() => 'refused'),
    ]);
    socket.on('error', () => undefined);
    socket.terminate();
    return outcome;
  };

  it('answers wrong credentials with 401 authFailed', async () => {
    const refused = await open(
      { clientId: 'dingops', clientSecret: 'no', subscriptions: allTopics },
      'application/json',
    );
    expect(refused.status).toBe(401);
    expect(await refused.json()).toMatchObject({ code: 'authFailed', message: '鉴权失败' });
  });

  it('answers XML to a caller that does not ask for JSON', async () => {
    const answer = await open(
      { clientId: 'dingops', clientSecret: 'this is a secret', subscriptions: allTopics },
      '*/*',
    );
    expect(answer.headers.get('content-type')).toBe('application/xml');
    expect(await answer.text()).toContain('<ticket>');
  });

  it('lets a ticket be used once', async () => {
    const { ticket, endpoint } = await openConnection(simulator.url);
    expect(endpoint).toBe(`${simulator.url.replace('http', 'ws')}/connect`);
    expect(await connect(ticket)).toBe('open');
    expect(await connect(ticket)).toBe('refused');
    expect(await connect('never-issued')).toBe('refused');
  });

  it('refuses a ticket after 90 s', async () => {
    const early = await openConnection(simulator.url);
    nowMs += 89_999;
    expect(await connect(early.ticket)).toBe('open');
    const late = await openConnection(simulator.url);
    nowMs += 90_000;
    expect(await connect(late.ticket)).toBe('refused');
  });

  it('gives each push to one connection chosen at random, repeatably by the seed', async () => {
    const clients = [await connectStream(simulator.url), await connectStream(simulator.url)];
    const deal = async (): Promise<string> => {
      simulator.control.setFaults({ seed: 7 });
      const route: string[] = [];
      for (let round = 0; round < 12; round += 1) {
        const before = clients.map((client) => client.frames.length);
        await simulator.control.say({ robot: 'ops', staffId: 'li', text: 'x' });
        const grown = clients.map((client, at) => client.frames.length - (before[at] ?? 0));
        expect(grown.reduce((sum, n) => sum + n)).toBe(1);
        route.push(grown[0] === 1 ? 'a' : 'b');
      }
      return route.join('');
    };
    const route = await deal();
    expect(new Set(route)).toEqual(new Set(['a', 'b']));
    expect(await deal()).toBe(route);
    simulator.control.setFaults({ streamRouting: 'oldest' });
    const before = clients[0]?.frames.length ?? 0;
    for (let round = 0; round < 5; round += 1) await simulator.control.say({ robot: 'ops', staffId: 'li', text: 'x' });
    expect(clients[0]?.frames.length).toBe(before + 5);
  });

  it('pushes only subscribed topics, and only to connections of that app', async () => {
    const client = await connectStream(simulator.url, [{ type: 'CALLBACK', topic: '/v1.0/im/bot/messages/get' }]);
    const click = { robot: 'ops', outTrackId: 'apr-1', staffId: 'li', via: 'stream', forged: true } as const;
    expect((await simulator.control.click(click)).delivered).toEqual([{ via: 'stream', outcome: 'no-door' }]);
    const event = { app: 'ops', eventType: 'user_leave_org', via: 'stream' } as const;
    expect((await simulator.control.event(event)).delivered).toEqual([{ via: 'stream', outcome: 'no-door' }]);
    const other = { robot: 'other', staffId: 'li', text: 'x' };
    expect((await simulator.control.say(other)).delivered).toEqual([{ via: 'stream', outcome: 'no-door' }]);
    expect((await simulator.control.say({ ...other, robot: 'ops' })).delivered[0]?.outcome).toBe('acked');
    expect(client.frames).toHaveLength(1);
  });
});
