import { randomUUID } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { waitUntil } from '@steward/testkit';
import { parse, stringify } from 'yaml';
import { startStack, type Stack } from './harness.ts';
import { roomOf } from './stack-config.ts';

jest.setTimeout(240_000);

const messages = 24;
const windowMs = 60_000;

/** Four processes send by one custom robot, which the platform blocks for ten minutes after the 21st message in a minute. */
describe('the limits of sending, four senders at once', () => {
  let stack: Stack;
  beforeAll(async () => {
    stack = await startStack({ outboundSenders: 4 });
    const { configPath, secretsDir } = stack.config;
    writeFileSync(path.join(secretsDir, 'alerts.token'), 'e2e-alerts-token\n', { mode: 0o600 });
    const config = parse(readFileSync(configPath, 'utf8')) as Record<string, unknown>;
    const customRobots = [{ name: 'alerts', environment: 'test', accessTokenFile: 'alerts.token' }];
    writeFileSync(configPath, stringify({ ...config, customRobots }));
    stack.simulator.control.setWorld({
      customRobots: [{ accessToken: 'e2e-alerts-token', conversationId: roomOf('http') }],
    });
    for (const sender of stack.outboundSenders) {
      await sender.kill('SIGTERM');
      await sender.start();
    }
  });
  afterAll(() => stack.stop());

  it('never admit what the platform would refuse, in any minute, and lose nothing', async () => {
    // As agent-core would tell them, all at once.
    await stack.sql(
      `insert into agent_core.outbox (id, type, subject_id, message, needs_receipt)
       select r.id, 'outbound.requested.v1', r.subject_id, r.message, true
       from jsonb_to_recordset($1::jsonb) as r (id uuid, subject_id uuid, message jsonb)`,
      [JSON.stringify(Array.from({ length: messages }, (_, number) => request(number)))],
    );
    const calls = async () => stack.simulator.control.calls({ path: '/robot/send' });
    await waitUntil(async () => (await calls()).length >= messages, {
      timeoutMs: 200_000,
      what: 'all messages to be sent',
    });
    await stack.waitUntilQuiet();
    const sent = await calls();
    expect(sent.map(({ outcome }) => outcome)).toEqual(Array.from({ length: messages }, () => 'ok'));
    const times = sent.map(({ at }) => at).sort((a, b) => a - b);
    const most = Math.max(...times.map((from) => times.filter((at) => at >= from && at < from + windowMs).length));
    expect(most).toBeLessThanOrEqual(20);
    const spanMs = (times.at(-1) ?? 0) - (times[0] ?? 0);
    const use = ((messages - 1) * (windowMs / 18)) / spanMs;
    expect(use).toBeGreaterThanOrEqual(0.95);
    process.stdout.write(`custom robot: at most ${most} in a minute, ${(use * 100).toFixed(1)} % of the budget used\n`);
  });
});

function request(number: number) {
  const subject_id = randomUUID();
  const envelope = {
    id: randomUUID(),
    correlationId: randomUUID(),
    causationId: randomUUID(),
    occurredAt: new Date().toISOString(),
  };
  const body = {
    ...{ outboundMessageId: subject_id, afterOutboundMessageId: null, environment: 'test', lane: 'bulk' },
    target: { kind: 'custom_robot', robot: 'alerts' },
    content: { kind: 'text', text: `alert ${number}` },
  };
  return { id: envelope.id, subject_id, message: { type: 'outbound.requested.v1', ...envelope, body } };
}
