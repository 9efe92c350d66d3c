import { createServer, type Server } from 'node:http';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { maxOutboundTextLength } from '@steward/contracts';
import { createAskModel, type AskModel, type OfferedTool, type PastStep } from './ask-model.ts';
import { claimTurn, type ClaimedTurn } from './claim-turn.ts';
import { endTurn } from './end-turn.ts';
import type { PromptMessage } from './build-model-prompt.ts';
import { systemPlaceholders } from './load-prompts.ts';
import { recordInbound } from './record-inbound.ts';
import { buildReceived, everyLane, openTestDatabase, type InboundOptions } from './testing.ts';

type Answer = {
  status?: number;
  text?: string | null;
  calls?: unknown;
  body?: string;
  type?: string;
  location?: string;
  hang?: 'silent' | 'half';
};
type Request = {
  authorization: string | undefined;
  body: { model: string; messages: PromptMessage[]; tools?: { function: { name: string; description: string } }[] };
};

let database: Awaited<ReturnType<typeof openTestDatabase>>;
let server: Server;
let requests: Request[] = [];
/** What the endpoint answers, in order; the last one stays. */
let answers: Answer[] = [];

const toBody = ({ text, calls, body }: Answer) =>
  body ?? JSON.stringify({ choices: [{ message: { role: 'assistant', content: text ?? null, tool_calls: calls } }] });

beforeAll(async () => {
  database = await openTestDatabase();
  server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const body = JSON.parse(Buffer.concat(chunks).toString('utf8')) as Request['body'];
      requests.push({ authorization: request.headers.authorization, body });
      const answer = (answers.length > 1 ? answers.shift() : answers[0]) ?? {};
      if (answer.hang === 'silent') return;
      const location = answer.location === undefined ? {} : { location: answer.location };
      response.writeHead(answer.status ?? 200, { 'content-type': answer.type ?? 'application/json', ...location });
      if (answer.hang === 'half') response.write('{"choices":[');
      else response.end(toBody(answer));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});
beforeEach(async () => {
  await database.clear();
  requests = [];
  answers = [{ text: ' hello \n' }];
});
afterAll(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  await database.close();
});

const address = () => {
  const bound = server.address();
  return `http://127.0.0.1:${String(typeof bound === 'object' ? bound?.port : bound)}`;
};
const system = { text: systemPlaceholders.map((name) => `${name}: {{${name}}}`).join('\n'), hash: 'prompt-hash' };
const createModel = (over: { timeoutMs?: number; maxSteps?: number; transcriptTurns?: number } = {}): AskModel =>
  createAskModel({
    db: database.db,
    config: { baseUrl: `${address()}/v1`, name: 'qwen', timeoutMs: 10_000, maxSteps: 3, transcriptTurns: 20, ...over },
    apiKey: 'model-key',
    prompts: { system },
    timeZone: 'Asia/Shanghai',
    now: () => new Date('2026-03-01T00:00:00Z'),
  });
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
type Asked = Partial<Parameters<AskModel>[0]>;
const ask = (model: AskModel, turn: ClaimedTurn, over: Asked = {}) =>
  model({
    turn,
    place: 'ops-room',
    requesterName: 'Li Lei',
    requesterRoles: ['ops'],
    tools: [],
    skills: [],
    steps: [],
    signal: new AbortController().signal,
    ...over,
  });
const tool = (name: string, judged: 'allow' | 'ask' = 'allow'): OfferedTool => ({
  name,
  description: `Does ${name}.`,
  parameters: { type: 'object', properties: {}, additionalProperties: false },
  judged,
});
const proposal = (name: string, args: unknown, id: unknown = 'call-a') => ({
  id,
  type: 'function',
  function: { name, arguments: args },
});
const silentStep: PastStep = { step: { text: '', calls: [], model: 'qwen', promptHash: 'prompt-hash' }, results: [] };
/** What stands inside a fence, or the whole where there is none. */
const inside = ({ content }: PromptMessage) => /^\[[^\n]*\]\n([\s\S]*)\n\[\/\w+\]$/.exec(content ?? '')?.[1] ?? content;
const lastRequest = () => requests.at(-1)?.body ?? { model: '', messages: [] };

describe('asking the model for a step', () => {
  it('sends who asks, where and when, and the window of the conversation', async () => {
    await end(await startTurn({ sequence: 1, text: 'too old' }), 'old answer');
    await end(await startTurn({ sequence: 2, text: 'first' }), 'first answer');
    const turn = await startTurn({ sequence: 3, text: 'second' });
    await expect(ask(createModel({ transcriptTurns: 2 }), turn)).resolves.toEqual({
      text: 'hello',
      calls: [],
      model: 'qwen',
      promptHash: 'prompt-hash',
    });
    expect(requests).toHaveLength(1);
    expect(requests[0]?.authorization).toBe('Bearer model-key');
    // A limit of tokens has two names, and servers refuse the one they do not know.
    expect(Object.keys(lastRequest()).sort()).toEqual(['messages', 'model']);
    const [head, ...window] = lastRequest().messages;
    expect(head?.content).toContain(
      'requester: "Li Lei"\nroles: ops\nplace: ops-room\nenvironment: test\nclock: 2026-03-01 08:00:00 Asia/Shanghai\n',
    );
    expect(window.map((message) => [message.role, inside(message)])).toEqual([
      ['user', 'first'],
      ['assistant', 'first answer'],
      ['user', 'second'],
    ]);
  });

  it('sends what the person says now, however short the window', async () => {
    await ask(createModel({ transcriptTurns: 0 }), await startTurn({ text: 'now' }));
    expect(lastRequest().messages.slice(1).map(inside)).toEqual(['now']);
  });

  it('fences each request anew', async () => {
    const turn = await startTurn();
    await ask(createModel(), turn);
    await ask(createModel(), turn);
    const fences = requests.map(({ body }) => /fence: ([0-9a-f]{18})$/.exec(body.messages[0]?.content ?? '')?.[1]);
    expect(new Set(fences).size).toBe(2);
    fences.forEach((fence, at) =>
      expect(requests[at]?.body.messages[1]?.content).toMatch(new RegExp(`^\\[${String(fence)} person "Li"\\]\\n`)),
    );
  });

  it('shows a turn that waits to later turns as words, and not to itself', async () => {
    const waiting = await startTurn({ sequence: 1, text: 'restart web' });
    await end(waiting, 'waiting for 7F3K');
    const later = await startTurn({ sequence: 2, text: 'and now?' });
    await ask(createModel(), later);
    expect(lastRequest().messages.slice(1).map(inside)).toEqual(['restart web', 'waiting for 7F3K', 'and now?']);
    await ask(createModel(), waiting);
    expect(lastRequest().messages.slice(1).map(inside)).toEqual(['restart web']);
  });

  it('returns what the model proposes, and decides nothing', async () => {
    answers = [{ text: 'I look', calls: [proposal('rm_rf', '{"path":"/"}'), proposal('list_services', '{bad')] }];
    const step = await ask(createModel(), await startTurn(), { tools: [tool('list_services')] });
    expect(step).toMatchObject({
      text: 'I look',
      calls: [
        { id: 'call-a', tool: 'rm_rf', arguments: { path: '/' } },
        { id: 'call_1_2', tool: 'list_services', arguments: null, rawArguments: '{bad' },
      ],
    });
  });

  it('offers the tools and, where there are skills, the way to read one', async () => {
    const turn = await startTurn();
    const tools = [tool('list_services'), tool('restart_service', 'ask')];
    await ask(createModel(), turn, { tools, skills: [{ name: 'incident-triage', description: 'First look.' }] });
    expect(lastRequest().tools?.map((one) => one.function.name)).toEqual([
      'list_services',
      'restart_service',
      'use_skill',
    ]);
    expect(lastRequest().tools?.[1]?.function.description).toContain('only after people have approved');
    expect(lastRequest().messages[0]?.content).toContain('- restart_service (needs approval): Does restart_service.');
    await ask(createModel(), turn, { tools });
    expect(lastRequest().tools).toHaveLength(2);
    await ask(createModel(), turn, { tools: Array.from({ length: 300 }, (_, at) => tool(`t${at}`)) });
    expect(lastRequest().tools).toHaveLength(100);
    expect(lastRequest().messages[0]?.content).toMatch(/- t99 [^\n]*\n(?!- t100 )/);
  });

  it('goes on from committed steps with a result for every call', async () => {
    const steps: PastStep[] = [
      {
        step: {
          text: '',
          calls: [{ id: 'call-a', tool: 'list_services', arguments: {}, rawArguments: '{}' }],
          model: 'qwen',
          promptHash: 'prompt-hash',
        },
        results: [{ callId: 'call-a', text: 'web is down' }],
      },
    ];
    answers = [{ text: 'x', calls: [proposal('list_services', '{}')] }];
    const step = await ask(createModel(), await startTurn(), { tools: [tool('list_services')], steps });
    const [, , proposed, result] = lastRequest().messages;
    expect(proposed).toMatchObject({ role: 'assistant', tool_calls: [{ id: 'call-a' }] });
    expect(result).toMatchObject({ role: 'tool', tool_call_id: 'call-a' });
    expect(result && inside(result)).toBe('web is down');
    // The id of an earlier step is not given out again.
    expect(step.calls.map(({ id }) => id)).toEqual(['call_2_1']);
  });

  it('offers no tools on the last step, and hears of no call there', async () => {
    answers = [{ text: 'done', calls: [proposal('list_services', '{}')] }];
    const step = await ask(createModel({ maxSteps: 2 }), await startTurn(), {
      tools: [tool('list_services')],
      skills: [{ name: 's', description: 'd' }],
      steps: [silentStep],
    });
    expect(step).toMatchObject({ text: 'done', calls: [] });
    expect(lastRequest().tools).toBeUndefined();
    expect(lastRequest().messages[0]?.content).toContain('No tool can be called any more');
  });

  it('lets the model say nothing, but not in the last step', async () => {
    answers = [{ text: '  ' }, { text: null }];
    const turn = await startTurn();
    const model = createModel({ maxSteps: 2 });
    await expect(ask(model, turn)).resolves.toMatchObject({ text: '', calls: [] });
    const silent = { code: 'MODEL_SILENT', retryable: false };
    await expect(ask(model, turn, { steps: [silentStep] })).rejects.toMatchObject(silent);
    await expect(ask(model, turn, { steps: [silentStep, silentStep] })).rejects.toMatchObject(silent);
    expect(requests).toHaveLength(2);
  });

  it('stores half characters and NUL as something that can be stored, and no more than one answer may hold', async () => {
    answers = [{ text: 'a\u0000b\ud83d' }, { text: 'x'.repeat(maxOutboundTextLength + 1) }];
    const turn = await startTurn();
    expect((await ask(createModel(), turn)).text).toBe('a\uFFFDb\uFFFD');
    expect((await ask(createModel(), turn)).text).toHaveLength(maxOutboundTextLength);
  });
});

describe('a model that misbehaves', () => {
  it.each(['silent', 'half'] as const)(
    'is waited for until the deadline, or until the process stops: %s',
    async (hang) => {
      answers = [{ hang }];
      const turn = await startTurn();
      const unreachable = { code: 'MODEL_UNREACHABLE', retryable: true };
      await expect(ask(createModel({ timeoutMs: 1_000 }), turn)).rejects.toMatchObject(unreachable);
      const stopping = new AbortController();
      const waiting = ask(createModel(), turn, { signal: stopping.signal });
      setImmediate(() => stopping.abort());
      await expect(waiting).rejects.toMatchObject(unreachable);
    },
  );

  it.each([
    ['text', { body: '<html>proxy</html>', type: 'text/html' }],
    ['broken JSON', { body: '{"choices":[' }],
    ['another document', { body: '{"object":"list"}' }],
    ['more than may be read', { text: 'x'.repeat(3_000_000) }],
  ])('is unreadable when it sends %s', async (_, answer) => {
    answers = [answer];
    await expect(ask(createModel(), await startTurn())).rejects.toMatchObject({
      code: 'MODEL_UNREADABLE',
      retryable: true,
    });
    expect(requests).toHaveLength(1);
  });

  it('does not get the key sent elsewhere', async () => {
    answers = [{ status: 307, location: `${address()}/elsewhere` }, { text: 'from elsewhere' }];
    await expect(ask(createModel(), await startTurn())).rejects.toMatchObject({
      code: 'MODEL_REFUSED',
      retryable: false,
    });
    expect(requests).toHaveLength(1);
  });

  it.each([
    [401, 'MODEL_FORBIDDEN', false],
    [400, 'MODEL_REFUSED', false],
    [429, 'MODEL_REFUSED', true],
    [500, 'MODEL_REFUSED', true],
  ])('and answers %i is said to be %s', async (status, code, retryable) => {
    answers = [{ status }];
    await expect(ask(createModel(), await startTurn())).rejects.toMatchObject({ code, retryable });
    expect(requests).toHaveLength(1);
  });

  it('is left alone when it is down, but not when it merely refuses us', async () => {
    const turn = await startTurn();
    const codes = async (model: AskModel, status: number) => {
      answers = [{ status }];
      const seen: unknown[] = [];
      for (let n = 0; n < 14; n += 1)
        seen.push(await ask(model, turn).catch((error: unknown) => (error as { code?: string }).code));
      return seen;
    };
    expect(new Set(await codes(createModel(), 400))).toEqual(new Set(['MODEL_REFUSED']));
    requests = [];
    expect((await codes(createModel(), 503)).at(-1)).toBe('BREAKER_OPEN');
    expect(requests.length).toBeLessThan(14);
  });
});
