import { afterEach, describe, expect, it } from '@jest/globals';
import type { ServerResponse } from 'node:http';
import { createApiClient } from './api-client.ts';
import { answerJson, startLocalServer } from './local-server.test-support.ts';
import type { LocalServer, SeenRequest } from './local-server.test-support.ts';
import { maxAnswerBytes } from './post-json.ts';
import { createTokenSource } from './token-source.ts';

let server: LocalServer | undefined;
afterEach(() => server?.close());

const content = { kind: 'text', text: 'done' } as const;
const ok = { errcode: 0, errmsg: 'ok' };

async function start(
  answer: (request: SeenRequest, response: ServerResponse) => void,
  timeoutMs = 5_000,
  deadlineMs?: number,
) {
  const started = await startLocalServer(answer);
  server = started;
  const tokens = {
    current: 1,
    get: () => Promise.resolve(`token-${tokens.current}`),
    invalidate: () => {
      tokens.current += 1;
    },
  };
  const client = createApiClient({
    apiUrl: started.url,
    oapiUrl: started.url,
    timeoutMs,
    deadlineMs,
    now: () => 1_577_262_236_757,
  });
  const rule = { hosts: [], httpHosts: [new URL(started.url).host] };
  const sessionWebhook = `${started.url}/robot/sendBySession?session=66d7`;
  return {
    client,
    requests: started.requests,
    app: { robotCode: 'dingoabc', tokens },
    bySession: () => client.sendBySession({ sessionWebhook, rule, content }),
  };
}

describe('API client', () => {
  it('answers by session webhook', async () => {
    const { bySession, requests } = await start((_request, response) => answerJson(response, 200, ok));
    expect(await bySession()).toMatchObject({ kind: 'accepted' });
    expect(requests).toMatchObject([
      { url: '/robot/sendBySession?session=66d7', body: { msgtype: 'text', text: { content: 'done' } } },
    ]);
    expect(requests[0]?.headers['content-type']).toBe('application/json');
  });

  it('calls no address that the rule refuses', async () => {
    const { client, requests } = await start((_request, response) => answerJson(response, 200, ok));
    const hostile = { sessionWebhook: 'https://evil.example/robot/sendBySession?session=1', content };
    expect(await client.sendBySession({ ...hostile, rule: { hosts: ['oapi.dingtalk.com'], httpHosts: [] } })).toEqual({
      kind: 'session_gone',
      code: 'SESSION_WEBHOOK_REFUSED/host',
      text: expect.any(String),
      scope: 'target',
    });
    expect(requests).toEqual([]);
  });

  it('sends to a group and to people with the token of the app', async () => {
    const { client, app, requests } = await start((_request, response) =>
      answerJson(response, 200, { processQueryKey: 'k', invalidStaffIdList: ['u2'] }),
    );
    const group = await client.sendToGroup({ app, conversationId: 'cidXyz==', content });
    expect(group).toMatchObject({ kind: 'accepted', processQueryKey: 'k' });
    const people = await client.sendToUsers({ app, staffIds: ['u1', 'u2'], content });
    expect(people).toMatchObject({ kind: 'accepted', invalidStaffIds: ['u2'] });
    const message = { robotCode: 'dingoabc', msgKey: 'sampleText', msgParam: '{"content":"done"}' };
    expect(requests).toMatchObject([
      { url: '/v1.0/robot/groupMessages/send', body: { ...message, openConversationId: 'cidXyz==' } },
      { url: '/v1.0/robot/oToMessages/batchSend', body: { ...message, userIds: ['u1', 'u2'] } },
    ]);
    expect(requests[0]?.headers['x-acs-dingtalk-access-token']).toBe('token-1');
  });

  it.each([0, 21])('refuses %i people without a call', async (count) => {
    const { client, app, requests } = await start((_request, response) => answerJson(response, 200, {}));
    const staffIds = Array.from({ length: count }, (_, n) => `u${n}`);
    expect(await client.sendToUsers({ app, staffIds, content })).toMatchObject({ kind: 'invalid', code: 'USER_COUNT' });
    expect(requests).toEqual([]);
  });

  it('refreshes a refused token once and sends again', async () => {
    const { client, app, requests } = await start((request, response) =>
      request.headers['x-acs-dingtalk-access-token'] === 'token-2'
        ? answerJson(response, 200, { processQueryKey: 'k' })
        : answerJson(response, 400, { code: 'InvalidAuthentication', message: '不合法的access_token' }),
    );
    expect(await client.sendToGroup({ app, conversationId: 'c', content })).toMatchObject({ kind: 'accepted' });
    expect(requests).toHaveLength(2);
  });

  it('gives up on a token that is refused twice', async () => {
    const { client, app, requests } = await start((_request, response) => answerJson(response, 401, {}));
    expect(await client.sendToGroup({ app, conversationId: 'c', content })).toMatchObject({ kind: 'token' });
    expect(requests).toHaveLength(2);
  });

  it('signs each send of a custom robot anew and carries msgUuid', async () => {
    const { client, requests } = await start((_request, response) => answerJson(response, 200, ok));
    const robot = { accessToken: 'tok', secret: 'this is secret', msgUuid: 'uuid-1' };
    expect(await client.sendByCustomRobot({ ...robot, content, mentions: { staffIds: ['u1'] } })).toMatchObject({
      kind: 'accepted',
    });
    expect(requests).toMatchObject([
      {
        url: '/robot/send?access_token=tok&timestamp=1577262236757&sign=hmPWwU%2B7lVdm3ZZz0r9tSfx0L4Q26jWOZr9%2BGs6EZQM%3D',
        body: { msgtype: 'text', text: { content: '@u1 done' }, at: { atUserIds: ['u1'] }, msgUuid: 'uuid-1' },
      },
    ]);
  });

  it('follows no redirect', async () => {
    const { bySession, requests } = await start((_request, response) =>
      response.writeHead(302, { location: '/elsewhere' }).end(),
    );
    expect(await bySession()).toMatchObject({ kind: 'permanent', code: 'HTTP_302' });
    expect(requests).toHaveLength(1);
  });

  it('calls an answer over 64 KiB unreadable', async () => {
    const { bySession } = await start((_request, response) =>
      answerJson(response, 200, { ...ok, padding: 'x'.repeat(maxAnswerBytes) }),
    );
    expect(await bySession()).toMatchObject({ kind: 'unknown', code: 'UNREADABLE_ANSWER' });
  });

  it('does not know whether it was sent when no answer comes in time', async () => {
    const { bySession } = await start(() => undefined, 100);
    expect(await bySession()).toMatchObject({ kind: 'unknown', code: 'TIMEOUT' });
  });

  it.each([
    ['the first token', [], 'retryable'],
    ['the first answer', ['token'], 'unknown'],
    ['the second token, since what was refused was not sent', ['token', 'refused'], 'retryable'],
    ['the second answer', ['token', 'refused', 'token'], 'unknown'],
  ])('ends a whole send at its deadline while it waits for %s', async (_name, replies, kind) => {
    const { client, requests } = await start(
      (_request, response) => {
        const reply = replies[requests.length - 1];
        if (reply === 'token') answerJson(response, 200, { accessToken: `token-${requests.length}`, expireIn: 7200 });
        if (reply === 'refused') answerJson(response, 400, { code: 'InvalidAuthentication' });
      },
      60_000,
      1_000,
    );
    const tokens = createTokenSource({
      apiUrl: server?.url ?? '',
      appKey: 'k',
      appSecret: 'app-secret-0123456789',
      timeoutMs: 60_000,
    });
    const outcome = await client.sendToGroup({ app: { robotCode: 'r', tokens }, conversationId: 'c', content });
    expect(outcome).toMatchObject({ kind, code: expect.stringMatching(/TIMEOUT$/) });
    expect(requests).toHaveLength(replies.length + 1);
  });

  it('starts no POST once the deadline has passed', async () => {
    const { client, app, requests } = await start((_request, response) => answerJson(response, 200, {}), 5_000, 10);
    const slow = { get: () => new Promise<string>((resolve) => setTimeout(resolve, 500, 'token-1')), invalidate() {} };
    const outcome = await client.sendToGroup({ app: { ...app, tokens: slow }, conversationId: 'c', content });
    expect(outcome).toMatchObject({ kind: 'retryable', code: 'TIMEOUT' });
    expect(requests).toEqual([]);
  });

  it('does not know whether it was sent when the connection breaks after the request', async () => {
    const { bySession } = await start((_request, response) => response.socket?.resetAndDestroy());
    expect(await bySession()).toMatchObject({ kind: 'unknown' });
  });

  it('does not know whether it was sent when the answer breaks off', async () => {
    const { bySession } = await start((_request, response) => {
      response.writeHead(200, { 'content-length': '100' }).write('{"errcode"', () => response.socket?.destroy());
    });
    expect(await bySession()).toMatchObject({ kind: 'unknown' });
  });

  it('may try again when nobody listens or the name is unknown', async () => {
    const { bySession, app } = await start(() => undefined);
    await server?.close();
    expect(await bySession()).toMatchObject({ kind: 'retryable', code: 'ECONNREFUSED' });
    const lost = createApiClient({ apiUrl: 'http://nowhere.invalid', oapiUrl: 'http://nowhere.invalid' });
    expect(await lost.sendToGroup({ app, conversationId: 'c', content })).toMatchObject({ kind: 'retryable' });
  });
});
