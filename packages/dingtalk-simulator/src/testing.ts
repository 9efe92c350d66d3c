import { once } from 'node:events';
import { createServer } from 'node:http';
import type { IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { WebSocket } from 'ws';
import type { SimulatorWorld } from './world.ts';

/** For tests of this package: a small world, a receiver of HTTP callbacks, and a bare Stream client. */
export function buildTestWorld(callback?: SimulatorWorld['apps'][number]['callback']): SimulatorWorld {
  return {
    corpId: 'ding9733',
    apps: [
      { appKey: 'dingops', appSecret: 'this is a secret', robotCode: 'dingops', name: 'ops', callback },
      { appKey: 'dingother', appSecret: 'other secret', robotCode: 'dingother', name: 'other' },
    ],
    customRobots: [
      { accessToken: 'plain', conversationId: 'cidOps==' },
      { accessToken: 'signed', secret: 'SECabc', conversationId: 'cidOps==' },
      { accessToken: 'keyword', keywords: ['alert', '告警'], conversationId: 'cidOps==' },
      { accessToken: 'fenced', ips: ['10.0.0.0/8', '192.168.1.7'], conversationId: 'cidOps==' },
    ],
    rooms: [
      { conversationId: 'cidOps==', title: 'ops-room', kind: 'group', robots: ['dingops'], members: ['li', 'wang'] },
      { conversationId: 'cidOther==', title: 'other-room', kind: 'group', robots: ['dingother'], members: ['li'] },
    ],
    people: [
      { staffId: 'li', name: 'Li', unionId: 'union-li' },
      { staffId: 'wang', name: 'Wang', unionId: 'union-wang', roles: ['admin'] },
    ],
  };
}

export type Received = { url: string; headers: IncomingHttpHeaders; body: Record<string, unknown> };
export type Receiver = {
  url: string;
  received: Received[];
  /** What the next calls are answered: a status and body, or `hang`. Default 200 `{}`. */
  answers: ({ status: number; body?: unknown; headers?: Record<string, string> } | 'hang')[];
  answer: (call: Received) => unknown;
  close(): Promise<void>;
};

/** An HTTP server that keeps what it was sent. */
export async function createReceiver(): Promise<Receiver> {
  const server = createServer((request, response) => {
    void (async () => {
      const chunks: Buffer[] = [];
      for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
      // The simulator sends JSON objects only; anything else fails the test here.
      const body = JSON.parse(Buffer.concat(chunks).toString()) as Record<string, unknown>;
      const call = { url: request.url ?? '', headers: request.headers, body };
      receiver.received.push(call);
      const answer = receiver.answers.shift() ?? { status: 200, body: receiver.answer(call) };
      if (answer === 'hang') return;
      response.writeHead(answer.status, answer.headers).end(JSON.stringify(answer.body ?? {}));
    })();
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const receiver: Receiver = {
    ...{ url: `http://127.0.0.1:${port}`, received: [], answers: [], answer: () => ({}) },
    close: async () => {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
  return receiver;
}

export type TestFrame = { type: string; headers: Record<string, string>; data: string };
export type StreamClient = {
  socket: WebSocket;
  frames: TestFrame[];
  closed: Promise<number>;
  /** How frames are answered; undefined leaves a frame without an ack. */
  ack: (frame: TestFrame) => { code?: number; data?: unknown } | undefined;
};

export const allTopics = [
  { type: 'EVENT', topic: '*' },
  { type: 'CALLBACK', topic: '/v1.0/im/bot/messages/get' },
  { type: 'CALLBACK', topic: '/v1.0/card/instances/callback' },
];

/** Asks for a ticket and connects; acks everything unless told otherwise. */
export async function connectStream(url: string, subscriptions: unknown[] = allTopics): Promise<StreamClient> {
  const { endpoint, ticket } = await openConnection(url, subscriptions);
  const socket = new WebSocket(`${endpoint}?ticket=${encodeURIComponent(ticket)}`);
  const closed = once(socket, 'close').then(([code]) => Number(code));
  const client: StreamClient = { socket, frames: [], closed, ack: () => ({}) };
  socket.on('message', (raw) => {
    const frame = JSON.parse(Buffer.isBuffer(raw) ? raw.toString() : '{}') as TestFrame;
    client.frames.push(frame);
    const ack = client.ack(frame);
    if (ack === undefined) return;
    const headers = { messageId: frame.headers.messageId, contentType: 'application/json' };
    const data = JSON.stringify(ack.data ?? { response: null });
    socket.send(JSON.stringify({ code: ack.code ?? 200, message: 'OK', headers, data }));
  });
  await once(socket, 'open');
  return client;
}

export async function openConnection(
  url: string,
  subscriptions: unknown[] = allTopics,
): Promise<{ endpoint: string; ticket: string }> {
  const response = await fetch(`${url}/v1.0/gateway/connections/open`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: 'application/json' },
    body: JSON.stringify({ clientId: 'dingops', clientSecret: 'this is a secret', subscriptions }),
  });
  return (await response.json()) as { endpoint: string; ticket: string };
}

type Answer = { status: number; body: Record<string, unknown> };

/** A JSON call; the body of a page that is not JSON comes back as `{ page }`. */
export async function call(
  url: string,
  method: string,
  body?: unknown,
  headers?: Record<string, string>,
): Promise<Answer> {
  const response = await fetch(url, {
    method,
    headers: { 'content-type': 'application/json', ...headers },
    ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  const isJson = (response.headers.get('content-type') ?? '').includes('json');
  return { status: response.status, body: isJson ? (JSON.parse(text) as Record<string, unknown>) : { page: text } };
}

/** The headers of an authorised call of app `dingops`. */
export async function authorise(url: string): Promise<Record<string, string>> {
  const { body } = await call(`${url}/v1.0/oauth2/accessToken`, 'POST', {
    appKey: 'dingops',
    appSecret: 'this is a secret',
  });
  return { 'x-acs-dingtalk-access-token': String(body.accessToken) };
}

/** Waits until the condition holds, at most ten seconds. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  const deadline = Date.now() + 10_000;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`waited in vain: ${what}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}
