import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { buildDefaultFaults } from './faults.ts';
import { createSimulator } from './simulator.ts';
import type { Simulator } from './simulator.ts';
import { authorise, buildTestWorld, call, connectStream } from './testing.ts';

describe('the control API', () => {
  let simulator: Simulator;
  beforeEach(async () => {
    simulator = await createSimulator({ world: buildTestWorld() });
  });
  afterEach(() => simulator.close());
  const control = (method: string, verb: string, body?: unknown): ReturnType<typeof call> =>
    call(`${simulator.url}/control/${verb}`, method, body);
  const robotSend = (content: string): ReturnType<typeof call> =>
    call(`${simulator.url}/robot/send?access_token=plain`, 'POST', { msgtype: 'text', text: { content } });

  it('lists calls since a number, with secrets, and can wait for one', async () => {
    await robotSend('one');
    const { body } = await control('GET', 'calls?since=0');
    expect(body.calls).toMatchObject([
      {
        n: 1,
        method: 'POST',
        path: '/robot/send',
        query: { access_token: 'plain' },
        status: 200,
        outcome: 'ok',
        text: 'one',
      },
    ]);
    const waiting = control('GET', 'calls?since=1&wait=10000&path=/robot/send');
    await robotSend('two');
    expect((await waiting).body.calls).toMatchObject([{ n: 2, text: 'two', conversationId: 'cidOps==' }]);
    expect((await control('GET', 'calls?since=2&wait=1')).body.calls).toEqual([]);
  });

  it('says, clicks and pushes events over HTTP as in process', async () => {
    const client = await connectStream(simulator.url);
    const said = await control('POST', 'say', {
      robot: 'ops',
      room: 'cidOps==',
      staffId: 'li',
      text: 'hi',
      msgId: 'm1',
    });
    expect(said).toMatchObject({
      status: 200,
      body: { msgId: 'm1', delivered: [{ via: 'stream', outcome: 'acked' }] },
    });
    const click = await control('POST', 'click', {
      robot: 'ops',
      outTrackId: 'apr-1',
      staffId: 'li',
      actionIds: ['ok'],
      forged: true,
    });
    expect(click.body).toMatchObject({ delivered: [{ via: 'stream', outcome: 'acked' }], answer: { response: null } });
    const event = await control('POST', 'event', {
      app: 'dingops',
      eventType: 'user_leave_org',
      payload: { userId: ['li'] },
    });
    expect(event.body).toMatchObject({ eventId: expect.any(String), delivered: [{ via: 'stream', outcome: 'acked' }] });
    expect(client.frames).toHaveLength(3);
    expect((await control('GET', 'sent?kind=robot')).body.sent).toMatchObject([
      { kind: 'robot', key: 'm1', via: 'stream', outcome: 'acked', attempts: [{ outcome: 'acked' }] },
    ]);
    expect((await control('GET', 'messages')).body.messages).toMatchObject([
      { from: { kind: 'person', id: 'li' }, text: 'hi', msgId: 'm1', conversationId: 'cidOps==' },
    ]);
    expect((await control('GET', 'connections')).body.connections).toMatchObject([
      { appKey: 'dingops', state: 'open' },
    ]);
    expect((await control('POST', 'disconnect', { mode: 'abrupt' })).body).toEqual({ disconnected: 1 });
    await client.closed;
  });

  it('takes payload overrides and variants of what is said', async () => {
    const client = await connectStream(simulator.url);
    await control('POST', 'say', {
      robot: 'ops',
      staffId: 'li',
      variant: 'noSenderStaffId',
      payload: { senderNick: 'Mallory' },
    });
    const payload: unknown = JSON.parse(client.frames[0]?.data ?? '{}');
    expect(payload).toMatchObject({ senderNick: 'Mallory' });
    expect(payload).not.toHaveProperty('senderStaffId');
    simulator.control.setFaults({ payloadVariants: ['picture'] });
    await control('POST', 'say', { robot: 'ops', staffId: 'li' });
    expect(JSON.parse(client.frames[1]?.data ?? '{}')).toMatchObject({ msgtype: 'picture' });
  });

  it.each([
    ['PUT', 'faults', { noSuchSwitch: 1 }, 'noSuchSwitch'],
    ['PUT', 'faults', { dropRate: 2 }, 'dropRate'],
    ['PUT', 'faults', { failNext: [{ path: '/x', reply: 'made.up', times: 1 }] }, 'failNext'],
    ['PUT', 'world', { apps: [] }, 'no app has robot dingops'],
    ['PUT', 'world', { planets: [] }, 'planets'],
    ['POST', 'say', { robot: 'ops' }, 'needs a room or a staffId'],
    ['POST', 'say', { robot: 'nope', staffId: 'li' }, 'no app or robot nope'],
    ['POST', 'say', { robot: 'ops', staffId: 'nobody' }, 'nobody has staffId nobody'],
    ['POST', 'say', { robot: 'ops', room: 'other-room' }, 'ops is not in room other-room'],
    ['POST', 'click', { outTrackId: 'a', staffId: 'li', forged: true }, 'say which robot'],
    ['POST', 'say', 'not json', 'not a JSON object'],
  ])('refuses %s %s with %j', async (method, verb, body, reason) => {
    const answer = await control(method, verb, body);
    expect(answer.status).toBe(400);
    expect(answer.body.error).toContain(reason);
  });

  it('answers 404 for an unknown verb and keeps its own calls off the record', async () => {
    expect((await control('GET', 'nothing')).status).toBe(404);
    expect((await call(`${simulator.url}/healthz`, 'GET')).body).toEqual({ status: 'ok' });
    expect(await simulator.control.calls()).toEqual([]);
  });

  it('lays switches over those in force and goes back to the defaults on reset', async () => {
    await control('PUT', 'faults', { dropRate: 0.5 });
    await control('PUT', 'faults', { qpsLimit: null });
    expect((await control('GET', 'faults')).body).toEqual({ ...buildDefaultFaults(), dropRate: 0.5, qpsLimit: null });
    const token = await authorise(simulator.url);
    await robotSend('one');
    await control('POST', 'reset');
    expect((await control('GET', 'faults')).body).toEqual(buildDefaultFaults());
    expect(await simulator.control.calls()).toEqual([]);
    const stale = await call(`${simulator.url}/v1.0/robot/groupMessages/send`, 'POST', {}, token);
    expect(stale.body.code).toBe('InvalidAuthentication');
  });

  it('lets callback URLs be set after the start', async () => {
    const world = (await control('GET', 'world')).body;
    expect(world).toEqual(JSON.parse(JSON.stringify(buildTestWorld())));
    const { apps } = buildTestWorld({ robotUrl: 'http://127.0.0.1:1/robot' });
    await control('PUT', 'world', { apps });
    expect(simulator.control.world().apps[0]?.callback).toEqual({ robotUrl: 'http://127.0.0.1:1/robot' });
  });

  it('revokes tokens', async () => {
    await authorise(simulator.url);
    expect((await control('POST', 'revoke', {})).body).toEqual({ revoked: 1 });
  });

  it('keeps only the newest records', async () => {
    const small = await createSimulator({ world: buildTestWorld(), recordLimit: 10 });
    small.control.setFaults({ customRobotSends: null });
    const body = { msgtype: 'text', text: { content: 'x' } };
    for (let at = 0; at < 60; at += 1) await call(`${small.url}/robot/send?access_token=plain`, 'POST', body);
    const kept = await small.control.calls();
    expect(kept.length).toBeLessThan(30);
    expect(kept.at(-1)?.n).toBe(60);
    expect((await small.control.calls({ since: 58 })).map((row) => row.n)).toEqual([59, 60]);
    await small.close();
  });
});
