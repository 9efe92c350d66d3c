import { request } from 'node:http';
import { connect } from 'node:net';
import { afterEach, describe, expect, it } from '@jest/globals';
import express from 'express';
import {
  addErrorRoutes,
  AppError,
  correlationIdOf,
  createHttpApp,
  createLogger,
  createMetrics,
  listen,
  type Listening,
  type Readiness,
} from './index.ts';

const open: Listening[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((server) => server.close()));
});

type Probe = { url: string; lines: string[]; server: Listening };

async function serve(
  addRoutes: (app: express.Express) => void = () => undefined,
  readiness: () => Promise<Readiness> = () => Promise.resolve({}),
): Promise<Probe> {
  const lines: string[] = [];
  const log = createLogger({ service: 'test', write: (line) => lines.push(line) });
  const app = createHttpApp({ log, metrics: createMetrics('test'), readiness });
  addRoutes(app);
  addErrorRoutes(app, log, { OWN_REFUSAL: 409 });
  const server = await listen(app, { host: '127.0.0.1', port: 0 });
  open.push(server);
  return { url: server.url, lines, server };
}

describe('createHttpApp', () => {
  it('answers health, sends protective headers, and does not name its framework', async () => {
    const { url } = await serve();
    const answer = await fetch(`${url}/healthz`);
    expect([answer.status, await answer.json()]).toEqual([200, { status: 'ok' }]);
    expect(answer.headers.get('x-content-type-options')).toBe('nosniff');
    expect(answer.headers.has('x-powered-by')).toBe(false);
  });

  it('gives every request its own correlation id and ignores one from outside', async () => {
    const { url } = await serve((app) => {
      app.get('/id', (_request, response) => void response.json({ id: correlationIdOf(response) }));
    });
    const forged = '01980000-0000-7000-8000-000000000000';
    const answer = await fetch(`${url}/id`, { headers: { 'x-correlation-id': forged, 'x-request-id': forged } });
    const id = answer.headers.get('x-correlation-id');
    expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7/);
    expect(id).not.toBe(forged);
    expect(await answer.json()).toEqual({ id });
  });

  it.each<[string, () => Promise<Readiness>, number]>([
    ['ready', async () => ({ database: { ok: true } }), 200],
    ['not ready', async () => ({ bus: { ok: false, detail: 'amqp://u:hunter2@mq' } }), 503],
    ['failing', () => Promise.reject(new Error('hunter2')), 503],
  ])('reports readiness when it is %s, without secrets', async (_name, readiness, status) => {
    const { url } = await serve(undefined, readiness);
    const answer = await fetch(`${url}/readyz`);
    expect(answer.status).toBe(status);
    expect(await answer.text()).not.toContain('hunter2');
  });

  it('is not ready when the check hangs, and asks only once for many callers', async () => {
    let asked = 0;
    const { url } = await serve(undefined, () => {
      asked += 1;
      return new Promise(() => undefined);
    });
    const answers = await Promise.all([1, 2, 3].map(() => fetch(`${url}/readyz`)));
    expect(answers.map((answer) => answer.status)).toEqual([503, 503, 503]);
    expect(asked).toBe(1);
  });

  it('counts requests by the route pattern, never by the path', async () => {
    const { url } = await serve((app) => {
      app.get('/robot/:robot', (_request, response) => void response.json({}));
    });
    await fetch(`${url}/robot/very-own-name`);
    await fetch(`${url}/nowhere/very-own-name`);
    const metrics = await (await fetch(`${url}/metrics`)).text();
    expect(metrics).toMatch(/steward_http_request_seconds_count\{.*route="\/robot\/:robot",status="200".*\} 1/);
    expect(metrics).toMatch(/route="none",status="404"/);
    expect(metrics).toContain('service="test"');
    expect(metrics).not.toContain('very-own-name');
  });
});

describe('addErrorRoutes', () => {
  const routes = (app: express.Express): void => {
    app.post('/json', express.json({ limit: 100 }), (_request, response) => void response.json({}));
    app.get('/fail/:how', (request) => {
      if (request.params.how === 'own')
        throw new AppError('OWN_REFUSAL', 'not now, token=hunter2', { retryable: false });
      if (request.params.how === 'busy') throw new AppError('DATABASE_DOWN', 'db host 10.0.0.1', { retryable: true });
      if (request.params.how === 'late') return Promise.reject(new Error('inner hunter2'));
      throw new Error('inner hunter2');
    });
  };
  const post = (url: string, body: string, headers: Record<string, string> = {}) =>
    fetch(`${url}/json`, { method: 'POST', body, headers: { 'content-type': 'application/json', ...headers } });

  it.each<[string, (url: string) => Promise<Response>, number, string]>([
    ['an unknown address', (url) => fetch(`${url}/hunter2?hunter2`), 404, 'NOT_FOUND'],
    ['a broken body', (url) => post(url, '{"hunter2'), 400, 'BODY_MALFORMED'],
    ['a large body', (url) => post(url, `"${'hunter2'.repeat(50)}"`), 413, 'BODY_TOO_LARGE'],
    ['an unknown encoding', (url) => post(url, '{}', { 'content-encoding': 'hunter2' }), 415, 'BODY_UNSUPPORTED'],
    [
      'a charset nobody reads',
      (url) => post(url, '{}', { 'content-type': 'application/json; charset=hunter2' }),
      415,
      'BODY_UNSUPPORTED',
    ],
    ['a malformed path', (url) => fetch(`${url}/fail/%E0%A4%A`), 400, 'BODY_MALFORMED'],
    ['a refusal of the service', (url) => fetch(`${url}/fail/own`), 409, 'OWN_REFUSAL'],
    ['a dependency away', (url) => fetch(`${url}/fail/busy`), 503, 'DATABASE_DOWN'],
    ['an unexpected failure', (url) => fetch(`${url}/fail/now`), 500, 'INTERNAL'],
    ['an unexpected rejection', (url) => fetch(`${url}/fail/late`), 500, 'INTERNAL'],
  ])('answers %s in JSON without repeating input or insides', async (_name, ask, status, code) => {
    const { url } = await serve(routes);
    const answer = await ask(url);
    const text = await answer.text();
    expect(answer.status).toBe(status);
    expect(JSON.parse(text)).toEqual({
      code,
      text: expect.any(String),
      correlationId: answer.headers.get('x-correlation-id'),
    });
    expect(text).not.toMatch(/hunter2|10\.0\.0\.1| {4}at /);
  });

  it('tells the caller when to come back, and the log what happened', async () => {
    const { url, lines } = await serve(routes);
    const answer = await fetch(`${url}/fail/busy?session=hunter2`);
    expect(answer.headers.get('retry-after')).toBe('5');
    expect(lines).toHaveLength(1);
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({
      event: 'http.request_failed',
      correlationId: answer.headers.get('x-correlation-id'),
      path: '/fail/busy',
      error: { code: 'DATABASE_DOWN' },
    });
    expect(lines[0]).not.toContain('hunter2');
  });
});

describe('listen', () => {
  it('says which address cannot be had', async () => {
    const { server } = await serve();
    await expect(listen(express(), { host: '127.0.0.1', port: server.port })).rejects.toMatchObject({
      code: 'LISTEN_FAILED',
      message: expect.stringContaining(String(server.port)),
    });
  });

  it('finishes the request in hand on close, refuses new ones, and drops idle connections', async () => {
    const begun = Promise.withResolvers<undefined>();
    const release = Promise.withResolvers<undefined>();
    const { url, server } = await serve((app) => {
      app.get('/slow', async (_request, response) => {
        begun.resolve(undefined);
        await release.promise;
        response.json({ done: true });
      });
    });
    const idle = connect(server.port, '127.0.0.1');
    const idleClosed = new Promise((resolve) => idle.once('close', resolve));
    const answer = new Promise<{ status?: number; connection?: string }>((resolve, reject) => {
      request(`${url}/slow`, { agent: false, headers: { connection: 'keep-alive' } }, (incoming) => {
        incoming.resume();
        resolve({ status: incoming.statusCode, connection: incoming.headers.connection });
      })
        .on('error', reject)
        .end();
    });
    await begun.promise;
    const closed = server.close();
    await expect(fetch(`${url}/healthz`)).rejects.toThrow();
    release.resolve(undefined);
    await expect(answer).resolves.toEqual({ status: 200, connection: 'close' });
    await closed;
    await idleClosed;
  });

  it('does not wait for ever for a request that never ends', async () => {
    const begun = Promise.withResolvers<undefined>();
    const { url, server } = await serve((app) => {
      app.get('/never', () => begun.resolve(undefined));
    });
    const cutOff = expect(fetch(`${url}/never`)).rejects.toThrow('fetch failed');
    await begun.promise;
    await server.close();
    await cutOff;
  });
});
