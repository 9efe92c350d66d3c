import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createSimulator } from './simulator.ts';
import type { Simulator } from './simulator.ts';
import { authorise, buildTestWorld, call, connectStream, createReceiver } from './testing.ts';
import { singleChatId } from './world.ts';

let simulator: Simulator;
let headers: Record<string, string>;
beforeEach(async () => {
  simulator = await createSimulator({ world: buildTestWorld() });
  headers = await authorise(simulator.url);
});
afterEach(() => simulator.close());
const send = (method: string, path: string, body: unknown): ReturnType<typeof call> =>
  call(`${simulator.url}/v1.0/card/${path}`, method, body, headers);
const model = { supportForward: false, lastMessageI18n: { ZH_CN: 'Approval' } };
const group = {
  openSpaceId: 'dtv1.card//IM_GROUP.cidOps==',
  imGroupOpenSpaceModel: model,
  imGroupOpenDeliverModel: { robotCode: 'dingops' },
};
const single = {
  openSpaceId: 'dtv1.card//IM_ROBOT.wang',
  imRobotOpenSpaceModel: model,
  imRobotOpenDeliverModel: { spaceType: 'IM_ROBOT', robotCode: 'dingops' },
};
const card = {
  ...{ outTrackId: 'apr-1', cardTemplateId: 'tpl', callbackType: 'STREAM', userIdType: 1 },
  cardData: { cardParamMap: { title: 'Deploy?', status: 'pending' } },
  ...group,
};
const create = (over: object = {}): ReturnType<typeof call> =>
  send('POST', 'instances/createAndDeliver', { ...card, ...over });
const update = (body: object): ReturnType<typeof call> => send('PUT', 'instances', { outTrackId: 'apr-1', ...body });
const paramsOf = (): Record<string, string> | undefined => simulator.control.cards({ outTrackId: 'apr-1' })[0]?.params;

describe('creating and delivering a card', () => {
  it('shows it in the group, to its members, with a handle', async () => {
    const { status, body } = await create();
    const carrierId = simulator.control.cards()[0]?.spaces[0]?.carrierId;
    expect({ status, body }).toEqual({
      status: 200,
      body: {
        success: true,
        result: {
          outTrackId: 'apr-1',
          deliverResults: [{ spaceType: 'IM_GROUP', spaceId: 'cidOps==', success: true, carrierId, errorMsg: '' }],
        },
      },
    });
    expect(simulator.control.cards({ staffId: 'li' })).toMatchObject([
      { outTrackId: 'apr-1', templateId: 'tpl', callbackType: 'STREAM', supportForward: false },
    ]);
    expect(await simulator.control.messages()).toMatchObject([
      { conversationId: 'cidOps==', via: 'card', text: 'Approval', content: { outTrackId: 'apr-1' } },
    ]);
  });

  it('shows it in a single chat to one person, and in a group to its recipients alone', async () => {
    await create(single);
    const recipients = { ...group.imGroupOpenDeliverModel, recipients: ['li'] };
    await create({ outTrackId: 'apr-2', imGroupOpenDeliverModel: recipients });
    const seenBy = (staffId: string): string[] => simulator.control.cards({ staffId }).map((one) => one.outTrackId);
    expect([seenBy('wang'), seenBy('li')]).toEqual([['apr-1'], ['apr-2']]);
    const conversationId = singleChatId(buildTestWorld(), 'dingops', 'wang');
    expect(await simulator.control.messages({ staffId: 'wang' })).toMatchObject([{ conversationId, via: 'card' }]);
  });

  it('works in two steps too', async () => {
    const { cardTemplateId, cardData, callbackType } = card;
    const created = await send('POST', 'instances', { outTrackId: 'apr-1', cardTemplateId, cardData, callbackType });
    expect(created.body).toEqual({ success: true, result: 'apr-1' });
    expect(await simulator.control.messages()).toEqual([]);
    const { body } = await send('POST', 'instances/deliver', { outTrackId: 'apr-1', ...group });
    expect(body).toMatchObject({ success: true, result: [{ success: true, spaceId: 'cidOps==' }] });
    expect((await send('POST', 'instances/deliver', { outTrackId: 'nope', ...group })).body.code).toBe(
      'param.cardNotExist',
    );
  });

  it.each<[string, object, string]>([
    ['no id', { outTrackId: '' }, 'param.outTrackIdEmpty'],
    ['an id of 65 characters', { outTrackId: 'x'.repeat(65) }, 'outTrackId.outOfLimit'],
    ['no template', { cardTemplateId: '' }, 'param.cardTemplateIdEmpty'],
    ['a space that is none', { openSpaceId: 'cidOps==' }, 'param.openSpaceIdInvalid'],
    ['no delivery model', { imGroupOpenDeliverModel: undefined }, 'param.openDeliverModelEmpty'],
    ['no word on forwarding', { imGroupOpenSpaceModel: {} }, 'param.supportForwardEmpty'],
    ["another app's robot", { imGroupOpenDeliverModel: { robotCode: 'dingother' } }, 'invalidParameter.robotCode.auth'],
    ['a variable that is no text', { cardData: { cardParamMap: { count: 3 } } }, 'param.cardParamInvalid'],
  ])('refuses %s', async (_, over, code) => {
    const answer = await create(over);
    expect({ status: answer.status, code: answer.body.code }).toEqual({ status: 400, code });
    expect(simulator.control.cards()).toEqual([]);
  });

  it('knows only the published templates, where the world lists them', async () => {
    simulator.control.setWorld({ cardTemplates: ['other'] });
    expect((await create()).body.code).toBe('param.templateNotExist');
  });
});

describe('what goes wrong with cards, each with a switch', () => {
  it('refuses or ignores a second card of the same id, and never changes the first', async () => {
    await create();
    const again = { cardData: { cardParamMap: { title: 'Other' } } };
    expect((await create(again)).body.code).toBe('param.cardAlreadyExist');
    simulator.control.setFaults({ cardRepeat: 'accepted' });
    expect((await create(again)).body).toMatchObject({ success: true });
    expect(paramsOf()).toEqual({ title: 'Deploy?', status: 'pending' });
    expect(await simulator.control.messages()).toHaveLength(1);
  });

  it('fails a delivery inside a success', async () => {
    simulator.control.setFaults({ cardDeliveryFails: ['cidOps=='] });
    expect((await create()).body).toMatchObject({ success: true, result: { deliverResults: [{ success: false }] } });
    expect((await create({ ...single, outTrackId: 'apr-2' })).body).toMatchObject({
      result: { deliverResults: [{ success: true }] },
    });
    const stranger = { ...group, openSpaceId: 'dtv1.card//IM_GROUP.cidOther==', outTrackId: 'apr-3' };
    expect((await create(stranger)).body).toMatchObject({ result: { deliverResults: [{ success: false }] } });
    expect(simulator.control.cards()).toHaveLength(3);
    expect(await simulator.control.messages()).toHaveLength(1);
  });

  it('shows a card that is delivered again once more, or not', async () => {
    await create();
    const deliver = (): ReturnType<typeof call> => send('POST', 'instances/deliver', { outTrackId: 'apr-1', ...group });
    await deliver();
    expect(await simulator.control.messages()).toHaveLength(2);
    simulator.control.setFaults({ cardRedelivery: 'ignored' });
    expect((await deliver()).body).toMatchObject({ result: [{ success: true }] });
    expect(await simulator.control.messages()).toHaveLength(2);
    expect(simulator.control.cards()).toHaveLength(1);
  });

  it('wipes what an update does not name, unless it is by key or switched so', async () => {
    await create();
    const status = { cardData: { cardParamMap: { status: 'approved' } } };
    await update({ ...status, cardUpdateOptions: { updateCardDataByKey: true } });
    expect(paramsOf()).toEqual({ title: 'Deploy?', status: 'approved' });
    await update(status);
    expect(paramsOf()).toEqual({ status: 'approved' });
    simulator.control.setFaults({ cardUpdateDefault: 'byKey' });
    await update({ cardData: { cardParamMap: { title: 'Again' } } });
    expect(paramsOf()).toEqual({ title: 'Again', status: 'approved' });
    expect((await update({ outTrackId: 'nope' })).body.code).toBe('param.cardNotExist');
    const versions = await simulator.control.cardVersions({ outTrackId: 'apr-1' });
    expect(versions.map(({ cause, params }) => [cause, params.status])).toEqual([
      ['created', 'pending'],
      ['updated', 'approved'],
      ['updated', 'approved'],
      ['updated', 'approved'],
    ]);
  });

  it('keeps values for single people apart, or forgets them', async () => {
    await create({ privateData: { li: { cardParamMap: { canAct: 'true' } } } });
    const own = { privateData: { li: { cardParamMap: { note: 'x' } } } };
    await update({ ...own, cardUpdateOptions: { updatePrivateDataByKey: true, updateCardDataByKey: true } });
    expect(simulator.control.cards()[0]).toMatchObject({
      params: { title: 'Deploy?', status: 'pending' },
      privateParams: { li: { canAct: 'true', note: 'x' } },
    });
    simulator.control.setFaults({ cardPrivateData: false });
    await create({ outTrackId: 'apr-2', privateData: { li: { cardParamMap: { canAct: 'true' } } } });
    expect(simulator.control.cards({ outTrackId: 'apr-2' })[0]?.privateParams).toEqual({});
  });

  it('drops a variable that is no text, when switched so', async () => {
    simulator.control.setFaults({ cardParams: 'drop' });
    await create({ cardData: { cardParamMap: { title: 'Deploy?', count: 3 } } });
    expect(paramsOf()).toEqual({ title: 'Deploy?' });
  });

  it('can lose the answer of a card that was created', async () => {
    const path = '/v1.0/card/instances/createAndDeliver';
    simulator.control.setFaults({ loseResponses: [{ path, mode: '504', times: 1 }] });
    expect((await create()).status).toBe(504);
    expect((await create()).body.code).toBe('param.cardAlreadyExist');
    expect(await simulator.control.messages()).toHaveLength(1);
  });
});

describe('a click', () => {
  const click = { outTrackId: 'apr-1', staffId: 'li', actionIds: ['ok'], params: { action: 'approve' } };

  it('comes by the way the card was made for, and its answer changes the card for everybody and for the clicker', async () => {
    await create();
    const client = await connectStream(simulator.url);
    const options = { updateCardDataByKey: true, updatePrivateDataByKey: true };
    const response = {
      cardUpdateOptions: options,
      cardData: { cardParamMap: { status: 'received' } },
      userPrivateData: { cardParamMap: { note: 'thanks' } },
    };
    client.ack = () => ({ data: { response } });
    const { delivered } = await simulator.control.click(click);
    expect(delivered).toEqual([{ via: 'stream', outcome: 'acked' }]);
    expect(JSON.parse(client.frames[0]?.data ?? '{}')).toMatchObject({
      ...{ outTrackId: 'apr-1', userId: 'li', corpId: 'ding9733', spaceId: 'cidOps==' },
    });
    expect(simulator.control.cards()[0]).toMatchObject({
      params: { title: 'Deploy?', status: 'received' },
      privateParams: { li: { note: 'thanks' } },
    });
    expect(await simulator.control.cardVersions({ cause: 'answer' })).toHaveLength(1);
  });

  it('of an HTTP card goes to the address that was registered for its route key, signed with that secret', async () => {
    const receiver = await createReceiver();
    const route = { callbackRouteKey: 'ops', callbackUrl: `${receiver.url}/cards`, apiSecret: 's', forceUpdate: true };
    expect((await send('POST', 'callbacks/register', route)).body).toMatchObject({ success: true });
    await create({ callbackType: 'HTTP', callbackRouteKey: 'ops' });
    const { delivered } = await simulator.control.click(click);
    expect(delivered).toEqual([{ via: 'http', outcome: 'acked', status: 200 }]);
    expect(receiver.received).toMatchObject([{ url: '/cards', body: { outTrackId: 'apr-1' } }]);
    expect(receiver.received[0]?.headers['x-ddpaas-signature']).toBeDefined();
    await receiver.close();
  });

  it('of a card without a callback type reaches nobody', async () => {
    await create({ callbackType: undefined });
    await connectStream(simulator.url);
    expect((await simulator.control.click(click)).delivered).toEqual([{ via: 'stream', outcome: 'no-door' }]);
  });

  it('is refused for a card that is not there or not seen, unless it is forged', async () => {
    await expect(simulator.control.click(click)).rejects.toThrow('no card apr-1');
    await create(single);
    await expect(simulator.control.click(click)).rejects.toThrow('li does not see card apr-1');
    const seen = { ...click, staffId: 'wang' };
    await expect(simulator.control.click({ ...seen, room: 'cidOps==' })).rejects.toThrow('wang does not see');
    await expect(simulator.control.click({ ...seen, robot: 'other' })).rejects.toThrow('is not one of other');
    const client = await connectStream(simulator.url);
    const { delivered } = await simulator.control.click({ ...click, forged: true, room: 'cidOps==' });
    expect(delivered).toEqual([{ via: 'stream', outcome: 'acked' }]);
    expect(JSON.parse(client.frames[0]?.data ?? '{}')).toMatchObject({ userId: 'li', spaceId: 'cidOps==' });
  });

  it('and cards are seen over HTTP as in process', async () => {
    await create();
    const get = async (verb: string): Promise<Record<string, unknown>> =>
      (await call(`${simulator.url}/control/${verb}`, 'GET')).body;
    expect((await get('cards?staffId=li')).cards).toMatchObject([{ outTrackId: 'apr-1' }]);
    expect((await get('cards?conversationId=cidX')).cards).toEqual([]);
    expect((await get('card-versions?outTrackId=apr-1&wait=1000')).versions).toHaveLength(1);
  });
});
