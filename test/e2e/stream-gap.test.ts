import { readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { waitUntil } from '@steward/testkit';
import { newQuestion, startStack, type Stack } from './harness.ts';
import { codeOf, people, roomOf, unknownRoom } from './stack-config.ts';

jest.setTimeout(180_000);

const opening = '/v1.0/gateway/connections/open';

describe('the Stream link of a robot falls', () => {
  let stack: Stack;
  beforeAll(async () => {
    stack = await startStack();
    // As an operator would: a shorter threshold than the 15 s that ship, and a restart.
    const { configPath } = stack.config;
    writeFileSync(
      configPath,
      readFileSync(configPath, 'utf8').replace(/^dingtalk:$/m, 'dingtalk:\n  linkNoticeAfterSeconds: 1'),
    );
    await stack.adapters[0]?.kill('SIGTERM');
    await stack.adapters[0]?.start();
  });
  afterAll(() => stack.stop());

  const connections = () =>
    stack.simulator.control.connections().filter(({ appKey }) => appKey === `key-${codeOf('stream')}`);
  const haveLink = () =>
    waitUntil(() => connections().length === 2, { timeoutMs: 90_000, what: 'both connections of the robot' });
  const gaps = () =>
    stack.sql<{ is_covered: boolean; is_told: boolean }>(
      'select is_covered, is_told from adapter.stream_gap where robot_code = $1 order by to_at',
      [codeOf('stream')],
    );

  it('with one connection of the two: everything goes on, and nobody hears of it', async () => {
    await haveLink();
    const [one] = connections();
    stack.simulator.control.disconnect({ connectionId: one?.connectionId, mode: 'abrupt' });
    const text = newQuestion();
    await stack.say({ robot: 'stream', room: roomOf('stream'), staffId: people.li, text });
    expect(await stack.waitForAnswers({ contains: text })).toHaveLength(1);
    await haveLink();
    expect(await gaps()).toEqual([]);
  });

  it('wholly: the room that was talking is told once, with the times, and an idle one is not', async () => {
    const since = await stack.lastLine();
    // For some seconds, however often it is tried: a link that is back within one leaves no gap.
    stack.simulator.control.setFaults({
      failNext: [{ path: opening, reply: 'Forbidden.AccessDenied.QpsLimitForApi', times: 1_000 }],
    });
    stack.simulator.control.disconnect({ app: `key-${codeOf('stream')}`, mode: 'abrupt' });
    await delay(4_000);
    stack.simulator.control.setFaults({ failNext: [] });
    await waitUntil(async () => (await gaps()).length === 1, { timeoutMs: 120_000, what: 'the gap' });
    expect(await gaps()).toEqual([{ is_covered: false, is_told: true }]);
    const [notice] = await stack.waitForAnswers({ since, contains: 'My link to DingTalk was down from' });
    expect(notice).toMatchObject({ conversationId: roomOf('stream') });
    expect(notice?.text).toMatch(/from \d{4}-\d\d-\d\d \d\d:\d\d:\d\d Asia\/Shanghai to .* please repeat it\.$/);
    await stack.waitUntilQuiet();
    const heard = await stack.waitForAnswers({ since, contains: 'My link to DingTalk' });
    expect(heard.map(({ conversationId }) => conversationId)).toEqual([roomOf('stream')]);
    expect(heard.map(({ conversationId }) => conversationId)).not.toContain(unknownRoom);
    expect(await stack.sql('select count(*)::int as count from adapter.outbox')).toEqual([{ count: 0 }]);
    const text = newQuestion();
    await haveLink();
    await stack.say({ robot: 'stream', room: roomOf('stream'), staffId: people.li, text });
    expect(await stack.waitForAnswers({ contains: text })).toHaveLength(1);
  });
});
