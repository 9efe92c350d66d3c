import { afterEach, describe, expect, it } from '@jest/globals';
import { until } from './local-server.test-support.ts';
import {
  clientSecret,
  deferred,
  disconnectFrame,
  isConnected,
  robotFrame,
  start,
  stopAll,
} from './stream-client.test-support.ts';
import { robotTopic } from './stream-frame.ts';
import { frameText } from './stream-gateway.test-support.ts';

afterEach(stopAll);

describe('connecting', () => {
  it('subscribes to what is received, and dials with the ticket', async () => {
    const { gateway, client } = await start();
    const { ticket } = await gateway.socket(0);
    expect(ticket).toBe('ticket+1/&=');
    expect(gateway.requests[0]).toMatchObject({
      method: 'POST',
      url: '/v1.0/gateway/connections/open',
      body: { clientId: 'dingoabc', clientSecret, subscriptions: [{ type: 'CALLBACK', topic: robotTopic }] },
    });
    expect(gateway.requests[0]?.headers.accept).toBe('application/json');
    await until(isConnected(client));
    expect(client.status()).toMatchObject({ lastFrameAtMs: expect.any(Number), reconnects: 0 });
  });

  it('asks for a new ticket for each connection', async () => {
    const { gateway, client } = await start();
    (await gateway.socket(0)).ws.terminate();
    expect((await gateway.socket(1)).ticket).toBe('ticket+2/&=');
    await until(isConnected(client));
    expect(client.status().reconnects).toBe(1);
    expect(gateway.requests).toHaveLength(2);
  });

  it.each([
    [401, { code: 'authFailed', message: '鉴权失败' }, 'authFailed', /stray spaces/],
    [400, {}, 'HTTP_400', /not published.*Stream mode.*allow-list/],
    [503, '<html>', 'HTTP_503', /overloaded/],
    [200, { endpoint: 'ftp://x', ticket: 't' }, 'UNREADABLE_ANSWER', /no usable endpoint/],
  ])('explains HTTP %i %j and tries again', async (httpStatus, body, code, hint) => {
    const { client, lines } = await start({ before: (gateway) => gateway.refusals.push({ httpStatus, body }) });
    await until(isConnected(client));
    const refused = lines.find((line) => line.event === 'stream.refused');
    expect(refused?.fields).toMatchObject({ code, hint: expect.stringMatching(hint) });
    expect(JSON.stringify(lines)).not.toMatch(/client-secret|ticket\+/);
  });

  it('backs off with jitter, up to a minute', async () => {
    const refusals = Array.from({ length: 9 }, () => ({ httpStatus: 503, body: '' }));
    const { gateway, client, timers } = await start({
      random: () => 0.5,
      before: (started) => started.refusals.push(...refusals),
    });
    for (let calls = 0; calls < 10; calls += 1) {
      await until(() => gateway.requests.length >= calls && timers.delays.filter((ms) => ms !== 5_000).length > calls);
      timers.advance(60_000);
    }
    await until(isConnected(client));
    const delays = timers.delays.filter((ms) => ms !== 5_000).slice(0, 10);
    expect(delays).toEqual([250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
  });

  it('goes on when the endpoint refuses the handshake', async () => {
    const { gateway, client, lines } = await start({
      before: (started) =>
        started.refusals.push({
          httpStatus: 200,
          body: { endpoint: `${started.url.replace('http', 'ws')}/nowhere`, ticket: 't' },
        }),
    });
    await until(isConnected(client));
    expect(gateway.requests).toHaveLength(2);
    expect(lines).toContainEqual({ event: 'stream.closed', fields: expect.objectContaining({ code: 'HTTP_400' }) });
  });
});

describe('staying alive', () => {
  it('opens a new connection on disconnect while the old one still acks', async () => {
    const durable = deferred<undefined>();
    const { gateway, client, timers } = await start({ receivers: { robotMessage: () => durable.promise } });
    const old = await gateway.socket(0);
    old.ws.send(robotFrame('f1'));
    old.ws.send(disconnectFrame);
    const next = await gateway.socket(1);
    await until(isConnected(client));
    expect(old.closed).toBe(false);
    durable.resolve(undefined);
    await until(() => old.received.length === 1);
    expect(old.received[0]).toMatchObject({ code: 200, headers: { messageId: 'f1' } });
    expect(next.received).toEqual([]);
    timers.advance(15_000);
    await until(() => old.closed);
    expect(client.status()).toMatchObject({ connected: true, reconnects: 1 });
    expect(gateway.requests).toHaveLength(2);
  });

  it('replaces once, however the old socket ends', async () => {
    const { gateway, client } = await start();
    const old = await gateway.socket(0);
    old.ws.send(disconnectFrame);
    old.ws.send(disconnectFrame);
    await gateway.socket(1);
    old.ws.terminate();
    await until(() => old.closed && client.status().connected);
    (await gateway.socket(1)).ws.terminate();
    await gateway.socket(2);
    await until(isConnected(client));
    expect(gateway.requests).toHaveLength(3);
  });

  it('connects once for a socket that was leaving and then broke', async () => {
    const { gateway, client, timers } = await start({ random: () => 0.5 });
    timers.advance(1_000);
    const old = await gateway.socket(0);
    await until(isConnected(client));
    old.ws.send(disconnectFrame);
    await until(() => !client.status().connected);
    old.ws.terminate();
    await until(() => timers.pending() === 2);
    timers.advance(60_000);
    await until(isConnected(client));
    expect(gateway.requests).toHaveLength(2);
  });

  it('leaves no timer behind, neither by reconnecting nor by closing', async () => {
    const { gateway, client, timers } = await start();
    for (let life = 0; life < 3; life += 1) {
      const socket = await gateway.socket(life);
      await until(() => client.status().connected && client.status().reconnects === life);
      // The clock watch and the heartbeat of one socket.
      expect(timers.pending()).toBe(2);
      socket.ws.terminate();
    }
    await gateway.socket(3);
    await until(isConnected(client));
    await client.close();
    expect(timers.pending()).toBe(0);
  });

  it('gives up a socket on which nothing comes in, pongs included', async () => {
    const { gateway, client, timers } = await start({ gateway: { autoPong: false } });
    const dead = await gateway.socket(0);
    await until(isConnected(client));
    timers.advance(130_000);
    await until(() => dead.closed);
    await gateway.socket(1);
    await until(() => client.status().reconnects === 1);
  });

  it('keeps a socket that answers pings, and replaces it gently when frames stay away', async () => {
    const { gateway, client, timers, lines } = await start();
    const zombie = await gateway.socket(0);
    await until(isConnected(client));
    let halves = 0;
    for (; !lines.some((line) => line.event === 'stream.replacing'); halves += 1) {
      // Half a minute at a time, so that real pongs can answer.
      const before = client.status().lastFrameAtMs;
      timers.advance(30_000);
      await until(() => client.status().lastFrameAtMs !== before);
    }
    expect(halves).toBe(21);
    await gateway.socket(1);
    await until(isConnected(client));
    expect(zombie.closed).toBe(false);
    timers.advance(15_000);
    await until(() => zombie.closed);
  });

  it('reconnects after the machine slept', async () => {
    const { gateway, client, timers, lines } = await start();
    const before = await gateway.socket(0);
    await until(isConnected(client));
    timers.sleep(60_000);
    await until(() => before.closed);
    await gateway.socket(1);
    await until(() => client.status().reconnects === 1);
    expect(lines.map((line) => line.event)).toContain('stream.slept');
  });
});

describe('what it says of the time without a link', () => {
  it('nothing while connected, and before it ever was', async () => {
    const { client } = await start({ random: () => 0.5 });
    expect(client.status()).toMatchObject({ connected: false, deafSinceMs: null });
  });

  it('from the end of the socket on, or from the word that nothing more will come', async () => {
    for (const end of ['closed', 'leaving'] as const) {
      const { gateway, client, timers } = await start({ random: () => 0.5 });
      timers.advance(1_000);
      const socket = await gateway.socket(0);
      await until(isConnected(client));
      expect(client.status().deafSinceMs).toBeNull();
      timers.advance(20_000);
      if (end === 'closed') socket.ws.terminate();
      else socket.ws.send(disconnectFrame);
      await until(() => !client.status().connected);
      expect(client.status().deafSinceMs).toBe(timers.now());
      const fell = timers.now();
      timers.advance(500);
      if (end === 'leaving') socket.ws.terminate();
      await until(() => client.status().deafSinceMs === fell);
    }
  });

  it('from the last frame on, where the socket fell silent', async () => {
    const { gateway, client, timers } = await start({ random: () => 0.5, gateway: { autoPong: false } });
    timers.advance(1_000);
    await gateway.socket(0);
    await until(isConnected(client));
    const { lastFrameAtMs } = client.status();
    timers.advance(130_000);
    await until(() => !client.status().connected);
    expect(client.status().deafSinceMs).toBe(lastFrameAtMs);
  });
});

describe('closing', () => {
  it('answers what is in hand, takes nothing more, and opens nothing again', async () => {
    const durable = deferred<undefined>();
    let taken = 0;
    const { gateway, client } = await start({ receivers: { robotMessage: () => ((taken += 1), durable.promise) } });
    const socket = await gateway.socket(0);
    socket.ws.send(robotFrame('f1'));
    await until(() => taken === 1);
    const closing = client.close();
    socket.ws.send(robotFrame('f2'));
    socket.ws.send(frameText('SYSTEM', 'ping', 'p1', '{}'));
    await until(() => socket.received.length === 1);
    durable.resolve(undefined);
    await closing;
    await until(() => socket.closed);
    expect(socket.received).toMatchObject([
      { headers: { messageId: 'p1' } },
      { code: 200, headers: { messageId: 'f1' } },
    ]);
    expect(taken).toBe(1);
    expect(gateway.requests).toHaveLength(1);
    expect(client.status().connected).toBe(false);
  });

  it('ends an attempt that is under way', async () => {
    const { client } = await start({ apiUrl: 'http://127.0.0.1:9', random: () => 0.5 });
    await client.close();
    expect(client.status()).toEqual({
      connected: false,
      deafSinceMs: null,
      lastFrameAtMs: null,
      connectionIds: [],
      reconnects: 0,
    });
  });
});
