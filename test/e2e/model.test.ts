import { afterAll, beforeAll, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { waitUntil } from '@steward/testkit';
import { createFakeModel, echo, lastUserText, withoutFence, type FakeModel } from './fake-model.ts';
import { newQuestion, startStack, type Stack } from './harness.ts';
import { extraRoom, people, roomOf } from './stack-config.ts';

jest.setTimeout(120_000);

const away = 'The model does not answer right now; please try again later. Commands (/help) still work.';

describe('words are answered by a model', () => {
  let stack: Stack;
  let model: FakeModel;
  beforeAll(async () => {
    model = await createFakeModel();
    stack = await startStack({
      extraRooms: 12,
      model: { baseUrl: model.baseUrl, timeoutMs: 1_500, maxSteps: 2, transcriptTurns: 3 },
    });
  });
  afterAll(async () => {
    await stack.stop();
    await model.close();
  });
  beforeEach(() => model.behave(echo));

  const place = () => ({ robot: 'http', room: roomOf('http'), staffId: people.li });
  const hear = async (say: Parameters<Stack['say']>[0]) => {
    const since = await stack.lastLine();
    await stack.say(say);
    const [answer] = await stack.waitForAnswers({ since });
    return answer?.text;
  };

  it('with the key from its file and a window of the transcript', async () => {
    const questions = Array.from({ length: 5 }, newQuestion);
    for (const text of questions)
      expect(await hear({ ...place(), text: `tell me ${text}` })).toBe(`You said: tell me ${text}`);
    const last = model.requests.at(-1);
    expect(last).toMatchObject({ model: 'fake-model', authorization: `Bearer ${stack.secrets['model.key'] ?? ''}` });
    const [system, ...window] = last?.messages ?? [];
    expect(system).toMatchObject({
      role: 'system',
      content: expect.stringContaining('Place: room-0 (test environment)'),
    });
    expect(window[0]?.content).toMatch(new RegExp(`^\\[\\w+ person "${people.li}"\\]\\n`));
    const [, , third, fourth, fifth] = questions.map((text) => `tell me ${text}`);
    const said = (content = '') => ({ role: 'user', content });
    const answered = (content = '') => ({ role: 'assistant', content: `You said: ${content}` });
    const shown = window.map(({ role, content }) => ({ role, content: withoutFence(content) }));
    expect(shown).toEqual([said(third), answered(third), said(fourth), answered(fourth), said(fifth)]);
  });

  it.each([
    ['fails with 500', () => ({ status: 500 }), 1],
    ['refuses with 400', () => ({ status: 400 }), 1],
    ['hangs', () => new Promise<string>(() => undefined), 1],
    ['says nothing in every step', () => '', 2],
  ])('politely when it %s', async (_name, behaviour, calls) => {
    const before = model.requests.length;
    model.behave(behaviour);
    expect(await hear({ ...place(), text: 'who is on call?' })).toBe(away);
    expect(model.requests.length - before).toBe(calls);
    const [turn] = await stack.sql(
      `select outcome from audit.entry where kind = 'turn.ended' order by occurred_at desc limit 1`,
    );
    expect(turn).toEqual({ outcome: 'model_unavailable' });
  });

  it('and a command does not wait for it', async () => {
    const release = Promise.withResolvers<string>();
    model.behave(() => release.promise);
    const since = await stack.lastLine();
    const before = model.requests.length;
    await stack.say({ ...place(), text: 'think about it' });
    await waitUntil(() => model.requests.length > before, { timeoutMs: 10_000, what: 'the model to be asked' });
    await stack.say({ ...place(), text: '/ping' });
    const answers = await stack.waitForAnswers({ since, count: 2 });
    release.resolve('');
    expect(answers.map(({ text }) => text)).toEqual(['pong, I am here.', away]);
  });

  it('and is left alone for a while when it keeps failing', async () => {
    model.behave(() => ({ status: 503 }));
    const before = model.requests.length;
    const since = await stack.lastLine();
    const rounds = 3;
    for (let round = 1; round <= rounds; round += 1) {
      for (let room = 0; room < 12; room += 1)
        await stack.say({ robot: 'http', room: extraRoom(room), text: `failing ${round}` });
      await stack.waitForAnswers({ since, count: round * 12 });
    }
    const answers = await stack.waitForAnswers({ since, count: rounds * 12 });
    expect(new Set(answers.map(({ text }) => text))).toEqual(new Set([away]));
    // The breaker wants ten calls to judge by; the rest of 36 were answered without asking.
    expect(model.requests.length - before).toBeLessThan(24);
    const [held] = await stack.sql(
      `select count(*)::int as count from audit.entry where kind = 'turn.ended' and detail->>'code' = 'BREAKER_OPEN'`,
    );
    expect(held).not.toEqual({ count: 0 });

    model.behave(echo);
    const recovers = async () => (await hear({ ...place(), text: 'are you back?' }))?.startsWith('You said');
    await waitUntil(recovers, { timeoutMs: 40_000, everyMs: 1_000, what: 'the model to be asked again' });
    expect(lastUserText(model.requests.at(-1) ?? { model: '', messages: [], authorization: '' })).toContain(
      'are you back?',
    );
  });

  it('without losing an answer or leaking the key', async () => {
    await stack.checkNothingLost();
  });
});
