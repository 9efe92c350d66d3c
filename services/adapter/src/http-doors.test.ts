import { beforeEach, describe, expect, it } from '@jest/globals';
import request from 'supertest';
import { once } from 'node:events';
import { createServer, request as httpRequest, type ClientRequest, type IncomingMessage } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { waitUntil } from '@steward/testkit';
import { addErrorRoutes, AppError, createHttpApp, createMetrics, listen } from '@steward/service-kit';
import { cardClickedSchema, personChangedSchema } from '@steward/contracts';
import { decryptEvent, encryptEvent, signCardCallback, signRobotCallback } from '@steward/dingtalk';
import { addHttpDoors, maxBytesInHand, type HttpDoorContext } from './http-doors.ts';
import type { NewInbound, Recorded } from './record-inbound.ts';
import { buildPayload, buildRobot, replyKeys, silentLog } from './testing.ts';

const canary = 'c4nary';
let recorded: NewInbound[] = [];
let rejected: string[] = [];
let noted: string[] = [];
let record: (inbound: NewInbound) => Promise<Recorded>;
beforeEach(() => {
  recorded = [];
  rejected = [];
  noted = [];
  record = (inbound) => {
    recorded.push(inbound);
    return Promise.resolve({ inboundEventId: inbound.id, duplicate: false });
  };
});

function createApp(over: Partial<HttpDoorContext> = {}) {
  const metrics = createMetrics('test');
  const app = createHttpApp({ log: silentLog, metrics, readiness: () => Promise.resolve({}) });
  addHttpDoors(app, {
    recorder: { record: (inbound) => record(inbound), pending: () => 0 },
    replyKeys,
    log: silentLog,
    now: () => new Date(),
    clickNote: () => 'received',
    robots: [
      buildRobot(),
      buildRobot({ name: 'stream-only', code: 'dingstream', doors: ['stream'], events: null, cardSecret: null }),
    ],
    rejections: { count: (door, reason) => rejected.push(`${door} ${reason}`), loop: idleLoop },
    signatures: { note: (use) => noted.push(`${use.robot} ${use.msgId} ${use.sign}`) },
    isOverloaded: () => false,
    requestsPerMinute: 10_000,
    ...over,
  });
  addErrorRoutes(app, silentLog);
  return app;
}
const idleLoop = { start: () => undefined, wake: () => undefined, stop: () => Promise.resolve() };

const signed = (o: { timestamp?: string; appSecret?: string } = {}) => {
  const timestamp = o.timestamp ?? String(Date.now());
  return { timestamp, sign: signRobotCallback({ timestamp, appSecret: o.appSecret ?? buildRobot().appSecret }) };
};
type App = Parameters<typeof request>[0];
const post = (path: string, body: string | Buffer, headers: Record<string, string> = {}, app: App = createApp()) =>
  request(app)
    .post(path)
    .set({ 'content-type': 'application/json', ...headers })
    .send(body);
const say = (over: Record<string, unknown> = {}) =>
  JSON.stringify(buildPayload({ text: { content: canary }, ...over }));

describe('the robot door', () => {
  it('answers 200 only after the event is recorded', async () => {
    const order: string[] = [];
    record = async (inbound) => {
      await new Promise((resolve) => setImmediate(resolve));
      order.push('recorded');
      return { inboundEventId: inbound.id, duplicate: false };
    };
    const headers = signed();
    const response = await post('/dingtalk/robot/ops', say({ msgId: 'm1' }), headers);
    order.push('answered');
    expect(response.status).toBe(200);
    expect(response.body).toEqual({ msgtype: 'empty' });
    expect(order).toEqual(['recorded', 'answered']);
    expect(rejected).toEqual([]);
    expect(noted).toEqual([`ops m1 ${headers.sign}`]);
  });

  const old = String(Date.now() - 3_700_000);
  it.each([
    ['an unknown robot', 404, 'UNKNOWN_ROBOT', '/dingtalk/robot/nobody', say(), signed()],
    ['a robot that uses the Stream', 404, 'DOOR_CLOSED', '/dingtalk/robot/stream-only', say(), signed()],
    ['no signature', 401, 'SIGNATURE_MISSING', '/dingtalk/robot/ops', say(), {}],
    ['another secret', 401, 'SIGNATURE_MISMATCH', '/dingtalk/robot/ops', say(), signed({ appSecret: canary })],
    ['a stale clock', 401, 'SIGNATURE_STALE', '/dingtalk/robot/ops', say(), signed({ timestamp: old })],
    ['a body that is not JSON', 400, 'BODY_MALFORMED', '/dingtalk/robot/ops', `{"${canary}`, signed()],
    ['no body', 400, 'BODY_MALFORMED', '/dingtalk/robot/ops', '', signed()],
    ['a body without msgId', 400, 'BODY_MALFORMED', '/dingtalk/robot/ops', say({ msgId: null }), signed()],
    ['another robot in the body', 400, 'ROBOT_MISMATCH', '/dingtalk/robot/ops', say({ robotCode: canary }), signed()],
    ['a body of 300 KiB', 413, 'BODY_TOO_LARGE', '/dingtalk/robot/ops', canary.repeat(50_000), signed()],
    [
      'a compressed body',
      415,
      'BODY_ENCODING',
      '/dingtalk/robot/ops',
      say(),
      { ...signed(), 'content-encoding': 'gzip' },
    ],
  ])('refuses %s with %i %s, counted, and echoes nothing', async (_, status, code, path, body, headers) => {
    const response = await post(path, body, headers);
    expect(response.status).toBe(status);
    expect(response.body).toMatchObject({ code });
    expect(JSON.stringify([response.body, response.headers])).not.toContain(canary);
    expect(rejected).toEqual([`robot ${code}`]);
    expect(recorded).toEqual([]);
  });

  it('answers 503 with Retry-After while it is overloaded, before it looks at anything', async () => {
    const response = await post('/dingtalk/robot/nobody', say(), {}, createApp({ isOverloaded: () => true }));
    expect([response.status, response.headers['retry-after']]).toEqual([503, '1']);
    expect(rejected).toEqual(['robot OVERLOADED']);
  });

  it.each([
    ['is full', new AppError('DOOR_OVERLOADED', canary, { retryable: true })],
    ['cannot reach the database', new Error(`connect ${canary}`)],
  ])('answers 503 with Retry-After when the recorder %s', async (_, error) => {
    record = () => Promise.reject(error);
    const response = await post('/dingtalk/robot/ops', say(), signed());
    expect([response.status, response.headers['retry-after']]).toEqual([503, '1']);
    expect(JSON.stringify(response.body)).not.toContain(canary);
  });

  it('answers 503 in about two seconds when recording hangs: the platform does not wait longer', async () => {
    record = () => new Promise(() => undefined);
    const startedAt = performance.now();
    const response = await post('/dingtalk/robot/ops', say(), signed());
    expect(response.status).toBe(503);
    expect(performance.now() - startedAt).toBeGreaterThan(1_900);
    expect(performance.now() - startedAt).toBeLessThan(6_000);
  });

  it('tells a robot that floods with proved requests to wait, and no other', async () => {
    const robots = [buildRobot(), buildRobot({ name: 'other' })];
    const app = createApp({ robots, requestsPerMinute: 3 });
    const statuses: number[] = [];
    for (let n = 0; n < 5; n += 1) statuses.push((await post('/dingtalk/robot/ops', say(), signed(), app)).status);
    expect(statuses).toEqual([200, 200, 200, 429, 429]);
    const last = await post('/dingtalk/robot/ops', say(), signed(), app);
    expect(last.headers['retry-after']).toBe('60');
    expect((await post('/dingtalk/robot/other', say(), signed(), app)).status).toBe(200);
  });

  it('brakes an address that is refused too often, and never locks a signed request out', async () => {
    const nowMs = Date.now();
    const app = createApp({ requestsPerMinute: 10, now: () => new Date(nowMs) });
    const statuses: number[] = [];
    for (let n = 0; n < 602; n += 1) statuses.push((await post('/dingtalk/robot/ops', '{}', {}, app)).status);
    expect(statuses.slice(598)).toEqual([401, 401, 429, 429]);
    expect((await post('/dingtalk/robot/ops', say(), signed(), app)).status).toBe(200);
    // An encrypted push is proved by its body only, which is not read for such an address.
    const query = `msg_signature=x&timestamp=${nowMs}&nonce=x`;
    expect((await post(`/dingtalk/events/ops?${query}`, '{"encrypt":"abc"}', {}, app)).status).toBe(429);
    const elsewhere = { 'x-forwarded-for': '203.0.113.7' };
    expect((await post(`/dingtalk/events/ops?${query}`, '{"encrypt":"abc"}', elsewhere, app)).status).toBe(401);
  }, 30_000);
});

describe('bodies that are in hand', () => {
  /** A signed request that announces a body of this size and sends none of it. */
  const begin = (port: number, bytes: number) => {
    const options = { port, host: '127.0.0.1', method: 'POST', path: '/dingtalk/robot/ops', headers: signed() };
    const push = httpRequest(options);
    push.on('error', () => undefined);
    push.setHeader('content-length', bytes);
    push.flushHeaders();
    return push;
  };
  const statusOf = async (push: ClientRequest) => {
    const [answer] = (await once(push, 'response', { signal: AbortSignal.timeout(8_000) })) as [IncomingMessage];
    return [answer.statusCode, answer.headers['retry-after']];
  };

  it('are refused before they are read when together they would be too much memory, until there is room again', async () => {
    const server = createServer(createApp()).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const size = 256 * 1024;
    const opened: ClientRequest[] = [];
    try {
      const refused = new Set<ClientRequest>();
      for (let n = 0; n < maxBytesInHand / size + 3; n += 1) {
        const push = begin(port, size);
        push.on('response', ({ statusCode }) => statusCode === 503 && refused.add(push));
        opened.push(push);
      }
      await waitUntil(() => refused.size === 3, { timeoutMs: 10_000, what: '3 to be refused' });
      expect(rejected).toEqual(['robot OVERLOADED', 'robot OVERLOADED', 'robot OVERLOADED']);
      expect(await statusOf(begin(port, 10))).toEqual([503, '1']);
      for (const push of opened) push.destroy();
      const isTaken = async () => (await post('/dingtalk/robot/ops', say(), signed(), server)).status === 200;
      await waitUntil(isTaken, { timeoutMs: 10_000, what: 'the door to be open again' });
    } finally {
      for (const push of opened) push.destroy();
      server.closeAllConnections();
      server.close();
    }
  });

  it('are hung up on when they come too slowly, while others are served', async () => {
    const server = await listen(createApp(), { host: '127.0.0.1', port: 0 }, { requestMs: 600 });
    try {
      const slow = begin(server.port, 1_000);
      const drip = setInterval(() => slow.write('x'), 50);
      const answer = statusOf(slow);
      expect((await post('/dingtalk/robot/ops', say(), signed(), server.url)).status).toBe(200);
      expect(await answer).toEqual([408, undefined]);
      clearInterval(drip);
      slow.destroy();
      expect(recorded).toHaveLength(1);
    } finally {
      await server.close();
    }
  });

  it('come over a bounded number of connections', async () => {
    const server = await listen(createApp(), { host: '127.0.0.1', port: 0 }, { connections: 3 });
    const opened = Array.from({ length: 3 }, () => connect(server.port, '127.0.0.1'));
    try {
      await Promise.all(opened.map((socket) => once(socket, 'connect')));
      const oneMore = connect(server.port, '127.0.0.1');
      oneMore.on('error', () => undefined);
      await once(oneMore, 'close', { signal: AbortSignal.timeout(8_000) });
      opened[0]?.destroy();
      const isServed = async () => (await post('/dingtalk/robot/ops', say(), signed(), server.url)).status === 200;
      await waitUntil(isServed, { timeoutMs: 8_000, what: 'a connection to be free' });
    } finally {
      for (const socket of opened) socket.destroy();
      await server.close();
    }
  });
});

describe('the card door', () => {
  const click = (over: Record<string, unknown> = {}) =>
    JSON.stringify({
      outTrackId: 'card-1',
      corpId: 'corp-1',
      userId: 'staff-1',
      content: JSON.stringify({ cardPrivateData: { actionIds: ['ok'], params: { code: '7F3K' } } }),
      ...over,
    });
  const cardSigned = (apiSecret = buildRobot().cardSecret ?? '') => {
    const timestamp = String(Date.now());
    return {
      'x-ddpaas-signature-timestamp': timestamp,
      'x-ddpaas-signature': signCardCallback({ timestamp, apiSecret }),
    };
  };

  it('records a click and answers it without deciding anything', async () => {
    const response = await post('/dingtalk/cards/ops', click(), cardSigned());
    expect(response.status).toBe(200);
    // For the clicker alone, and never a variable that updates of the card set.
    expect(response.body).toEqual({
      cardUpdateOptions: { updateCardDataByKey: true, updatePrivateDataByKey: true },
      userPrivateData: { cardParamMap: { note: 'received' } },
    });
    expect(recorded).toMatchObject([{ kind: 'card_click', source: 'app-key-1', sourceId: null, staffId: 'staff-1' }]);
    expect(recorded[0]?.message).toMatchObject({
      type: 'card.clicked.v1',
      body: { outTrackId: 'card-1', corpId: 'corp-1', actionIds: ['ok'], params: { code: '7F3K' } },
    });
  });

  it('passes on whose click it was, of which organisation, and in which conversation', async () => {
    await post('/dingtalk/cards/ops', click({ corpId: 'corp-2', spaceId: 'dtv1.card//IM_GROUP.cid-7' }), cardSigned());
    await post('/dingtalk/cards/ops', click({ corpId: undefined }), cardSigned());
    expect(recorded.map(({ message }) => cardClickedSchema.parse(message).body)).toMatchObject([
      { staffId: 'staff-1', corpId: 'corp-2', spaceId: 'cid-7', app: 'app-key-1', door: 'http' },
      { staffId: 'staff-1', corpId: null, spaceId: null },
    ]);
  });

  it('refuses a wrong signature, a closed door and parameters that cannot travel', async () => {
    const big = { cardPrivateData: { params: { x: 'y'.repeat(20_001) } } };
    const statuses = [
      await post('/dingtalk/cards/ops', click(), cardSigned('wrong')),
      await post('/dingtalk/cards/stream-only', click(), cardSigned()),
      await post('/dingtalk/cards/ops', click({ content: 'no json' }), cardSigned()),
      await post('/dingtalk/cards/ops', click({ content: JSON.stringify(big) }), cardSigned()),
    ].map(({ status }) => status);
    expect(statuses).toEqual([401, 404, 400, 413]);
    expect(recorded).toEqual([]);
  });
});

describe('the event door', () => {
  const keys = buildRobot().events ?? { token: '', aesKey: '', ownerKey: '' };
  const push = (event: Record<string, unknown>, over: Partial<typeof keys> = {}) => {
    const timestamp = String(Date.now());
    const sealed = encryptEvent(
      { ...keys, ...over },
      { text: JSON.stringify(event), timestamp, nonce: 'n0nce', random: Buffer.alloc(16, 1) },
    );
    const query = `msg_signature=${sealed.msg_signature}&timestamp=${timestamp}&nonce=n0nce`;
    return post(`/dingtalk/events/ops?${query}`, JSON.stringify({ encrypt: sealed.encrypt }));
  };
  const openAnswer = (body: { msg_signature: string; timeStamp: string; nonce: string; encrypt: string }) =>
    decryptEvent(keys, {
      signature: body.msg_signature,
      timestamp: body.timeStamp,
      nonce: body.nonce,
      encrypt: body.encrypt,
    });

  it('records an event and answers `success`, encrypted for the platform', async () => {
    const response = await push({ EventType: 'user_leave_org', eventId: 'e-1', CorpId: 'corp-1', UserId: ['staff-9'] });
    expect(response.status).toBe(200);
    expect(openAnswer(response.body)).toBe('success');
    expect(recorded).toMatchObject([{ kind: 'platform_event', sourceId: 'e-1', corpId: 'corp-1' }]);
    expect(personChangedSchema.parse(recorded[0]?.message)).toMatchObject({
      causationId: recorded[0]?.id,
      correlationId: recorded[0]?.correlationId,
      body: { inboundEventId: recorded[0]?.id, corpId: 'corp-1', staffIds: ['staff-9'], change: 'left' },
    });
  });

  it('tells of changed people whose organisation the push does not name, and nobody of other events', async () => {
    await push({ EventType: 'label_user_change', eventId: 'e-1', userIdList: ['a', 'b'], action: 'remove' });
    await push({ EventType: 'bpms_instance_change', eventId: 'e-2', CorpId: 'corp-1', staffId: 'staff-9' });
    await push({ EventType: 'user_leave_org', eventId: 'e-3', CorpId: 'corp-1', userId: [] });
    expect(personChangedSchema.parse(recorded[0]?.message).body).toMatchObject({
      ...{ corpId: 'corp-1', staffIds: ['a', 'b'], change: 'modified' },
    });
    expect(recorded.slice(1).map(({ message }) => message)).toEqual([null, null]);
  });

  it('answers the console’s check_url and records nothing', async () => {
    const response = await push({ EventType: 'check_url' });
    expect(openAnswer(response.body)).toBe('success');
    expect(recorded).toEqual([]);
  });

  it('refuses another token, another owner and a push without signature', async () => {
    expect((await push({ EventType: 'x' }, { token: 'other' })).status).toBe(401);
    expect((await push({ EventType: 'x' }, { ownerKey: 'other-app' })).status).toBe(401);
    expect((await post('/dingtalk/events/ops', '{"encrypt":"abc"}')).status).toBe(401);
    expect((await post('/dingtalk/events/stream-only', '{"encrypt":"abc"}')).status).toBe(404);
    expect(rejected.every((reason) => reason.startsWith('platform_event '))).toBe(true);
    expect(recorded).toEqual([]);
  });

  const query = (timestamp: number | string) => `msg_signature=x&timestamp=${timestamp}&nonce=n`;

  it('takes a timestamp in seconds or in milliseconds, at most an hour away', async () => {
    const now = Date.now();
    const codeFor = async (timestamp: number | string): Promise<unknown> => {
      const { body } = (await post(`/dingtalk/events/ops?${query(timestamp)}`, '{"encrypt":"abc"}')) as {
        body: { code: unknown };
      };
      return body.code;
    };
    // Fresh: the next thing to be checked is the signature.
    expect(await codeFor(now)).toBe('SIGNATURE_MISMATCH');
    expect(await codeFor(Math.floor(now / 1_000))).toBe('SIGNATURE_MISMATCH');
    for (const stale of [now - 3_700_000, Math.floor(now / 1_000) + 3_700, 'soon', '1e12', -now])
      expect(await codeFor(stale)).toBe('SIGNATURE_STALE');
  });

  it('takes at most 64 KiB', async () => {
    const body = JSON.stringify({ encrypt: 'a'.repeat(65 * 1024) });
    expect((await post(`/dingtalk/events/ops?${query(Date.now())}`, body)).status).toBe(413);
  });

  it('reads no body without signature or a fresh timestamp, and at most 64 at once', async () => {
    const server = createServer(createApp()).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const opened: ClientRequest[] = [];
    /** A push that announces a body and never sends it. */
    const begin = (search: string) => {
      const push = httpRequest({ port, host: '127.0.0.1', method: 'POST', path: `/dingtalk/events/ops${search}` });
      push.on('error', () => undefined);
      push.setHeader('content-length', 1_000);
      push.flushHeaders();
      opened.push(push);
      return push;
    };
    const statusOf = async (push: ClientRequest) => {
      const [answer] = (await once(push, 'response', { signal: AbortSignal.timeout(4_000) })) as [IncomingMessage];
      return answer.statusCode;
    };
    try {
      expect(await statusOf(begin(''))).toBe(401);
      expect(await statusOf(begin(`?${query(Date.now() - 4_000_000)}`))).toBe(401);
      const silent = Array.from({ length: 70 }, () => begin(`?${query(Date.now())}`));
      const refused = new Set<number>();
      silent.forEach((push, index) =>
        push.on('response', ({ statusCode }) => statusCode === 503 && refused.add(index)),
      );
      await waitUntil(() => refused.size === 6, { timeoutMs: 10_000, what: '6 of 70 to be refused' });
      // Whoever leaves makes room.
      silent.filter((_, index) => !refused.has(index)).forEach((push) => push.destroy());
      const isTaken = async () =>
        (await post(`/dingtalk/events/ops?${query(Date.now())}`, '{"encrypt":"abc"}', {}, server)).status === 401;
      await waitUntil(isTaken, { timeoutMs: 10_000, what: 'the door to be free again' });
    } finally {
      for (const push of opened) push.destroy();
      server.closeAllConnections();
      server.close();
    }
  });
});
