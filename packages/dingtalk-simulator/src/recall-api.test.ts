import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createSimulator } from './simulator.ts';
import type { Simulator } from './simulator.ts';
import { authorise, buildTestWorld, call } from './testing.ts';

describe('taking back what a robot said', () => {
  let simulator: Simulator;
  let headers: Record<string, string>;
  let nowMs = 1_760_000_000_000;
  beforeEach(async () => {
    simulator = await createSimulator({ world: buildTestWorld(), now: () => nowMs });
    headers = await authorise(simulator.url);
  });
  afterEach(() => simulator.close());
  const post = (path: string, body: unknown): ReturnType<typeof call> =>
    call(`${simulator.url}/v1.0/robot/${path}`, 'POST', body, headers);
  const text = { robotCode: 'dingops', msgKey: 'sampleText', msgParam: '{"content":"hi"}' };
  const sayGroup = async (): Promise<string> =>
    String((await post('groupMessages/send', { ...text, openConversationId: 'cidOps==' })).body.processQueryKey);
  const saySingle = async (): Promise<string> =>
    String((await post('oToMessages/batchSend', { ...text, userIds: ['li'] })).body.processQueryKey);
  const recallGroup = (processQueryKeys: string[], over: object = {}): ReturnType<typeof call> =>
    post('groupMessages/recall', {
      ...{ robotCode: 'dingops', openConversationId: 'cidOps==', processQueryKeys },
      ...over,
    });
  const recallSingle = (processQueryKeys: string[]): ReturnType<typeof call> =>
    post('otoMessages/batchRecall', { robotCode: 'dingops', processQueryKeys });

  it('marks the line, and the read status says so', async () => {
    const [group, single] = [await sayGroup(), await saySingle()];
    expect((await recallGroup([group])).body).toEqual({ successResult: [group], failedResult: {} });
    expect((await recallSingle([single])).body).toEqual({ successResult: [single], failedResult: {} });
    const lines = await simulator.control.messages();
    expect(lines.map(({ recalledAt }) => recalledAt)).toEqual([nowMs, nowMs]);
    const asked = { robotCode: 'dingops', openConversationId: 'cidOps==', processQueryKey: group };
    expect((await post('groupMessages/query', asked)).body.sendStatus).toBe('RECALLED');
    // Taking it back again changes nothing.
    expect((await recallGroup([group])).body).toMatchObject({ successResult: [group] });
  });

  it('lists what it cannot take back: unknown, of another place, older than 24 hours', async () => {
    const [group, single] = [await sayGroup(), await saySingle()];
    expect((await recallGroup([group, single, 'x'])).body).toEqual({
      successResult: [group],
      failedResult: { [single]: '%s', x: '%s' },
    });
    expect((await recallSingle([group])).body).toMatchObject({ successResult: [] });
    expect((await recallGroup([group], { openConversationId: 'cidOther==' })).body).toMatchObject({
      successResult: [],
    });
    nowMs += 86_400_000;
    headers = await authorise(simulator.url);
    expect((await recallSingle([single])).body).toMatchObject({ failedResult: { [single]: '%s' } });
  });

  it('refuses a robot of another app, no handle, more than 20, and everything when switched so', async () => {
    const group = await sayGroup();
    expect((await recallGroup([group], { robotCode: 'dingother' })).body.code).toBe('invalidParameter.robotCode.auth');
    expect((await recallGroup([])).body.code).toBe('miss.param.processQueryKey');
    expect((await recallGroup([group], { openConversationId: '' })).body.code).toBe('miss.openConversationId');
    expect((await recallSingle(Array.from({ length: 21 }, (_, n) => `k${n}`))).status).toBe(400);
    simulator.control.setFaults({ recallFails: true });
    expect((await recallGroup([group])).body).toMatchObject({ failedResult: { [group]: '%s' } });
    expect((await simulator.control.messages())[0]?.recalledAt).toBeUndefined();
  });
});
