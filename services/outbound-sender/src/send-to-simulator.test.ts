import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createSimulator, type Simulator } from '@steward/dingtalk-simulator';
import { createApiClient, createTokenSource } from '@steward/dingtalk';
import { createLookUp } from './answer-person-lookup.ts';
import { createSend } from './send-by-path.ts';
import { buildAttempt, cardContent, cardUpdate, replyKeys } from './testing.ts';

const room = 'cidOps==';
let simulator: Simulator;
beforeEach(async () => {
  simulator = await createSimulator({
    world: {
      corpId: 'corp-1',
      apps: [{ appKey: 'app-key', appSecret: 'app-secret-of-the-tests', robotCode: 'dingtest', name: 'ops' }],
      customRobots: [],
      rooms: [{ conversationId: room, title: 'ops', kind: 'group', robots: ['dingtest'], members: ['li', 'wang'] }],
      people: [
        { staffId: 'li', name: 'Li', unionId: 'u-li', roleIds: [1881], departmentIds: [7] },
        { staffId: 'wang', name: 'Wang', unionId: 'u-wang', active: false },
      ],
      departments: [{ id: 7, name: 'sre', parentId: 3 }],
    },
  });
});
afterEach(() => simulator.close());

const start = () => {
  const { url } = simulator;
  const api = createApiClient({ apiUrl: url, oapiUrl: url, timeoutMs: 2_000 });
  const tokens = createTokenSource({ apiUrl: url, appKey: 'app-key', appSecret: 'app-secret-of-the-tests' });
  const robot = {
    app: { robotCode: 'dingtest', tokens },
    rule: { hosts: [], httpHosts: [] },
    cardCallback: { kind: 'stream' } as const,
  };
  const robots = { byCode: new Map([['dingtest', robot]]), customRobots: new Map() };
  const onBreakerChange = () => undefined;
  const sender = createSend({ api, robots, replyKeys, repeatMark: '', onBreakerChange });
  return { send: sender.send, lookUp: createLookUp({ api, robots, onBreakerChange }) };
};
const target = { kind: 'group', robotCode: 'dingtest', conversationId: room } as const;
const card = buildAttempt({ path: 'card', target, content: cardContent });
const createPath = '/v1.0/card/instances/createAndDeliver';
const recall = (processQueryKeys: string[]) =>
  buildAttempt({
    ...{ path: 'recall', target, processQueryKeys },
    content: { kind: 'recall', outboundMessageId: card.outboundMessageId },
  });

describe('against a platform', () => {
  it('shows a card, changes what it names alone, and takes the card back by its handle', async () => {
    const { send } = start();
    const created = await send(card);
    expect(created).toMatchObject({ outcome: 'accepted', processQueryKey: expect.any(String) });
    expect(await send(buildAttempt({ path: 'card_update', target, content: cardUpdate }))).toMatchObject({
      outcome: 'accepted',
    });
    expect(simulator.control.cards({ staffId: 'li' })).toMatchObject([
      {
        ...{ outTrackId: 'apr-1', callbackType: 'STREAM', supportForward: false },
        params: { title: 'Restart payments?', status: 'approved' },
      },
    ]);
    expect(await send(recall([created.processQueryKey ?? '']))).toMatchObject({ outcome: 'accepted' });
    expect(await simulator.control.messages()).toMatchObject([{ via: 'card', recalledAt: expect.any(Number) }]);
    expect(await simulator.control.calls({ outcome: 'unsupported' })).toEqual([]);
  });

  it.each(['504', 'reset'] as const)('makes one card though the first answer is lost (%s)', async (mode) => {
    const { send } = start();
    simulator.control.setFaults({ loseResponses: [{ path: createPath, mode, times: 1 }] });
    expect(await send(card)).toMatchObject({ outcome: 'unknown' });
    expect(await send({ ...card, unknownCount: 1 })).toMatchObject({ outcome: 'accepted' });
    expect(simulator.control.cards()).toHaveLength(1);
    expect(simulator.control.cards()[0]?.versions).toHaveLength(1);
  });

  it('calls a delivery that failed inside a success failed', async () => {
    const { send } = start();
    simulator.control.setFaults({ cardDeliveryFails: [room] });
    expect(await send(card)).toMatchObject({ outcome: 'permanent', code: 'CARD_NOT_DELIVERED' });
  });

  it('repeats a lost update without harm, and fails for a card or a template that is not there', async () => {
    const { send } = start();
    const update = buildAttempt({ path: 'card_update', target, content: cardUpdate });
    expect(await send(update)).toMatchObject({ outcome: 'permanent', code: 'param.cardNotExist' });
    await send(card);
    simulator.control.setFaults({ loseResponses: [{ path: '/v1.0/card/instances', mode: '504', times: 1 }] });
    expect(await send(update)).toMatchObject({ outcome: 'unknown' });
    expect(await send(update)).toMatchObject({ outcome: 'accepted' });
    expect(simulator.control.cards()[0]?.params).toEqual({ title: 'Restart payments?', status: 'approved' });
    simulator.control.setWorld({ cardTemplates: [] });
    const other = { ...card, content: { ...cardContent, outTrackId: 'apr-2' } };
    expect(await send(other)).toMatchObject({ outcome: 'permanent', code: 'param.templateNotExist' });
  });

  it('does not claim to have taken back what the platform keeps', async () => {
    const { send } = start();
    simulator.control.setFaults({ recallFails: true });
    const { processQueryKey } = await send(card);
    expect(await send(recall([processQueryKey ?? '']))).toMatchObject({ outcome: 'permanent', code: 'RECALL_REFUSED' });
  });

  it('asks who somebody is, in every shape the answers come in', async () => {
    const { lookUp } = start();
    const li = { result: 'found', roleIds: ['1881'], departmentIds: ['7', '3', '1'] };
    expect(await lookUp('dingtest', 'li')).toEqual(li);
    simulator.control.setFaults({ directoryShape: 'sample' });
    expect(await lookUp('dingtest', 'li')).toEqual(li);
    expect(await lookUp('dingtest', 'wang')).toEqual({ result: 'absent' });
    expect(await lookUp('dingtest', 'nobody')).toEqual({ result: 'absent' });
    simulator.control.revoke();
    expect(await lookUp('dingtest', 'li')).toEqual(li);
    const path = '/topapi/v2/department/listparentbyuser';
    simulator.control.setFaults({ failNext: [{ path, reply: 'oapi.88', times: 1 }] });
    expect(await lookUp('dingtest', 'li')).toEqual({ result: 'failed', code: '88/60011' });
  });
});
