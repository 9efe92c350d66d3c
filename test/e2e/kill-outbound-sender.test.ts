import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { isMarkedRepeat, waitUntil } from '@steward/testkit';
import { newQuestion, startStack, waitForBlocked, type Stack } from './harness.ts';
import type { Replica } from './service-replicas.ts';
import { roomOf } from './stack-config.ts';

jest.setTimeout(120_000);

describe('kill -9 of outbound-sender', () => {
  let stack: Stack;
  let sender: Replica;
  beforeAll(async () => {
    stack = await startStack();
    const [first] = stack.outboundSenders;
    if (first === undefined) throw new Error('no outbound-sender');
    sender = first;
  });
  afterAll(() => stack.stop());

  const readAttempts = (text: string) =>
    stack.sql(
      `select a.number, a.path, a.outcome, a.ended_at is null as open from outbound_sender.delivery_attempt a
       join outbound_sender.outbound_message m on m.id = a.outbound_message_id where m.content->>'text' like $1 order by a.number`,
      [`%${text}%`],
    );

  /** Kills the sender with the sessions of its statements: the server would finish a statement whose client is gone. */
  const killWith = async (pids: readonly number[]) => {
    await sender.kill('SIGKILL');
    await stack.sql('select pg_terminate_backend(pid) from unnest($1::int[]) as pid', [pids]);
  };

  it.each([
    ['before the recording', 'outbound_sender.outbound_message', 'with asked as materialized ('],
    ['before an attempt is open', 'outbound_sender.delivery_attempt', 'with ours as materialized ('],
  ])('%s: nothing was sent, the answer comes once and unmarked', async (_name, table, statement) => {
    const text = newQuestion();
    const unlock = await stack.lockTable(table);
    await stack.say({ robot: 'http', room: roomOf('http'), text });
    const blocked = await waitForBlocked(stack, { table, statement });
    await killWith(blocked);
    await unlock();
    expect(await readAttempts(text)).toEqual([]);
    await sender.start();
    const answers = await stack.waitForAnswers({ contains: text });
    await stack.checkNothingLost();
    expect(answers.map((answer) => isMarkedRepeat(answer.text))).toEqual([false]);
    expect(await stack.waitForAnswers({ contains: text })).toHaveLength(1);
  });

  it('during one send, and after another before it was closed: both are unknown and sent once more, marked as a possible repeat', async () => {
    const [during, after] = [newQuestion(), newQuestion()];
    const group = '/v1.0/robot/groupMessages/send';
    const session = '/robot/sendBySession';
    const { control } = stack.simulator;
    // The OpenAPI takes its time to take the call; the session webhook takes it at once and is slow to say so.
    control.setFaults({ latencyMs: { [group]: 6_000 }, replyDelayMs: { [session]: 1_500 }, sessionTtlMs: 20_000 });
    await stack.say({ robot: 'stream', room: roomOf('stream'), text: during });
    control.setFaults({ sessionTtlMs: 5_400_000 });
    await stack.say({ robot: 'http', room: roomOf('http'), text: after });
    const isOpen = async () => (await readAttempts(during)).length === 1 && (await readAttempts(after)).length === 1;
    await waitUntil(isOpen, { timeoutMs: 10_000, what: 'both attempts to be open' });
    const unlock = await stack.lockTable('outbound_sender.delivery_attempt');
    const blocked = await waitForBlocked(stack, {
      table: 'outbound_sender.delivery_attempt',
      statement: 'with ended as (',
    });
    // The witnesses: one call was taken and is about to be closed, the other has not been taken yet.
    expect(await control.calls({ path: session })).toContainEqual(
      expect.objectContaining({ text: expect.stringContaining(after), outcome: 'ok' }),
    );
    expect(await control.calls({ path: group })).toEqual([]);
    await killWith(blocked);
    await unlock();
    expect(await readAttempts(during)).toEqual([{ number: 1, path: 'group_openapi', outcome: 'unknown', open: true }]);
    expect(await readAttempts(after)).toEqual([{ number: 1, path: 'session_webhook', outcome: 'unknown', open: true }]);

    control.setFaults({ latencyMs: {}, replyDelayMs: {} });
    await sender.start();
    // After the lease of 45 s.
    for (const text of [during, after]) await stack.waitForAnswers({ contains: text, count: 2, timeoutMs: 80_000 });
    await stack.checkNothingLost();
    for (const text of [during, after]) {
      const answers = await stack.waitForAnswers({ contains: text });
      expect(answers.map((answer) => isMarkedRepeat(answer.text))).toEqual([false, true]);
      expect(await readAttempts(text)).toMatchObject([{ outcome: 'unknown' }, { outcome: 'accepted' }]);
    }
  });
});
