import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createSimulator } from './simulator.ts';
import type { Simulator } from './simulator.ts';
import { authorise, buildTestWorld, call } from './testing.ts';
import { singleChatId } from './world.ts';

describe('robot messages of the new API', () => {
  let simulator: Simulator;
  let headers: Record<string, string>;
  let nowMs = 1_760_000_000_000;
  beforeEach(async () => {
    simulator = await createSimulator({ world: buildTestWorld(), now: () => nowMs });
    headers = await authorise(simulator.url);
  });
  afterEach(() => simulator.close());
  const text = { robotCode: 'dingops', msgKey: 'sampleText', msgParam: '{"content":"hi"}' };
  const post = (path: string, body: unknown): ReturnType<typeof call> =>
    call(`${simulator.url}/v1.0/robot/${path}`, 'POST', body, headers);
  const batch = (body: object): ReturnType<typeof call> =>
    post('oToMessages/batchSend', { ...text, userIds: ['li'], ...body });
  const group = (body: object): ReturnType<typeof call> =>
    post('groupMessages/send', { ...text, openConversationId: 'cidOps==', ...body });

  it('delivers a batch in part and names unknown and throttled people', async () => {
    simulator.control.setFaults({ flowControlledStaffIds: ['wang'] });
    const answer = await batch({ userIds: ['li', 'wang', 'nobody'] });
    expect(answer).toMatchObject({
      ...{ status: 200, body: { invalidStaffIdList: ['nobody'], flowControlledStaffIdList: ['wang'] } },
    });
    const shown = await simulator.control.messages();
    expect(shown.map(({ staffId, text: said, conversationId }) => ({ staffId, said, conversationId }))).toEqual([
      { staffId: 'li', said: 'hi', conversationId: singleChatId(buildTestWorld(), 'dingops', 'li') },
    ]);
    const [sent] = await simulator.control.calls({ path: '/v1.0/robot/oToMessages/batchSend' });
    expect(sent).toMatchObject({ outcome: 'ok', robot: 'dingops', staffIds: ['li'], text: 'hi', status: 200 });
  });

  it('takes at most 20 people', async () => {
    const many = Array.from({ length: 21 }, (_, at) => `u${at}`);
    expect((await batch({ userIds: many })).body.code).toBe('invalidParameter.userIds.overMax');
    expect((await batch({ userIds: many.slice(1) })).status).toBe(200);
    expect((await batch({ userIds: [] })).body.code).toBe('invalidParameter.userIds.empty');
  });

  it('takes msgParam up to 15000 bytes, counted in UTF-8', async () => {
    const param = (bytes: number): string => {
      const frame = Buffer.byteLength('{"content":"盘"}') - 3;
      const chinese = Math.floor((bytes - frame) / 3);
      return JSON.stringify({ content: '盘'.repeat(chinese) + 'x'.repeat(bytes - frame - 3 * chinese) });
    };
    expect(Buffer.byteLength(param(15_000))).toBe(15_000);
    expect((await group({ msgParam: param(15_000) })).status).toBe(200);
    expect((await group({ msgParam: param(15_001) })).body.code).toBe('invalidParameter.msgParam.tooLong');
    expect((await batch({ msgParam: param(15_001) })).body.code).toBe('invalidParameter.msgParam.tooLong');
  });

  it.each([
    ['an object as msgParam', { msgParam: { content: 'hi' } }, 'invalidParameter.msgParam.invalid'],
    ['msgParam that is not JSON', { msgParam: 'hi' }, 'invalidParameter.msgParam.invalid'],
    ['a template without its fields', { msgKey: 'sampleMarkdown' }, 'invalidParameter.msgParam.invalid'],
    ['an unknown template', { msgKey: 'sampleX' }, 'invalidParameter.msgKey.invalid'],
    ['no robot', { robotCode: '' }, 'invalidParameter.robotCode.empty'],
    ['an unknown robot', { robotCode: 'nope' }, 'invalidParameter.robotCode.notExsit'],
    ["another app's robot", { robotCode: 'dingother' }, 'invalidParameter.robotCode.auth'],
    ['no conversation', { openConversationId: '' }, 'miss.openConversationId'],
    ['an unknown conversation', { openConversationId: 'cidX' }, 'invalid.openConversationId'],
    ['a group the robot is not in', { openConversationId: 'cidOther==' }, 'invalid.openConversationId'],
  ])('refuses %s', async (_, body, code) => {
    const answer = await group(body);
    expect({ status: answer.status, code: answer.body.code }).toEqual({ status: 400, code });
    expect(await simulator.control.messages()).toEqual([]);
  });

  it('shows a group message and answers who has read it, page by page', async () => {
    const { body } = await group({ msgKey: 'sampleMarkdown', msgParam: '{"title":"t","text":"**hi**"}' });
    expect(await simulator.control.messages({ from: 'robot' })).toMatchObject([
      { conversationId: 'cidOps==', text: '**hi**', msgtype: 'sampleMarkdown', via: 'groupSend' },
    ]);
    const asked = { robotCode: 'dingops', openConversationId: 'cidOps==', processQueryKey: body.processQueryKey };
    expect((await post('groupMessages/query', asked)).body).toMatchObject({ sendStatus: 'SUCCESS', readUserIds: [] });
    simulator.control.setFaults({ messagesRead: true });
    const first = await post('groupMessages/query', { ...asked, maxResults: 1 });
    expect(first.body).toMatchObject({ readUserIds: ['li'], hasMore: true });
    const second = await post('groupMessages/query', { ...asked, maxResults: 1, nextToken: first.body.nextToken });
    expect(second.body).toMatchObject({ readUserIds: ['wang'], hasMore: false });
    expect((await post('groupMessages/query', { ...asked, processQueryKey: 'x' })).body.code).toBe(
      'resource.not.found',
    );
  });

  it('answers the read status of a single chat message for 24 hours', async () => {
    const { body } = await batch({});
    const query = new URLSearchParams({
      robotCode: 'dingops',
      processQueryKey: String(body.processQueryKey),
    }).toString();
    const read = (): ReturnType<typeof call> =>
      call(`${simulator.url}/v1.0/robot/oToMessages/readStatus?${query}`, 'GET', undefined, headers);
    expect((await read()).body).toEqual({
      sendStatus: 'SUCCESS',
      messageReadInfoList: [{ name: 'Li', userId: 'li', readStatus: 'UNREAD' }],
    });
    nowMs += 86_400_000;
    headers = await authorise(simulator.url);
    expect((await read()).status).toBe(400);
  });

  it('allows 20 calls a second for each app and path, and does not charge refused calls to the month', async () => {
    simulator.control.setFaults({ qpsLimit: 2, monthlyApiCalls: 4 });
    const codes = async (times: number): Promise<unknown[]> => {
      const answers = [];
      for (let at = 0; at < times; at += 1) answers.push((await batch({})).body.code ?? 'ok');
      return answers;
    };
    expect(await codes(3)).toEqual(['ok', 'ok', 'Forbidden.AccessDenied.QpsLimitForAppkeyAndApi']);
    expect((await group({})).status).toBe(200);
    nowMs += 1_000;
    expect(await codes(2)).toEqual(['ok', 'Forbidden.AccessDenied.ApiCountLimitForOrg']);
    simulator.control.setFaults({ qpsLimit: null, monthlyApiCalls: null });
    expect(await codes(25)).toEqual(Array.from({ length: 25 }, () => 'ok'));
  });
});
