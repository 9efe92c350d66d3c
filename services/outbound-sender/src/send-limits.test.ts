import { describe, expect, it } from '@jest/globals';
import { createSendLimits, type Sending } from './send-limits.ts';
import { buildSendConfig } from './testing.ts';

const config = buildSendConfig('ops', 'dba');
const limits = createSendLimits(config);
const group = (robotCode: string) => ({ kind: 'group' as const, robotCode, conversationId: 'cid-1' });
const openApi: Sending = { budget: 'robot dingops', path: 'group_openapi', target: group('dingops') };
const scopes = (sending: Sending) => limits.of(sending).map(({ scope }) => scope);

describe('the limits of a send', () => {
  it('by the OpenAPI: the robot, our address, the room, the API of the app by second and minute, the organisation', () => {
    expect(scopes(openApi)).toEqual([
      'robot dingops',
      'egress',
      'room dingops cid-1',
      'api group_openapi key-1',
      'api group_openapi key-1 minute',
      'organisation corp-1',
    ]);
  });

  it('have the rates of the configuration', () => {
    const rates = limits.of(openApi).map(({ spacingMs, burst }) => [spacingMs, burst]);
    // robot 600 and room 60 a minute, address 400 a second, API 18 a second and 1,000 a minute; an organisation can only be held.
    expect(rates).toEqual([
      [100, 2],
      [2.5, 20],
      [1_000, 10],
      [1_000 / 18, 2],
      [60, 100],
      [0, 2],
    ]);
  });

  it('by a webhook: no API, and a custom robot has its room in itself', () => {
    const conversation = { robotCode: 'dingops', conversationId: 'cid-1', kind: 'group' as const, title: null };
    const reply = { kind: 'reply' as const, conversation, staffId: 'staff-1', replyAddress: null };
    expect(scopes({ budget: 'robot dingops', path: 'session_webhook', target: reply })).toEqual([
      'robot dingops',
      'egress',
      'room dingops cid-1',
    ]);
    const custom: Sending = {
      budget: 'custom_robot alerts',
      path: 'custom_robot',
      target: { kind: 'custom_robot', robot: 'alerts' },
    };
    expect(scopes(custom)).toEqual(['custom_robot alerts', 'egress']);
  });

  it('of two robots of one app are the same where the platform counts the app', () => {
    const other: Sending = { budget: 'robot dingdba', path: 'group_openapi', target: group('dingdba') };
    const shared = scopes(openApi).filter((scope) => scopes(other).includes(scope));
    expect(shared).toEqual([
      'egress',
      'api group_openapi key-1',
      'api group_openapi key-1 minute',
      'organisation corp-1',
    ]);
  });

  it('stay below the platform’s in every sliding window: rate and burst together', () => {
    // As much as the configuration allows.
    const highest = { ...config, customRobots: config.customRobots.map((one) => ({ ...one, sendsPerMinute: 18 })) };
    highest.dingtalk = { ...config.dingtalk, limits: { ...config.dingtalk.limits, egressCallsPerSecond: 490 } };
    const most = (scope: string, windowMs: number, sending: Sending = openApi) => {
      const found = createSendLimits(highest)
        .of(sending)
        .find((limit) => limit.scope === scope);
      if (found === undefined) throw new Error(scope);
      return Math.floor(windowMs / found.spacingMs + 1e-9) + found.burst;
    };
    const custom: Sending = {
      budget: 'custom_robot alerts',
      path: 'custom_robot',
      target: { kind: 'custom_robot', robot: 'alerts' },
    };
    expect(most('custom_robot alerts', 60_000, custom)).toBeLessThanOrEqual(20);
    expect(most('api group_openapi key-1', 1_000)).toBeLessThanOrEqual(20);
    expect(most('egress', 20_000)).toBeLessThanOrEqual(10_000);
  });
});

describe('what is paused', () => {
  it.each([
    ['robot', 'robot dingops'],
    ['app', 'api group_openapi key-1'],
    ['platform', 'api group_openapi key-1'],
    ['organisation', 'organisation corp-1'],
    ['egress', 'egress'],
    ['content', null],
    ['target', null],
  ] as const)('by a refusal about the %s: %s', (scope, held) => {
    expect(limits.scopeToHold(scope, openApi)).toBe(held);
    expect(held === null || scopes(openApi).includes(held)).toBe(true);
  });

  it.each(['robot', 'app', 'platform', 'organisation', 'egress'] as const)(
    'for reasons of the %s is something that the same send is under',
    (scope) => {
      const conversation = { robotCode: 'dingops', conversationId: 'cid-1', kind: 'group' as const, title: null };
      const reply = { kind: 'reply' as const, conversation, staffId: 'staff-1', replyAddress: null };
      const sendings: Sending[] = [
        openApi,
        { budget: 'robot dingops', path: 'session_webhook', target: reply },
        { budget: 'custom_robot alerts', path: 'custom_robot', target: { kind: 'custom_robot', robot: 'alerts' } },
      ];
      for (const sending of sendings) expect(scopes(sending)).toContain(limits.scopeToHold(scope, sending));
    },
  );
});
