import { afterEach, describe, expect, it } from '@jest/globals';
import type { ServerResponse } from 'node:http';
import { createApiClient } from './api-client.ts';
import { answerJson, startLocalServer } from './local-server.test-support.ts';
import type { LocalServer, SeenRequest } from './local-server.test-support.ts';

let server: LocalServer | undefined;
afterEach(() => server?.close());

async function start(answer: (request: SeenRequest, response: ServerResponse) => void) {
  const started = await startLocalServer(answer);
  server = started;
  let current = 1;
  const tokens = { get: () => Promise.resolve(`token-${current}`), invalidate: () => (current += 1) };
  const client = createApiClient({ apiUrl: started.url, oapiUrl: started.url, timeoutMs: 2_000 });
  return { client, requests: started.requests, app: { robotCode: 'dingoabc', tokens } };
}
const answering = (...answers: [status: number, body: unknown][]) =>
  start((_request, response) => {
    const [status, body] = answers.shift() ?? [500, {}];
    answerJson(response, status, body);
  });

const delivered = { success: true, result: { deliverResults: [{ success: true, carrierId: 'carrier' }] } };
const card = {
  outTrackId: 'apr-1',
  templateId: 'tpl.schema',
  params: { title: 'Deploy?', canDecide: 'true' },
  lastText: 'Deploy?',
  space: { kind: 'group', conversationId: 'cidXyz==' },
  callback: { kind: 'stream' },
} as const;

describe('creating a card', () => {
  it('delivers it into a group, never to be forwarded, clicks over the Stream', async () => {
    const { client, app, requests } = await answering([200, delivered]);
    expect(await client.createAndDeliverCard({ app, ...card })).toMatchObject({
      kind: 'accepted',
      processQueryKey: 'carrier',
    });
    expect(requests).toMatchObject([{ method: 'POST', url: '/v1.0/card/instances/createAndDeliver' }]);
    expect(requests[0]?.headers['x-acs-dingtalk-access-token']).toBe('token-1');
    expect(requests[0]?.body).toEqual({
      outTrackId: 'apr-1',
      userIdType: 1,
      cardTemplateId: 'tpl.schema',
      callbackType: 'STREAM',
      cardData: { cardParamMap: card.params },
      openSpaceId: 'dtv1.card//IM_GROUP.cidXyz==',
      imGroupOpenSpaceModel: {
        supportForward: false,
        lastMessageI18n: { ZH_CN: 'Deploy?', EN_US: 'Deploy?' },
        notification: { alertContent: 'Deploy?', notificationOff: false },
      },
      imGroupOpenDeliverModel: { robotCode: 'dingoabc' },
    });
  });

  it('delivers it into a single chat, clicks over HTTP by their route key', async () => {
    const { client, app, requests } = await answering([200, delivered]);
    const space = { kind: 'person', staffId: 'manager1234' } as const;
    await client.createAndDeliverCard({ app, ...card, space, callback: { kind: 'http', routeKey: 'ops' } });
    expect(requests[0]?.body).toMatchObject({
      callbackType: 'HTTP',
      callbackRouteKey: 'ops',
      openSpaceId: 'dtv1.card//IM_ROBOT.manager1234',
      imRobotOpenSpaceModel: { supportForward: false },
      imRobotOpenDeliverModel: { spaceType: 'IM_ROBOT', robotCode: 'dingoabc' },
    });
  });

  it('makes only the delivery again when an earlier call created it', async () => {
    const { client, app, requests } = await answering(
      [400, { code: 'param.cardAlreadyExist', message: '%s' }],
      [200, { success: true, result: [{ success: true, carrierId: 'again' }] }],
    );
    expect(await client.createAndDeliverCard({ app, ...card })).toMatchObject({
      kind: 'accepted',
      processQueryKey: 'again',
    });
    expect(requests.map(({ url }) => url)).toEqual([
      '/v1.0/card/instances/createAndDeliver',
      '/v1.0/card/instances/deliver',
    ]);
    expect(requests[1]?.body).toMatchObject({ outTrackId: 'apr-1', openSpaceId: 'dtv1.card//IM_GROUP.cidXyz==' });
    expect(requests[1]?.body).not.toHaveProperty('cardData');
  });

  it.each(['cidA;IM_GROUP.cidB', '', 'cid x'])('refuses the space %j without a call', async (conversationId) => {
    const { client, app, requests } = await answering();
    const outcome = await client.createAndDeliverCard({ app, ...card, space: { kind: 'group', conversationId } });
    expect(outcome).toMatchObject({ kind: 'invalid', code: 'CARD_SPACE' });
    expect(requests).toEqual([]);
  });
});

describe('updating a card', () => {
  it('puts the named variables alone', async () => {
    const { client, app, requests } = await answering([200, { success: true, result: true }]);
    const outcome = await client.updateCard({ app, outTrackId: 'apr-1', params: { status: 'approved' } });
    expect(outcome).toMatchObject({ kind: 'accepted' });
    expect(requests).toMatchObject([
      {
        method: 'PUT',
        url: '/v1.0/card/instances',
        body: {
          outTrackId: 'apr-1',
          cardData: { cardParamMap: { status: 'approved' } },
          cardUpdateOptions: { updateCardDataByKey: true, updatePrivateDataByKey: true },
        },
      },
    ]);
  });
});

it('registers where the clicks of HTTP cards go', async () => {
  const { client, app, requests } = await answering([200, { success: true, result: { apiSecret: 's' } }]);
  const route = { routeKey: 'ops', url: 'https://steward.example/dingtalk/cards/ops', apiSecret: 's' };
  expect(await client.registerCardCallback({ app, ...route })).toMatchObject({ kind: 'accepted' });
  expect(requests[0]?.body).toEqual({
    callbackRouteKey: 'ops',
    callbackUrl: route.url,
    apiSecret: 's',
    forceUpdate: true,
  });
});

describe('recalling', () => {
  it('names the robot, the group and at most 20 handles a call', async () => {
    const { client, app, requests } = await start((request, response) => {
      const { processQueryKeys } = request.body as { processQueryKeys: string[] };
      answerJson(response, 200, { successResult: processQueryKeys, failedResult: {} });
    });
    const processQueryKeys = Array.from({ length: 25 }, (_, n) => `k${n}`);
    expect(await client.recallGroup({ app, conversationId: 'cid', processQueryKeys })).toMatchObject({
      kind: 'accepted',
    });
    expect(requests).toMatchObject([
      { url: '/v1.0/robot/groupMessages/recall', body: { robotCode: 'dingoabc', openConversationId: 'cid' } },
      { body: { processQueryKeys: ['k20', 'k21', 'k22', 'k23', 'k24'] } },
    ]);
  });

  it('of single chats is spelt in lower case, and one handle that failed is a refusal', async () => {
    const { client, app, requests } = await answering([200, { successResult: ['a'], failedResult: { b: 'late' } }]);
    expect(await client.recallUsers({ app, processQueryKeys: ['a', 'b'] })).toMatchObject({
      kind: 'permanent',
      code: 'RECALL_REFUSED',
    });
    expect(requests).toMatchObject([
      {
        url: '/v1.0/robot/otoMessages/batchRecall',
        body: { robotCode: 'dingoabc', processQueryKeys: ['a', 'b'] },
      },
    ]);
  });

  it.each([0, 101])('refuses %i handles without a call', async (length) => {
    const { client, app, requests } = await answering();
    const processQueryKeys = Array.from({ length }, (_, n) => `k${n}`);
    expect(await client.recallUsers({ app, processQueryKeys })).toMatchObject({ kind: 'invalid', code: 'KEY_COUNT' });
    expect(requests).toEqual([]);
  });
});

describe('looking a person up', () => {
  const ok = (result: unknown) => [200, { errcode: 0, errmsg: 'ok', result }] as [number, unknown];
  const parents = (...lists: unknown[][]) =>
    ok({ parent_list: lists.map((parent_dept_id_list) => ({ parent_dept_id_list })) });

  it('gives the roles, and the departments with all above them', async () => {
    const { client, app, requests } = await answering(
      ok({ userid: 'u1', active: true, dept_id_list: [7, 8], role_list: [{ id: 1881, name: 'ops' }, { id: '9' }] }),
      parents([7, 3, 1], [8, 1]),
    );
    expect(await client.lookUpPerson({ app, staffId: 'u1' })).toEqual({
      kind: 'found',
      roleIds: ['1881', '9'],
      departmentIds: ['7', '8', '3', '1'],
    });
    expect(requests).toMatchObject([
      { url: '/topapi/v2/user/get?access_token=token-1', body: { userid: 'u1', language: 'zh_CN' } },
      { url: '/topapi/v2/department/listparentbyuser?access_token=token-1', body: { userid: 'u1' } },
    ]);
  });

  it('reads the shapes of the documentation: text for booleans, one role that is no list, nothing at all', async () => {
    const { client, app } = await answering(ok({ active: 'true', role_list: { id: '1881' } }), ok({}));
    expect(await client.lookUpPerson({ app, staffId: 'u1' })).toEqual({
      kind: 'found',
      roleIds: ['1881'],
      departmentIds: [],
    });
  });

  it.each<[string, [number, unknown]]>([
    ['nobody has the id', [200, { errcode: 60121, errmsg: '找不到该用户' }]],
    ['the id is none', [200, { errcode: 33012, errmsg: '无效的USERID' }]],
    ['the account is not active', ok({ active: 'false', role_list: [{ id: 1 }] })],
  ])('is absent when %s', async (_, answer) => {
    const { client, app, requests } = await answering(answer);
    expect(await client.lookUpPerson({ app, staffId: 'u1' })).toEqual({ kind: 'absent' });
    expect(requests).toHaveLength(1);
  });

  const many = Array.from({ length: 501 }, (_, n) => n);
  it.each<[string, string, [number, unknown][]]>([
    ['the permission is missing', '88/60011', [[200, { errcode: 88, sub_code: '60011' }]]],
    ['the answer is no person', 'UNREADABLE_ANSWER', [ok('x')]],
    ['there are more roles than anybody has', 'UNREADABLE_ANSWER', [ok({ role_list: many.map((id) => ({ id })) })]],
    ['the departments above are not told', '90018', [ok({ role_list: [] }), [200, { errcode: 90018 }]]],
    ['the gateway is down', 'HTTP_502', [[502, '']]],
  ])('fails, and says nothing about the person, when %s', async (_, code, answers) => {
    const { client, app } = await answering(...answers);
    expect(await client.lookUpPerson({ app, staffId: 'u1' })).toMatchObject({ kind: 'failed', outcome: { code } });
  });

  it('refreshes a refused token once and asks again', async () => {
    const { client, app, requests } = await answering([200, { errcode: 40014 }], ok({}), ok({}));
    expect(await client.lookUpPerson({ app, staffId: 'u1' })).toMatchObject({ kind: 'found' });
    expect(requests.map(({ url }) => url.split('=')[1])).toEqual(['token-1', 'token-2', 'token-2']);
  });
});
