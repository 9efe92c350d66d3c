import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { maxOutboundTextLength } from '@steward/contracts';
import { createAskModel, type AskModel } from './ask-model.ts';
import { claimTurn, type ClaimedTurn } from './claim-turn.ts';
import { endTurn } from './end-turn.ts';
import { recordInbound } from './record-inbound.ts';
import { buildReceived, everyLane, openTestDatabase, type InboundOptions } from './testing.ts';

type Answer = { status?: number; text?: string | null; hang?: boolean };
type Call = {
  authorization: string | undefined;
  body: { model: string; messages: { role: string; content: string }[] };
};

let database: Awaited<ReturnType<typeof openTestDatabase>>;
let server: Server;
let folder: string;
let calls: Call[] = [];
/** What the endpoint answers, in order; the last one stays. */
let answers: Answer[] = [];
beforeAll(async () => {
  database = await openTestDatabase();
  folder = mkdtempSync(path.join(tmpdir(), 'steward-prompt-'));
  writeFileSync(path.join(folder, 'system.md'), 'You are in {{place}}.');
  server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const body = JSON.parse(Buffer.concat(chunks).toString('utf8')) as Call['body'];
      calls.push({ authorization: request.headers.authorization, body });
      const answer = (answers.length > 1 ? answers.shift() : answers[0]) ?? {};
      if (answer.hang) return;
      response.writeHead(answer.status ?? 200, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ choices: [{ message: { role: 'assistant', content: answer.text ?? null } }] }));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});
beforeEach(async () => {
  await database.clear();
  calls = [];
  answers = [{ text: ' hello \n' }];
});
afterAll(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  rmSync(folder, { recursive: true });
  await database.close();
});

const createModel = (over: { timeoutMs?: number; maxSteps?: number; transcriptTurns?: number } = {}): AskModel => {
  const address = server.address();
  const port = typeof address === 'object' ? address?.port : address;
  return createAskModel({
    db: database.db,
    config: {
      baseUrl: `http://127.0.0.1:${String(port)}/v1`,
      name: 'qwen',
      timeoutMs: 10_000,
      maxSteps: 3,
      transcriptTurns: 20,
      ...over,
    },
    apiKey: 'model-key',
    systemPromptPath: path.join(folder, 'system.md'),
    timeZone: 'Asia/Shanghai',
    now: () => new Date(),
  });
};
const startTurn = async (o: InboundOptions = {}): Promise<ClaimedTurn> => {
  await recordInbound({ db: database.db, now: () => new Date() }, buildReceived(o));
  const turn = await claimTurn(database.db, everyLane);
  if (turn === null) throw new Error('nothing was claimed');
  return turn;
};
const end = (turn: ClaimedTurn, text: string) =>
  endTurn({ db: database.db, now: () => new Date() }, turn, {
    status: 'done',
    outcome: 'model',
    answer: { kind: 'markdown', title: 't', text },
  });
const ask = (model: AskModel, turn: ClaimedTurn, signal = new AbortController().signal) =>
  model(turn, 'ops-room', signal);
const steps = () => database.rows('select number, reply from agent_core.step order by number');

describe('asking the model', () => {
  it('sends the window of the conversation and commits the reply as a step', async () => {
    await end(await startTurn({ sequence: 1, text: 'too old' }), 'old answer');
    await end(await startTurn({ sequence: 2, text: 'first' }), 'first answer');
    const turn = await startTurn({ sequence: 3, text: 'second' });
    await expect(ask(createModel({ transcriptTurns: 2 }), turn)).resolves.toMatchObject({
      text: 'hello',
      model: 'qwen',
    });
    expect(calls).toHaveLength(1);
    expect(calls[0]?.authorization).toBe('Bearer model-key');
    // A limit of tokens has two names, and servers refuse the one they do not know.
    expect(Object.keys(calls[0]?.body ?? {}).sort()).toEqual(['messages', 'model']);
    expect(calls[0]?.body.messages).toEqual([
      { role: 'system', content: 'You are in ops-room.' },
      { role: 'user', content: 'Li: first' },
      { role: 'assistant', content: 'first answer' },
      { role: 'user', content: 'Li: second' },
    ]);
    expect(await steps()).toEqual([{ number: 1, reply: { text: 'hello' } }]);
  });

  it('sends what the person says now, however short the window', async () => {
    await ask(createModel({ transcriptTurns: 0 }), await startTurn({ text: 'now' }));
    expect(calls[0]?.body.messages.at(-1)).toEqual({ role: 'user', content: 'Li: now' });
  });

  it('does not ask again for a step that a crashed attempt has committed', async () => {
    const turn = await startTurn();
    answers = [{ text: '' }, { text: 'found' }];
    const first = await ask(createModel(), turn);
    answers = [{ text: 'something else' }];
    expect(await ask(createModel(), turn)).toEqual(first);
    expect(calls).toHaveLength(2);
    expect(await steps()).toHaveLength(2);
  });

  it('gives up after as many empty replies as it may take steps', async () => {
    answers = [{ text: '  ' }, { text: null }];
    await expect(ask(createModel({ maxSteps: 3 }), await startTurn())).rejects.toMatchObject({
      code: 'MODEL_SILENT',
      retryable: false,
    });
    expect(calls).toHaveLength(3);
  });

  it('stores half characters and NUL as something that can be stored', async () => {
    answers = [{ text: 'a\u0000b\ud83d' }];
    expect((await ask(createModel(), await startTurn())).text).toBe('a\uFFFDb\uFFFD');
    expect(await steps()).toHaveLength(1);
  });

  it('keeps no more of a reply than one outbound message may hold', async () => {
    answers = [{ text: 'x'.repeat(maxOutboundTextLength + 1) }];
    expect((await ask(createModel(), await startTurn())).text).toHaveLength(maxOutboundTextLength);
  });

  it('stops waiting at its deadline, and when the process stops', async () => {
    answers = [{ hang: true }];
    const turn = await startTurn();
    await expect(ask(createModel({ timeoutMs: 1_000 }), turn)).rejects.toMatchObject({ code: 'MODEL_UNREACHABLE' });
    const stopping = new AbortController();
    const waiting = ask(createModel(), turn, stopping.signal);
    setImmediate(() => stopping.abort());
    await expect(waiting).rejects.toMatchObject({ code: 'MODEL_UNREACHABLE' });
    expect(await steps()).toEqual([]);
  });

  it.each([
    [401, 'MODEL_FORBIDDEN', false],
    [400, 'MODEL_REFUSED', false],
    [429, 'MODEL_REFUSED', true],
    [500, 'MODEL_REFUSED', true],
  ])('says of status %i that it is %s', async (status, code, retryable) => {
    answers = [{ status }];
    await expect(ask(createModel(), await startTurn())).rejects.toMatchObject({ code, retryable });
    expect(calls).toHaveLength(1);
  });

  it('stops calling a model that is down, but not one that merely refuses us', async () => {
    const turn = await startTurn();
    const codes = async (model: AskModel, status: number) => {
      answers = [{ status }];
      const seen: unknown[] = [];
      for (let n = 0; n < 14; n += 1)
        seen.push(await ask(model, turn).catch((error: unknown) => (error as { code?: string }).code));
      return seen;
    };
    expect(new Set(await codes(createModel(), 400))).toEqual(new Set(['MODEL_REFUSED']));
    calls = [];
    expect((await codes(createModel(), 503)).at(-1)).toBe('BREAKER_OPEN');
    expect(calls.length).toBeLessThan(14);
  });
});
