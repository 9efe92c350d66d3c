import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { FaultsPatch } from './faults.ts';
import { buildSign } from './signatures.ts';
import { createSimulator } from './simulator.ts';
import type { Simulator } from './simulator.ts';
import { allTopics, authorise, buildTestWorld, call, connectStream, openConnection, until } from './testing.ts';

/** The switches over numbers that the other tests meet only at their defaults. */
describe('numeric switches', () => {
  let simulator: Simulator;
  let nowMs = 1_760_000_000_000;
  beforeEach(async () => {
    simulator = await createSimulator({ world: buildTestWorld(), now: () => nowMs });
  });
  afterEach(() => simulator.close());
  const robotSend = async (query: string, content = 'x'): Promise<unknown> =>
    (await call(`${simulator.url}/robot/send?${query}`, 'POST', { msgtype: 'text', text: { content } })).body.errcode;
  const batchSend = async (userIds: string[], content = 'x'): Promise<unknown> => {
    const body = { robotCode: 'dingops', userIds, msgKey: 'sampleText', msgParam: JSON.stringify({ content }) };
    const headers = await authorise(simulator.url);
    return (await call(`${simulator.url}/v1.0/robot/oToMessages/batchSend`, 'POST', body, headers)).body.code ?? 'ok';
  };
  const signedSend = (): Promise<unknown> => {
    const timestamp = `${nowMs - 60_000}`;
    return robotSend(
      `access_token=signed&timestamp=${timestamp}&sign=${encodeURIComponent(buildSign(timestamp, 'SECabc'))}`,
    );
  };

  const cases: [string, FaultsPatch, () => Promise<unknown>, unknown, unknown][] = [
    ['webhookMaxBytes', { webhookMaxBytes: 60 }, () => robotSend('access_token=plain', 'x'.repeat(60)), 0, 460101],
    ['clockToleranceMs', { clockToleranceMs: 59_999 }, signedSend, 0, 310000],
    ['batchMaxUsers', { batchMaxUsers: 1 }, () => batchSend(['li', 'wang']), 'ok', 'invalidParameter.userIds.overMax'],
    [
      'msgParamMaxBytes',
      { msgParamMaxBytes: 14 },
      () => batchSend(['li'], 'xyz'),
      'ok',
      'invalidParameter.msgParam.tooLong',
    ],
  ];
  it.each(cases)('%s moves the limit', async (_, patch, attempt, before, after) => {
    expect(await attempt()).toBe(before);
    simulator.control.setFaults(patch);
    expect(await attempt()).toBe(after);
  });

  it('customRobotWindowMs and customRobotBlockMs move the custom robot limit', async () => {
    simulator.control.setFaults({ customRobotSends: 1, customRobotWindowMs: 10, customRobotBlockMs: 500 });
    expect(await robotSend('access_token=plain')).toBe(0);
    nowMs += 10;
    expect(await robotSend('access_token=plain')).toBe(0);
    expect(await robotSend('access_token=plain')).toBe(130101);
    nowMs += 500;
    expect(await robotSend('access_token=plain')).toBe(0);
  });

  it('qpsWindowMs and ipWindowMs move how long a call counts', async () => {
    simulator.control.setFaults({ qpsLimit: 1, qpsWindowMs: 60_000 });
    expect(await batchSend(['li'])).toBe('ok');
    nowMs += 59_999;
    expect(await batchSend(['li'])).toBe('Forbidden.AccessDenied.QpsLimitForAppkeyAndApi');
    nowMs += 1;
    expect(await batchSend(['li'])).toBe('ok');
    simulator.control.setFaults({ ipCallLimit: 1, ipWindowMs: 10 });
    nowMs += 10;
    expect(await robotSend('access_token=plain')).toBe(0);
    nowMs += 10;
    expect(await robotSend('access_token=plain')).toBe(0);
    expect(await robotSend('access_token=plain')).toBeUndefined();
  });

  it('ticketTtlMs ends a ticket earlier, and timeScale every lifetime', async () => {
    simulator.control.setFaults({ ticketTtlMs: 5 });
    const late = await openConnection(simulator.url);
    nowMs += 5;
    const refused = new Promise((resolve) => {
      const socket = new WebSocket(`${late.endpoint}?ticket=${late.ticket}`);
      socket.addEventListener('error', resolve);
    });
    await refused;
    expect(simulator.control.connections()).toEqual([]);
    simulator.control.setFaults({ ticketTtlMs: 90_000, timeScale: 0.001 });
    await connectStream(simulator.url, allTopics);
    expect(simulator.control.connections()).toHaveLength(1);
  });

  it('streamEventAckMs ends the wait for an event ack', async () => {
    simulator.control.setFaults({ streamEventAckMs: 30, streamEventRetryMs: [5] });
    const client = await connectStream(simulator.url);
    client.ack = () => undefined;
    const { delivered } = await simulator.control.event({ app: 'ops', eventType: 'user_leave_org' });
    expect(delivered).toEqual([{ via: 'stream', outcome: 'timeout' }]);
    const [push] = await simulator.control.sent();
    await until(() => push?.outcome === 'failed', 'the second attempt');
    expect(client.frames).toHaveLength(2);
  });
});
