import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { newId, openText } from '@steward/service-kit';
import { inboundReceivedSchema, replyAddressContext, type InboundReceived } from '@steward/contracts';
import { receiveRobotMessage } from './receive-robot-message.ts';
import type { NewInbound } from './record-inbound.ts';
import { buildPayload, buildRobot, replyKeys, silentLog } from './testing.ts';

/** Receives a payload and returns what the recorder was given. */
async function take(over: Record<string, unknown>, robot = buildRobot()) {
  const taken: NewInbound[] = [];
  const recorder = {
    pending: () => 0,
    record: (inbound: NewInbound) => {
      taken.push(inbound);
      return Promise.resolve({ inboundEventId: inbound.id, duplicate: false });
    },
  };
  const now = () => new Date('2026-03-01T00:00:00Z');
  const context = { recorder, replyKeys, log: silentLog, now, clickNote: () => 'received' };
  const door = { door: 'stream' as const, transportId: 'frame-1', correlationId: newId() };
  await receiveRobotMessage(context, robot, buildPayload(over), door);
  const [inbound] = taken;
  if (inbound === undefined) throw new Error('nothing was recorded');
  return { inbound, door };
}

/** The same, its bus message checked against the contract. */
async function receive(...given: Parameters<typeof take>) {
  const taken = await take(...given);
  const message: InboundReceived = inboundReceivedSchema.parse(taken.inbound.message);
  return { ...taken, message, body: message.body };
}

describe('a robot message on its way to the ledger', () => {
  it('keeps identity, place and correlation', async () => {
    const { inbound, message, door } = await receive({ msgId: 'msg-1' });
    expect(inbound).toMatchObject({
      kind: 'robot_message',
      source: 'dingtest',
      sourceId: 'msg-1',
      conversationId: 'cid-1',
      transportId: 'frame-1',
      correlationId: door.correlationId,
      staffId: 'staff-1',
    });
    expect(message.correlationId).toBe(door.correlationId);
    expect(message.causationId).toBe(inbound.id);
    expect(message.body).toMatchObject({
      environment: 'test',
      door: 'stream',
      conversation: { robotCode: 'dingtest', kind: 'group', title: 'ops room' },
      content: { kind: 'text' },
    });
  });

  it('records what the robot itself said, and tells nobody of it', async () => {
    const bot = '$:LWCP_v1:$bot';
    const { inbound } = await take({ msgId: 'msg-1', senderId: bot, chatbotUserId: bot });
    expect(inbound).toMatchObject({ sourceId: 'msg-1', conversationId: null, message: null, ignored: 'own_echo' });
    const person = await take({ senderId: '$:LWCP_v1:$someone', chatbotUserId: bot });
    expect(person.inbound.ignored).toBeUndefined();
    expect(person.inbound.message).not.toBeNull();
    for (const absent of [undefined, '', null])
      expect((await take({ senderId: absent, chatbotUserId: absent })).inbound.ignored).toBeUndefined();
  });

  it('trusts a staff id only inside the robot’s own organisation', async () => {
    expect((await receive({ senderCorpId: 'corp-1' })).body.requester.staffId).toBe('staff-1');
    const foreign = await receive({ senderCorpId: 'corp-2' });
    expect(foreign.body.requester).toMatchObject({ staffId: null, corpId: 'corp-2' });
    expect(foreign.inbound.staffId).toBeNull();
  });

  it('seals the session webhook for this robot and conversation only', async () => {
    const url = 'https://oapi.dingtalk.com/robot/sendBySession?session=c4nary-5ess1on';
    const { body, inbound } = await receive({ sessionWebhook: url });
    const sealed = body.replyAddress?.sealedUrl ?? '';
    expect(JSON.stringify(inbound)).not.toContain('c4nary');
    expect(openText(replyKeys, sealed, replyAddressContext('dingtest', 'cid-1'))).toBe(url);
    for (const context of [replyAddressContext('dingtest', 'cid-2'), replyAddressContext('dingother', 'cid-1'), ''])
      expect(() => openText(replyKeys, sealed, context)).toThrow('does not open');
  });

  it('knows the same message again in spite of a new session webhook, and another one by anything else', async () => {
    const at = 1_772_323_200_000;
    const hashOf = async (over: Record<string, unknown>) =>
      (await receive({ createAt: at, ...over })).inbound.bodyHashHex;
    const original = await hashOf({});
    expect(await hashOf({ sessionWebhook: 'https://oapi.dingtalk.com/robot/sendBySession?session=2' })).toBe(original);
    for (const over of [
      { text: { content: 'rm -rf' } },
      { createAt: at + 1 },
      { senderStaffId: 'staff-2' },
      { conversationId: 'cid-2' },
      { msgtype: 'audio', text: undefined },
    ])
      expect(await hashOf(over)).not.toBe(original);
    const pictureHash = (downloadCode: string) =>
      hashOf({ msgtype: 'picture', text: undefined, content: { downloadCode } });
    expect(await pictureHash('a')).toBe(await pictureHash('a'));
    expect(await pictureHash('a')).not.toBe(await pictureHash('b'));
  });

  it('passes the notice of an exhausted quota on as what it is', async () => {
    const { body } = await receive({
      text: undefined,
      msgtype: 'text',
      errorCode: '20001',
      errorMessage: '额度已用完',
    });
    expect(body.content).toEqual({ kind: 'quota_notice', text: '额度已用完' });
  });

  it.each([
    ['picture', { downloadCode: 'x' }],
    ['richText', { richText: [{ text: 'look' }, { type: 'picture', downloadCode: 'x' }] }],
    ['audio', { downloadCode: 'x', recognition: 'restart it' }],
    ['a type of tomorrow', {}],
  ])('makes a valid bus message of msgtype %s', async (msgtype, content) => {
    const { body } = await receive({ msgtype, text: undefined, content });
    expect(['text', 'unsupported']).toContain(body.content.kind);
  });

  it('makes a valid bus message of whatever it takes', async () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 20 }),
      fc
        .tuple(fc.constantFrom('a', '文', '😀', '\ud800', '\u0000'), fc.constantFrom(199, 300, 500, 2_000, 20_001))
        .map(([unit, times]) => unit.repeat(times)),
    );
    const value = fc.oneof(text, fc.jsonValue(), fc.constantFrom(0, -1, 253_402_300_799_999, 1e300, NaN));
    const keys = Object.keys({ ...buildPayload(), content: 1, errorCode: 1, errorMessage: 1, isInAtList: 1 }).filter(
      (key) => !['msgId', 'conversationId', 'conversationType', 'robotCode', 'sessionWebhook', 'text'].includes(key),
    );
    const odd = fc.record(
      {
        ...Object.fromEntries(keys.map((key) => [key, value])),
        sessionWebhook: value,
        text: fc.record({ content: value, repliedMsg: fc.record({ content: value }) }, { requiredKeys: [] }),
        msgtype: fc.oneof(value, fc.constantFrom('text', 'richText', 'audio')),
        errorCode: fc.constantFrom(undefined, '20001'),
      },
      { requiredKeys: [] },
    );
    await fc.assert(
      fc.asyncProperty(odd, async (over) => {
        await receive(over);
      }),
      { numRuns: 300 },
    );
  }, 30_000);

  it('goes on without a session webhook that is too long to travel', async () => {
    const { body } = await receive({ sessionWebhook: '文'.repeat(2_000) });
    expect(body.replyAddress).toBeNull();
    expect((await receive({ sessionWebhook: 'a'.repeat(2_000) })).body.replyAddress).not.toBeNull();
  });

  it('takes a message whose content is nested without end', async () => {
    const content: unknown = JSON.parse(`${'['.repeat(100_000)}${']'.repeat(100_000)}`);
    expect((await receive({ content })).body.content.kind).toBe('text');
  });

  it('refuses what is no message, and a message for another robot', async () => {
    await expect(receive({ msgId: undefined })).rejects.toMatchObject({ code: 'BODY_MALFORMED', retryable: false });
    await expect(receive({ msgId: 'x'.repeat(301) })).rejects.toMatchObject({ code: 'BODY_MALFORMED' });
    await expect(receive({ robotCode: 'dingother' })).rejects.toMatchObject({ code: 'ROBOT_MISMATCH' });
  });
});
