import { afterEach, describe, expect, it } from '@jest/globals';
import { createEgress } from './egress.ts';
import type { EgressResult } from './egress.ts';
import { createHttpTool } from './http-tool.ts';
import { httpToolSchema } from '@steward/governance';
import type { ToolResult } from './tool.ts';
import { startServer } from './egress.test-support.ts';
import { answeredJson, buildCallContext, createTestEgress, never } from './tools.test-support.ts';

const file = {
  name: 'restart_service',
  description: 'Restarts a service.',
  effect: 'write',
  environments: ['test'],
  parameters: {},
  request: {
    method: 'POST',
    target: 'systems',
    path: '/services/{{service}}/restart',
    headers: { Authorization: { secret: 'systems', prefix: 'Bearer ' } },
    body: { force: '{{force}}' },
  },
  preview: { request: { path: '/services/{{service}}' }, select: ['version', 'deep.list'], compare: ['version'] },
};
const place = {
  target: { host: 'api.example.com', http: false, private: false },
  secrets: new Map([['systems', 'hunter2-hunter2']]),
};

function createTool(changes: object, ...answers: EgressResult[]) {
  const { egress, asked } = createTestEgress(...answers);
  const tool = createHttpTool({ file: httpToolSchema.parse({ ...file, ...changes }), places: { test: place }, egress });
  const call = (args = {}, context = {}): Promise<ToolResult> => {
    if (tool.run.kind !== 'call') throw new Error('not a call');
    return tool.run.call({ service: 'web', ...args }, buildCallContext(context), never);
  };
  const preview = (args = {}) => tool.preview?.({ service: 'web', ...args }, buildCallContext(), never);
  return { call, preview, asked };
}

describe('a call of an HTTP tool', () => {
  it('carries arguments, secret, idempotency key and correlation id', async () => {
    const { call, asked } = createTool({}, answeredJson({ state: 'restarting' }));
    expect(await call({ force: true })).toEqual({ kind: 'done', output: 'state: restarting' });
    expect(asked).toEqual([
      expect.objectContaining({
        target: place.target,
        method: 'POST',
        path: '/services/web/restart',
        headers: {
          accept: 'application/json, text/*;q=0.5',
          Authorization: 'Bearer hunter2-hunter2',
          'idempotency-key': 'steward-call-1',
          'x-correlation-id': '00000000-0000-7000-8000-000000000001',
          'content-type': 'application/json',
        },
        body: '{"force":true}',
        timeoutMs: 10_000,
        signal: never,
      }),
    ]);
  });

  it('is not made for arguments that do not fit, nor from the other environment', async () => {
    const { call, asked } = createTool({});
    expect(await call({ service: '../admin' })).toEqual({
      kind: 'failed',
      code: 'INVALID_ARGUMENTS',
      text: 'service does not fit into the request of this tool',
    });
    expect(await call({}, { environment: 'production' })).toMatchObject({ kind: 'failed', code: 'WRONG_ENVIRONMENT' });
    expect(asked).toEqual([]);
  });

  it.each<[string, object, EgressResult, ToolResult['kind']]>([
    ['fails when it was refused', {}, answeredJson({}, 403), 'failed'],
    ['fails when it was not sent', {}, { kind: 'not_sent', code: 'ECONNREFUSED' }, 'failed'],
    ['is unknown when the system broke', {}, answeredJson({}, 500), 'unknown'],
    ['is unknown when the answer got lost', {}, { kind: 'unclear', code: 'ECONNRESET' }, 'unknown'],
    [
      'is unknown when somebody else answered for it',
      {},
      { kind: 'answered', status: 200, body: '<html>log in</html>' },
      'unknown',
    ],
    [
      'fails then if it only reads',
      { effect: 'read', preview: undefined },
      { kind: 'answered', status: 200, body: '<html>' },
      'failed',
    ],
    ['is done without a word', {}, { kind: 'answered', status: 204, body: '' }, 'done'],
    [
      'is done with a text where a text is what it asks for',
      { response: 'text' },
      { kind: 'answered', status: 200, body: 'ok' },
      'done',
    ],
  ])('%s', async (_, changes, answer, kind) => {
    expect((await createTool(changes, answer).call()).kind).toBe(kind);
  });

  it('shows the selected fields, within its limit, and never its own secret', async () => {
    const answer = answeredJson({ state: 'x'.repeat(500), seen: 'Bearer hunter2-hunter2', other: 1 });
    const select = { response: { select: ['seen', 'state'] }, maxOutputBytes: 200 };
    const result = await createTool(select, answer).call();
    expect(result).toMatchObject({
      kind: 'done',
      output: expect.stringMatching(/^seen: Bearer \[redacted\]\nstate: x+\n\[cut: \d+ bytes in all\]$/),
    });
    const refused = await createTool({}, answeredJson('hunter2-hunter2 is not enough', 401)).call();
    expect(refused).toEqual({
      kind: 'failed',
      code: 'HTTP_401',
      text: 'the system answered 401: "[redacted] is not enough"',
    });
  });
});

describe('a preview', () => {
  it('looks without an idempotency key, and shows the selected fields', async () => {
    const { preview, asked } = createTool({}, answeredJson({ version: 7, deep: { list: [1, 2] }, other: 'x' }));
    expect(await preview()).toEqual({ version: 7, 'deep.list': [1, 2] });
    expect(asked[0]).toMatchObject({ method: 'GET', path: '/services/web', body: null });
    expect(asked[0]?.headers).toMatchObject({ Authorization: 'Bearer hunter2-hunter2' });
    expect(asked[0]?.headers).not.toHaveProperty('idempotency-key');
  });

  it.each<[string, EgressResult]>([
    ['the system refuses', answeredJson({}, 404)],
    ['the system is away', { kind: 'unclear', code: 'CALL_TIMEOUT' }],
    ['the answer is no JSON', { kind: 'answered', status: 200, body: '<html>' }],
    ['a compared field is missing', answeredJson({ deep: 1 })],
    ['a compared field is no single value', answeredJson({ version: { a: 1, b: 2 } })],
    ['it is too large', answeredJson({ version: 1, deep: { list: 'x'.repeat(20_000) } })],
  ])('fails when %s', async (_, answer) => {
    await expect(createTool({}, answer).preview()).rejects.toMatchObject({ code: 'PREVIEW_FAILED' });
  });

  it('is there only for a tool that has one', () => {
    expect(createTool({ preview: undefined }).preview()).toBeUndefined();
  });
});

describe('over a real connection', () => {
  const opened: { close(): Promise<void> }[] = [];
  afterEach(async () => {
    for (const server of opened.splice(0)) await server.close();
  });

  it('a write that was carried out and whose answer got lost is unknown, and is not made again', async () => {
    const effects: string[] = [];
    const server = await startServer({
      http: (request) => {
        effects.push(`${request.method} ${request.url} ${String(request.headers['idempotency-key'])}`);
        request.socket.resetAndDestroy();
      },
    });
    opened.push(server);
    const target = { host: `127.0.0.1:${server.port}`, http: true, private: true };
    const tool = createHttpTool({
      file: httpToolSchema.parse(file),
      places: { test: { ...place, target } },
      egress: createEgress(),
    });
    if (tool.run.kind !== 'call') throw new Error('not a call');
    expect(await tool.run.call({ service: 'web' }, buildCallContext(), never)).toEqual({
      kind: 'unknown',
      code: 'ECONNRESET',
    });
    expect(effects).toEqual(['POST /services/web/restart steward-call-1']);
  });
});
