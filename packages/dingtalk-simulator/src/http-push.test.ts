import { createHmac } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { PushRecord } from './records.ts';
import { createSimulator } from './simulator.ts';
import type { Simulator } from './simulator.ts';
import { buildTestWorld, createReceiver, until } from './testing.ts';
import type { Receiver } from './testing.ts';

const secret = 'this is a secret';
/** The receiver's side of the signature, written from the official page and not from the simulator's code. */
const expectedSign = (timestamp: unknown): string =>
  createHmac('sha256', secret)
    .update(`${String(timestamp)}\n${secret}`)
    .digest('base64');

describe('HTTP callbacks', () => {
  let simulator: Simulator;
  let receiver: Receiver;
  beforeEach(async () => {
    receiver = await createReceiver();
    const callback = { robotUrl: `${receiver.url}/robot`, cardUrl: `${receiver.url}/card`, cardSecret: 'my-secret' };
    simulator = await createSimulator({ world: buildTestWorld(callback) });
    simulator.control.setFaults({ robotRetryMs: [10, 20] });
  });
  afterEach(async () => {
    await simulator.close();
    await receiver.close();
  });
  const say = (o: object = {}): ReturnType<Simulator['control']['say']> =>
    simulator.control.say({ robot: 'ops', room: 'ops-room', staffId: 'li', text: 'deploy prod', ...o });
  const settled = async (): Promise<PushRecord> => {
    const push = (await simulator.control.sent()).at(-1)!;
    await until(() => push.outcome !== 'pending', 'the push to settle');
    return push;
  };

  it('carries a signed robot message with everything a receiver needs', async () => {
    const { msgId, delivered } = await say();
    expect(delivered).toEqual([{ via: 'http', outcome: 'acked', status: 200 }]);
    const [{ headers, body }] = receiver.received as [Receiver['received'][number]];
    expect(headers.sign).toBe(expectedSign(headers.timestamp));
    expect(headers['content-type']).toBe('application/json; charset=utf-8');
    expect(body).toMatchObject({
      ...{
        msgId,
        msgtype: 'text',
        text: { content: ' deploy prod' },
        conversationType: '2',
        conversationId: 'cidOps==',
      },
      ...{
        conversationTitle: 'ops-room',
        senderStaffId: 'li',
        senderNick: 'Li',
        senderCorpId: 'ding9733',
        isAdmin: false,
      },
      ...{ robotCode: 'dingops', isInAtList: true, atUsers: [{ dingtalkId: body.chatbotUserId }] },
    });
  });

  it('leaves group fields out of a 1:1 chat', async () => {
    await say({ room: undefined, staffId: 'wang' });
    const body = receiver.received[0]?.body;
    expect(body).toMatchObject({ conversationType: '1', text: { content: 'deploy prod' }, isAdmin: true });
    for (const name of ['conversationTitle', 'isInAtList', 'atUsers']) expect(body).not.toHaveProperty(name);
  });

  it('repeats a failed push with the same msgId and fresh headers, then gives up', async () => {
    receiver.answers = [{ status: 500 }, { status: 302, headers: { location: '/elsewhere' } }, { status: 503 }];
    await say();
    const push = await settled();
    expect(push.attempts.map(({ outcome, status }) => [outcome, status])).toEqual([
      ...[
        ['refused', 500],
        ['refused', 302],
        ['refused', 503],
      ],
    ]);
    expect(push.outcome).toBe('failed');
    expect(new Set(receiver.received.map(({ body }) => body.msgId)).size).toBe(1);
  });

  it('stops repeating once it is acknowledged', async () => {
    receiver.answers = [{ status: 500 }];
    await say();
    expect((await settled()).attempts.map((attempt) => attempt.outcome)).toEqual(['refused', 'acked']);
  });

  it('gives up waiting for an answer after the push timeout', async () => {
    simulator.control.setFaults({ robotPushTimeoutMs: 100, robotRetryMs: [] });
    receiver.answers = ['hang'];
    expect((await say()).delivered).toEqual([{ via: 'http', outcome: 'timeout' }]);
  });

  it('reports a receiver that is not there', async () => {
    const { apps } = buildTestWorld({ robotUrl: 'http://127.0.0.1:9/' });
    simulator.control.setWorld({ apps });
    simulator.control.setFaults({ robotRetryMs: [] });
    expect((await say()).delivered).toEqual([{ via: 'http', outcome: 'broken' }]);
    expect((await say({ room: 'other-room', robot: 'other', via: 'http' })).delivered[0]?.outcome).toBe('no-door');
  });

  it('can push the same message several times at once', async () => {
    const { delivered } = await say({ times: 3 });
    expect(delivered).toHaveLength(3);
    expect(new Set(receiver.received.map(({ body }) => body.msgId)).size).toBe(1);
    expect(await simulator.control.messages({ from: 'person' })).toHaveLength(1);
  });

  it('can repeat although acknowledged, and drop without trace', async () => {
    simulator.control.setFaults({ duplicateRate: 1, duplicateDelayMs: 5 });
    await say();
    await until(() => receiver.received.length === 2, 'the duplicate');
    simulator.control.setFaults({ duplicateRate: 0, dropRate: 1 });
    expect((await say()).delivered).toEqual([{ via: 'http', outcome: 'dropped' }]);
    expect(receiver.received).toHaveLength(2);
    expect((await simulator.control.sent()).map((push) => push.outcome)).toEqual(['acked', 'dropped']);
  });

  it('can let the next message overtake one', async () => {
    simulator.control.setFaults({ reorderRate: 1, reorderHoldMs: 60_000 });
    const held = say({ text: 'first' });
    simulator.control.setFaults({ reorderRate: 0 });
    await say({ text: 'second' });
    await held;
    expect(receiver.received.map(({ body }) => body.text)).toEqual([{ content: ' second' }, { content: ' first' }]);
  });

  it.each(['bad', 'old', 'missing'] as const)('can send %s signature headers', async (fault) => {
    simulator.control.setFaults({ robotSignature: fault });
    await say();
    const { timestamp, sign } = receiver.received[0]?.headers ?? {};
    const isRecent = Math.abs(Date.now() - Number(timestamp)) < 3_600_000;
    const seen = { timestamp: typeof timestamp, isRecent, isValid: sign === expectedSign(timestamp) };
    const expected = {
      bad: { timestamp: 'string', isRecent: true, isValid: false },
      old: { timestamp: 'string', isRecent: false, isValid: true },
      missing: { timestamp: 'undefined', isRecent: false, isValid: false },
    };
    expect(seen).toEqual(expected[fault]);
  });

  it('can replay the headers of the push before with another body', async () => {
    await say();
    simulator.control.setFaults({ robotSignature: 'replayed' });
    await say({ text: 'other' });
    const [first, second] = receiver.received;
    expect(second?.headers.sign).toBe(first?.headers.sign);
    expect(second?.headers.timestamp).toBe(first?.headers.timestamp);
    expect(second?.body.msgId).not.toBe(first?.body.msgId);
  });

  it('carries a signed card click and hands back the answer', async () => {
    const answer = { cardData: { cardParamMap: { status: 'received' } } };
    receiver.answers = [{ status: 200, body: answer }];
    const click = {
      outTrackId: 'apr-1',
      staffId: 'li',
      actionIds: ['btn_ok'],
      params: { action: 'accept' },
      robot: 'ops',
      forged: true,
    };
    expect(await simulator.control.click(click)).toEqual({
      answer,
      delivered: [{ via: 'http', outcome: 'acked', status: 200 }],
    });
    const [{ headers, body }] = receiver.received as [Receiver['received'][number]];
    const timestamp = String(headers['x-ddpaas-signature-timestamp']);
    expect(headers['x-ddpaas-signature']).toBe(createHmac('sha256', 'my-secret').update(timestamp).digest('base64'));
    expect(body).toMatchObject({ type: 'actionCallback', outTrackId: 'apr-1', corpId: 'ding9733', userId: 'li' });
    expect(JSON.parse(String(body.content))).toEqual({
      cardPrivateData: { actionIds: ['btn_ok'], params: { action: 'accept' } },
    });
  });

  it('limits a card answer in time, signs clicks badly on demand, and repeats them only when switched so', async () => {
    simulator.control.setFaults({ cardPushTimeoutMs: 100, cardSignature: 'bad' });
    receiver.answers = ['hang'];
    const click = { outTrackId: 'apr-1', staffId: 'li', robot: 'ops', forged: true };
    expect((await simulator.control.click(click)).delivered).toEqual([{ via: 'http', outcome: 'timeout' }]);
    const timestamp = String(receiver.received[0]?.headers['x-ddpaas-signature-timestamp']);
    expect(receiver.received[0]?.headers['x-ddpaas-signature']).not.toBe(
      createHmac('sha256', 'my-secret').update(timestamp).digest('base64'),
    );
    simulator.control.setFaults({ cardPushTimeoutMs: 2_000, cardRetryMs: [5] });
    receiver.answers = [{ status: 500 }];
    await simulator.control.click(click);
    expect((await settled()).attempts.map((attempt) => attempt.outcome)).toEqual(['refused', 'acked']);
  });

  it('turns messages into the over-quota notice once the month is used up', async () => {
    simulator.control.setFaults({ monthlyPushes: 1 });
    await say();
    await say();
    expect(receiver.received[0]?.body).toHaveProperty('text');
    expect(receiver.received[1]?.body).toMatchObject({ errorCode: 20001 });
    expect(receiver.received[1]?.body).not.toHaveProperty('text');
    const event = await simulator.control.event({ app: 'ops', eventType: 'user_leave_org' });
    expect(event.delivered[0]?.outcome).toBe('dropped');
  });
});
