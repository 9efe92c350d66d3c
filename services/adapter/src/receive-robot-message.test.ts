import { describe, expect, it } from '@jest/globals';
import { newId, openText } from '@steward/service-kit';
import { inboundReceivedSchema, replyAddressContext, type InboundReceived } from '@steward/contracts';
import { receiveRobotMessage } from './receive-robot-message.ts';
import type { NewInbound } from './record-inbound.ts';
import { buildPayload, buildRobot, replyKeys, silentLog } from './testing.ts';

/** Receives a payload and returns what the recorder was given, its bus message checked against the contract. */
async function receive(over: Record<string, unknown>, robot = buildRobot()) {
  const taken: NewInbound[] = [];
  const recorder = {
    pending: () => 0,
    record: (inbound: NewInbound) => {
      taken.push(inbound);
      return Promise.resolve({ inboundEventId: inbound.id, duplicate: false });
    },
  };
  const context = { recorder, replyKeys, log: silentLog, now: () => new Date('2026-03-01T00:00:00Z') };
  const door = { door: 'stream' as const, transportId: 'frame-1', correlationId: newId() };
  await receiveRobotMessage(context, robot, buildPayload(over), door);
  const [inbound] = taken;
  if (inbound === undefined) throw new Error('nothing was recorded');
  const message: InboundReceived = inboundReceivedSchema.parse(inbound.message);
  return { inbound, message, body: message.body, door };
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

  it('refuses what is no message, and a message for another robot', async () => {
    await expect(receive({ msgId: undefined })).rejects.toMatchObject({ code: 'BODY_MALFORMED', retryable: false });
    await expect(receive({ msgId: 'x'.repeat(301) })).rejects.toMatchObject({ code: 'BODY_MALFORMED' });
    await expect(receive({ robotCode: 'dingother' })).rejects.toMatchObject({ code: 'ROBOT_MISMATCH' });
  });
});
