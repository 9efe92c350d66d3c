import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { AppError } from '@steward/service-kit';
import { createSimulator, type Simulator } from '@steward/dingtalk-simulator';
import { waitUntil } from '@steward/testkit';
import type { InboundRecorder } from './record-inbound.ts';
import { openStreamDoors, type StreamDoors } from './stream-doors.ts';
import { buildRobot, replyKeys, silentLog } from './testing.ts';

const robot = buildRobot({ doors: ['stream'] });
const recorded = { inboundEventId: 'id', duplicate: false };
let simulator: Simulator;
let doors: StreamDoors;
/** Why nothing can be recorded. */
let trouble: AppError | null;
let rejected: string[];

beforeEach(async () => {
  [trouble, rejected] = [null, []];
  simulator = await createSimulator({
    world: {
      corpId: 'corp-1',
      apps: [{ appKey: robot.appKey, appSecret: robot.appSecret, robotCode: robot.code, name: 'ops' }],
      customRobots: [],
      rooms: [{ conversationId: 'cid-1', title: 'ops', kind: 'group', robots: [robot.code], members: ['li'] }],
      people: [{ staffId: 'li', name: 'Li', unionId: 'u-li' }],
    },
  });
  const recorder: InboundRecorder = {
    record: () => (trouble === null ? Promise.resolve(recorded) : Promise.reject(trouble)),
    pending: () => 0,
  };
  doors = openStreamDoors({
    ...{ recorder, robots: [robot], apiUrl: simulator.url, log: silentLog, now: () => new Date() },
    replyKeys,
    clickNote: () => '',
    rejections: { count: (_: string, reason: string) => rejected.push(reason) } as never,
  });
  await waitUntil(() => Promise.resolve(Object.values(doors.checks()).every(({ ok }) => ok)), {
    timeoutMs: 10_000,
    what: 'a connection',
  });
});
afterEach(async () => {
  await doors.close();
  await simulator.close();
});

const say = async () => {
  const { delivered } = await simulator.control.say({
    robot: robot.code,
    room: 'cid-1',
    staffId: 'li',
    text: 'hello',
    via: 'stream',
  });
  return delivered[0]?.outcome;
};

describe('a frame', () => {
  it('is acknowledged when its event is recorded', async () => {
    expect(await say()).toBe('acked');
  });

  it('is not acknowledged when its event could not be recorded, and is counted', async () => {
    trouble = new AppError('DATABASE_AWAY', 'not now', { retryable: true });
    expect(await say()).not.toBe('acked');
    expect(rejected).not.toEqual([]);
  });

  it('that can never be taken is acknowledged and counted', async () => {
    trouble = new AppError('BODY_MALFORMED', 'never', { retryable: false });
    expect(await say()).toBe('acked');
    expect(rejected).toHaveLength(1);
  });
});

describe('one of two connections that falls', () => {
  it('leaves the robot heard all the while', async () => {
    await waitUntil(() => Promise.resolve(simulator.control.connections().length === 2), {
      timeoutMs: 10_000,
      what: 'both connections',
    });
    // The platform counts a connection a moment before this side does.
    await new Promise((resolve) => setTimeout(resolve, 200));
    const connectionId = simulator.control.connections()[0]?.connectionId;
    let deafMoments = 0;
    simulator.control.disconnect({ connectionId, mode: 'abrupt' });
    const until = Date.now() + 500;
    while (Date.now() < until) {
      if (!doors.links.every((link) => link.status().connected)) deafMoments += 1;
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(deafMoments).toBe(0);
    expect(simulator.control.connections().map((one) => one.connectionId)).not.toContain(connectionId);
  });
});
