import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { once } from 'node:events';
import type { AddressInfo, Server, Socket } from 'node:net';
import { connect, createServer } from 'node:net';
import { withTcpProxy } from './tcp-proxy.ts';
import { waitUntil } from './wait-until.ts';

let echo: Server;
let echoUrl: string;
beforeAll(async () => {
  echo = createServer((socket) => socket.on('error', () => undefined).pipe(socket)).listen(0, '127.0.0.1');
  await once(echo, 'listening');
  echoUrl = `tcp://someone:secret@127.0.0.1:${(echo.address() as AddressInfo).port}/path`;
});
afterAll(() => void echo.close());

/** A client that remembers what came back and how the connection ended. */
function createClient(port: number) {
  const socket: Socket = connect(port, '127.0.0.1');
  const seen = { text: '', closed: false };
  socket.setEncoding('utf8').on('data', (chunk: string) => (seen.text += chunk));
  socket.on('error', () => undefined).once('close', () => (seen.closed = true));
  return { seen, send: (text: string) => socket.write(text), end: () => socket.destroy() };
}
const soon = (what: string) => ({ timeoutMs: 10_000, what });

describe('withTcpProxy', () => {
  it('carries bytes both ways and keeps the rest of a URL', () =>
    withTcpProxy(echoUrl, async (proxy) => {
      expect(proxy.url(echoUrl)).toBe(`tcp://someone:secret@127.0.0.1:${proxy.port}/path`);
      const client = createClient(proxy.port);
      const letters = 'abcdefghij'.repeat(50_000);
      client.send(letters);
      await waitUntil(() => client.seen.text.length === letters.length, soon('the echo'));
      expect(client.seen.text).toBe(letters);
    }));

  it('cuts open connections and serves new ones', () =>
    withTcpProxy(echoUrl, async (proxy) => {
      const first = createClient(proxy.port);
      first.send('hello');
      await waitUntil(() => first.seen.text === 'hello', soon('the first echo'));
      expect(proxy.cut()).toBe(1);
      await waitUntil(() => first.seen.closed, soon('the cut'));
      const second = createClient(proxy.port);
      second.send('again');
      await waitUntil(() => second.seen.text === 'again', soon('the second echo'));
    }));

  it('lets the server hear everything and holds its answers back while it is mute', async () => {
    const heard: string[] = [];
    const server = createServer((socket) => {
      socket.setEncoding('utf8').on('error', () => undefined);
      socket.on('data', (chunk: string) => (heard.push(chunk), socket.write(`did ${chunk}`)));
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    await withTcpProxy(`tcp://127.0.0.1:${(server.address() as AddressInfo).port}`, async (proxy) => {
      const client = createClient(proxy.port);
      client.send('one');
      await waitUntil(() => client.seen.text === 'did one', soon('the first answer'));
      proxy.set('mute');
      client.send('two');
      await waitUntil(() => heard.join(' ') === 'one two', soon('the server to hear'));
      expect(client.seen.text).toBe('did one');
      proxy.set('passing');
      await waitUntil(() => client.seen.text === 'did onedid two', soon('the answer that was held back'));
    });
    server.close();
  });

  it('refuses new connections until it passes again', () =>
    withTcpProxy(echoUrl, async (proxy) => {
      proxy.set('refusing');
      const refused = createClient(proxy.port);
      await waitUntil(() => refused.seen.closed, soon('the refusal'));
      proxy.set('passing');
      const served = createClient(proxy.port);
      served.send('welcome');
      await waitUntil(() => served.seen.text === 'welcome', soon('the echo'));
    }));

  it('holds bytes back while stalled and gives them in order afterwards', () =>
    withTcpProxy(echoUrl, async (proxy) => {
      const client = createClient(proxy.port);
      client.send('1');
      await waitUntil(() => client.seen.text === '1', soon('the first echo'));
      proxy.set('stalled');
      client.send('2');
      const silent = waitUntil(() => client.seen.text !== '1', { timeoutMs: 200, what: 'a leak' });
      await expect(silent).rejects.toThrow(/a leak/);
      expect(client.seen.closed).toBe(false);
      proxy.set('passing');
      client.send('3');
      await waitUntil(() => client.seen.text === '123', soon('the held bytes'));
    }));

  it('delays each direction by the latency', () =>
    withTcpProxy(echoUrl, async (proxy) => {
      proxy.setLatencyMs(100);
      const client = createClient(proxy.port);
      const startedAt = performance.now();
      client.send('slow');
      await waitUntil(() => client.seen.text === 'slow', soon('the slow echo'));
      expect(performance.now() - startedAt).toBeGreaterThanOrEqual(190);
    }));
});
