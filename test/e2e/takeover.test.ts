import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { setTimeout as delay } from 'node:timers/promises';
import { waitUntil } from '@steward/testkit';
import { createFakeModel, echo, lastUserText, type FakeModel } from './fake-model.ts';
import { newQuestion, startStack, type Stack } from './harness.ts';
import type { Replica } from './service-replicas.ts';
import { extraRoom } from './stack-config.ts';

jest.setTimeout(120_000);

const leaseMs = 4_000;
/** A lease, a look for work every half second, and what a busy machine adds. */
const takeoverMs = 5_000;

type Turn = { id: string; status: string; attempt: number; lease_left_ms: number };

describe('two replicas of agent-core, one of which stops working', () => {
  let stack: Stack;
  let model: FakeModel;
  beforeAll(async () => {
    model = await createFakeModel();
    stack = await startStack({ agentCores: 2, extraRooms: 8, model: { baseUrl: model.baseUrl, timeoutMs: 60_000 } });
  });
  afterAll(async () => {
    await stack.stop();
    await model.close();
  });

  const readTurns = (questions: readonly string[]) =>
    stack.sql<Turn>(
      `select id, status, attempt, extract(epoch from lease_until - now())::float8 * 1000 as lease_left_ms
       from agent_core.turn where inbound -> 'content' ->> 'text' = any($1) order by sequence`,
      [questions],
    );
  const takeovers = (questions: readonly string[]) =>
    stack.sql<{ turn_id: string }>(
      `select e.subject_id as turn_id
       from audit.entry e join agent_core.turn t on t.id::text = e.subject_id
       where e.kind = 'turn.taken_over' and t.inbound -> 'content' ->> 'text' = any($1)`,
      [questions],
    );
  const databaseNow = async () => {
    const [row] = await stack.sql<{ now: string }>(`select clock_timestamp()::text as now`);
    return row?.now ?? '';
  };

  let letGo: (answer: string) => void = () => undefined;
  /** One question in each room, all of them worked on by one replica, which waits for the model with them. */
  const hangOn = async (working: Replica, other: Replica): Promise<string[]> => {
    const questions = Array.from({ length: 4 }, newQuestion);
    const hanging = new Promise<string>((resolve) => (letGo = resolve));
    model.behave((request) =>
      questions.some((text) => lastUserText(request).includes(text)) ? hanging : echo(request),
    );
    await other.kill('SIGTERM');
    for (const [number, text] of questions.entries())
      await stack.say({ robot: 'http', room: extraRoom(number), text: `please ${text}` });
    const isAsked = () =>
      questions.every((text) => model.requests.some((request) => lastUserText(request).includes(text)));
    await waitUntil(isAsked, { timeoutMs: 20_000, what: `${working.service} to ask the model` });
    await other.start();
    return questions.map((text) => `please ${text}`);
  };
  const replicas = (): [Replica, Replica] => {
    const [first, second] = stack.agentCores;
    if (first === undefined || second === undefined) throw new Error('two replicas were started');
    return [first, second];
  };

  it('keeps its turns for longer than a lease while it lives: nobody takes over what somebody works on', async () => {
    const [first, second] = replicas();
    const questions = await hangOn(first, second);
    await delay(2 * leaseMs);
    expect(await readTurns(questions)).toEqual(
      questions.map(() => expect.objectContaining({ status: 'running', attempt: 1 })),
    );
    for (const { lease_left_ms: left } of await readTurns(questions)) expect(left).toBeGreaterThan(0);
    // SIGKILL: its conversations go on, each where it was, once.
    const since = await stack.lastLine();
    model.behave(echo);
    const killedAt = await databaseNow();
    await first.kill('SIGKILL');
    const answered = async () => (await readTurns(questions)).every(({ status }) => status === 'done');
    await waitUntil(answered, { timeoutMs: 30_000, what: 'the other replica to finish them' });
    expect(await readTurns(questions)).toEqual(questions.map(() => expect.objectContaining({ attempt: 2 })));
    const waited = await stack.sql<{ ms: number }>(
      `select extract(epoch from max(occurred_at) - $1::timestamptz)::float8 * 1000 as ms from audit.entry
       where kind = 'turn.taken_over'`,
      [killedAt],
    );
    expect(waited[0]?.ms).toBeLessThanOrEqual(takeoverMs);
    expect(await takeovers(questions)).toHaveLength(questions.length);
    await stack.waitForAnswers({ since, count: questions.length });
    await first.start();
    await stack.checkNothingLost();
  });

  it('is paused for three leases and goes on: what it still wants to write is refused, and nothing is said twice', async () => {
    const [first, second] = replicas();
    const questions = await hangOn(first, second);
    const since = await stack.lastLine();
    model.behave(echo);
    first.signal('SIGSTOP');
    try {
      const answered = async () => (await readTurns(questions)).every(({ status }) => status === 'done');
      await waitUntil(answered, { timeoutMs: 30_000, what: 'the other replica to finish them' });
      expect(await takeovers(questions)).toHaveLength(questions.length);
      await stack.waitForAnswers({ since, count: questions.length });
      await delay(2 * leaseMs);
    } finally {
      // The answers of the model are waiting for it in its sockets: with them it would end the turns.
      letGo('the answer of a zombie');
      await delay(200);
      first.signal('SIGCONT');
    }
    const lost = () => (first.output().match(/"event":"turn\.(attempt\.failed|lost)"/g) ?? []).length;
    await waitUntil(() => lost() >= questions.length, { timeoutMs: 20_000, what: 'the zombie to see its losses' });
    expect(await readTurns(questions)).toEqual(
      questions.map(() => expect.objectContaining({ status: 'done', attempt: 2 })),
    );
    const lines = await stack.waitForAnswers({ since, count: questions.length });
    expect(lines).toHaveLength(questions.length);
    expect(lines.filter(({ text }) => text.includes('zombie'))).toEqual([]);
    await stack.checkNothingLost();
  });
});
