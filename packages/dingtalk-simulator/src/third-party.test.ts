import { createRequire } from 'node:module';
import https from 'node:https';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { DWClient } from 'dingtalk-stream';
import { createSimulator } from './simulator.ts';
import type { Simulator } from './simulator.ts';
import { buildTestWorld, until } from './testing.ts';

const robotTopic = '/v1.0/im/bot/messages/get';
const cardTopic = '/v1.0/card/instances/callback';

/** The shape of the untyped CommonJS package dingtalk-robot-sender, from its README. */
type Sender = {
  text(content: string, at?: object): Promise<{ data: unknown }>;
  markdown(title: string, text: string, at?: object): Promise<{ data: unknown }>;
};
type SenderClass = new (o: { baseUrl: string; accessToken: string; secret?: string }) => Sender;
const RobotSender = createRequire(import.meta.url)('dingtalk-robot-sender') as SenderClass;

/**
 * The Stream SDK has https://api.dingtalk.com written into it. Its HTTP client opens connections with Node's default
 * https agent; for the test that agent hands out a plain socket to the simulator instead. The package is untouched.
 */
class SimulatorAgent extends https.Agent {
  hosts: unknown[] = [];
  port: number;
  constructor(simulator: Simulator) {
    super();
    this.port = Number(new URL(simulator.url).port);
  }
  override createConnection(o: { host?: unknown }): Socket {
    this.hosts.push(o.host);
    return connect(this.port, '127.0.0.1');
  }
}

describe('clients written by others', () => {
  const usualAgent = https.globalAgent;
  let simulator: Simulator;
  beforeEach(async () => {
    simulator = await createSimulator({ world: buildTestWorld() });
    // The SDK prints its progress.
    jest.spyOn(console, 'info').mockImplementation(() => undefined);
  });
  afterEach(async () => {
    await simulator.close();
    https.globalAgent = usualAgent;
    jest.restoreAllMocks();
  });

  it('lets the official Stream SDK connect, receive and ack a robot message, and answer a card click', async () => {
    const agent = new SimulatorAgent(simulator);
    https.globalAgent = agent;
    const client = new DWClient({ clientId: 'dingops', clientSecret: 'this is a secret' });
    const robotFrames: { headers: { messageId: string }; data: string }[] = [];
    client.registerCallbackListener(robotTopic, (frame) => {
      robotFrames.push(frame);
      client.socketCallBackResponse(frame.headers.messageId, null);
    });
    client.registerCallbackListener(cardTopic, (frame) => {
      client.socketCallBackResponse(frame.headers.messageId, { cardData: { cardParamMap: { status: 'received' } } });
    });
    await client.connect();
    expect(agent.hosts).toEqual(['api.dingtalk.com']);
    await until(() => simulator.control.connections().length === 1, 'the SDK to be connected');

    const said = await simulator.control.say({ robot: 'ops', room: 'ops-room', staffId: 'li', text: 'hello' });
    expect(said.delivered).toEqual([{ via: 'stream', outcome: 'acked' }]);
    expect(JSON.parse(robotFrames[0]!.data)).toMatchObject({ msgId: said.msgId, text: { content: ' hello' } });

    const click = await simulator.control.click({
      robot: 'ops',
      outTrackId: 'apr-1',
      staffId: 'li',
      actionIds: ['ok'],
      forged: true,
    });
    expect(click.answer).toEqual({ response: { cardData: { cardParamMap: { status: 'received' } } } });

    const event = await simulator.control.event({
      app: 'ops',
      eventType: 'user_leave_org',
      payload: { userId: ['li'] },
    });
    expect(event.delivered).toEqual([{ via: 'stream', outcome: 'acked' }]);
    client.disconnect();
  });

  it('lets dingtalk-robot-sender send signed text and markdown, and refuses its wrong secret', async () => {
    const baseUrl = `${simulator.url}/robot/send`;
    const sender = new RobotSender({ baseUrl, accessToken: 'signed', secret: 'SECabc' });
    expect((await sender.text('disk full @li', { atUserIds: ['li'] })).data).toEqual({ errcode: 0, errmsg: 'ok' });
    expect((await sender.markdown('Alert', '### disk full')).data).toEqual({ errcode: 0, errmsg: 'ok' });
    const shown = await simulator.control.messages({ conversationId: 'cidOps==' });
    expect(shown.map(({ msgtype, text, mentions }) => ({ msgtype, text, mentions }))).toEqual([
      { msgtype: 'text', text: 'disk full @li', mentions: ['li'] },
      { msgtype: 'markdown', text: '### disk full', mentions: [] },
    ]);

    const stranger = new RobotSender({ baseUrl, accessToken: 'signed', secret: 'SECwrong' });
    expect((await stranger.text('x')).data).toEqual({ errcode: 310000, errmsg: 'sign not match' });
  });
});
