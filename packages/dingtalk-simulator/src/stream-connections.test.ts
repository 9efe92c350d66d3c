import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { PushRecord } from './records.ts';
import { createSimulator } from './simulator.ts';
import type { Simulator } from './simulator.ts';
import { buildTestWorld, connectStream, until } from './testing.ts';

describe('a Stream connection', () => {
  let simulator: Simulator;
  beforeEach(async () => {
    simulator = await createSimulator({ world: buildTestWorld() });
  });
  afterEach(() => simulator.close());
  const say = (): ReturnType<Simulator['control']['say']> =>
    simulator.control.say({ robot: 'ops', room: 'ops-room', staffId: 'li', text: 'hi' });
  const settled = async (): Promise<PushRecord> => {
    const [push] = await simulator.control.sent({ since: 0 });
    await until(() => push?.outcome !== 'pending', 'the push to settle');
    return push!;
  };

  it('carries frames whose header values are texts and whose data is JSON in a text', async () => {
    const client = await connectStream(simulator.url);
    const { msgId } = await say();
    const [frame] = client.frames;
    expect(frame).toMatchObject({
      specVersion: '1.0',
      type: 'CALLBACK',
      headers: { topic: '/v1.0/im/bot/messages/get' },
    });
    expect(Object.values(frame!.headers).every((value) => typeof value === 'string')).toBe(true);
    expect(JSON.parse(frame!.data)).toMatchObject({ msgId, conversationType: '2', robotCode: 'dingops' });
  });

  it('redelivers an un-acked message once, with a new messageId and the same msgId', async () => {
    simulator.control.setFaults({ streamAckTimeoutMs: 50 });
    const client = await connectStream(simulator.url);
    client.ack = () => undefined;
    await say();
    expect((await settled()).outcome).toBe('failed');
    expect(client.frames).toHaveLength(2);
    expect(new Set(client.frames.map((frame) => frame.headers.messageId)).size).toBe(2);
    expect(client.frames[0]?.data).toBe(client.frames[1]?.data);
  });

  it('never redelivers when switched so', async () => {
    simulator.control.setFaults({ streamAckTimeoutMs: 50, streamRedelivery: 'never' });
    const client = await connectStream(simulator.url);
    client.ack = () => undefined;
    await say();
    expect((await settled()).attempts).toHaveLength(1);
    expect(client.frames).toHaveLength(1);
  });

  it('counts an ack with another code as refused and does not repeat', async () => {
    const client = await connectStream(simulator.url);
    client.ack = () => ({ code: 500 });
    expect((await say()).delivered).toEqual([{ via: 'stream', outcome: 'refused' }]);
    expect((await settled()).outcome).toBe('failed');
  });

  it('sends an event again on its schedule after LATER, until it is taken', async () => {
    simulator.control.setFaults({ streamEventRetryMs: [10, 20, 30] });
    const client = await connectStream(simulator.url);
    client.ack = () => ({ data: { status: client.frames.length < 3 ? 'LATER' : 'SUCCESS' } });
    await simulator.control.event({
      app: 'ops',
      eventType: 'bpms_instance_change',
      eventId: 'e1',
      payload: { type: 'finish' },
    });
    const push = await settled();
    expect(push.attempts.map((attempt) => attempt.outcome)).toEqual(['later', 'later', 'acked']);
    expect(client.frames.map((frame) => frame.headers.eventId)).toEqual(['e1', 'e1', 'e1']);
    expect(client.frames[0]).toMatchObject({
      type: 'EVENT',
      data: '{"type":"finish"}',
      headers: { eventCorpId: 'ding9733' },
    });
  });

  it('sends application pings and takes the echoed opaque', async () => {
    const client = await connectStream(simulator.url);
    simulator.control.setFaults({ pingIntervalMs: 20 });
    await until(() => client.frames.length > 0, 'a ping');
    expect(client.frames[0]).toMatchObject({ type: 'SYSTEM', headers: { topic: 'ping' } });
    expect(JSON.parse(client.frames[0]!.data)).toHaveProperty('opaque');
  });

  it('says disconnect, goes silent and closes TCP later', async () => {
    simulator.control.setFaults({ disconnectCloseMs: 300 });
    const client = await connectStream(simulator.url);
    expect(simulator.control.disconnect({ app: 'ops' })).toEqual({ disconnected: 1 });
    await until(() => client.frames.length === 1, 'the disconnect frame');
    expect(client.frames[0]).toMatchObject({
      ...{ type: 'SYSTEM', headers: { topic: 'disconnect' }, data: '{"reason":"persistent connection is timeout"}' },
    });
    expect((await say()).delivered).toEqual([{ via: 'stream', outcome: 'no-door' }]);
    expect(await client.closed).toBe(1006);
    expect(client.frames).toHaveLength(1);
  });

  it('as a zombie still answers WebSocket pings while frames get lost', async () => {
    simulator.control.setFaults({ streamAckTimeoutMs: 50 });
    const client = await connectStream(simulator.url);
    simulator.control.disconnect({ mode: 'zombie' });
    expect((await say()).delivered).toEqual([{ via: 'stream', outcome: 'swallowed' }]);
    client.socket.ping();
    await once(client.socket, 'pong');
    expect(client.frames).toEqual([]);
  });

  it('can end abruptly, on command or at a random time', async () => {
    const first = await connectStream(simulator.url);
    simulator.control.disconnect({ mode: 'abrupt' });
    expect(await first.closed).toBe(1006);
    simulator.control.setFaults({ disconnectAfterMs: [10, 30], disconnectMode: 'abrupt' });
    expect(await (await connectStream(simulator.url)).closed).toBe(1006);
  });

  it('redelivers to another connection what a broken one did not ack', async () => {
    simulator.control.setFaults({ streamAckTimeoutMs: 200 });
    const first = await connectStream(simulator.url);
    first.ack = () => {
      first.socket.terminate();
      return undefined;
    };
    expect((await say()).delivered).toEqual([{ via: 'stream', outcome: 'broken' }]);
    const second = await connectStream(simulator.url);
    expect((await settled()).attempts.map((attempt) => attempt.outcome)).toEqual(['broken', 'acked']);
    expect(second.frames).toHaveLength(1);
  });
});
