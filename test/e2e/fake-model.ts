import { createServer, type IncomingMessage } from 'node:http';
import { z } from 'zod';

const toolCallSchema = z.object({
  id: z.string(),
  type: z.literal('function'),
  function: z.object({ name: z.string(), arguments: z.string() }),
});
const messageSchema = z.discriminatedUnion('role', [
  z.object({ role: z.enum(['system', 'user']), content: z.string() }),
  z.object({
    role: z.literal('assistant'),
    content: z.string().nullable(),
    tool_calls: z.array(toolCallSchema).optional(),
  }),
  z.object({ role: z.literal('tool'), tool_call_id: z.string(), content: z.string() }),
]);
const requestSchema = z.object({
  model: z.string(),
  messages: z.array(messageSchema).refine(isAnswered, 'a tool call lacks its result'),
  tools: z.array(z.object({ type: z.literal('function'), function: z.object({ name: z.string() }) })).optional(),
});
export type ModelRequest = z.infer<typeof requestSchema> & { authorization: string };
/** What the model says, what it proposes, or the status it fails with. */
export type ModelAnswer =
  string | { text?: string; calls: readonly { name: string; arguments: object | string }[] } | { status: number };

export type FakeModel = {
  baseUrl: string;
  /** Every request so far, in the order of arrival. */
  requests: ModelRequest[];
  behave(behaviour: (request: ModelRequest) => ModelAnswer | Promise<ModelAnswer>): void;
  close(): Promise<void>;
};

/** What stands inside the fence that keeps data apart from instructions. */
export const withoutFence = (content: string | null): string =>
  /^\[[^\n]*\]\n([\s\S]*)\n\[\/\w+\]$/.exec(content ?? '')?.[1] ?? content ?? '';
/** What the last person said: the plainest honest answer, which carries the question's mark. */
export const lastUserText = ({ messages }: ModelRequest): string =>
  withoutFence(messages.filter(({ role }) => role === 'user').at(-1)?.content ?? '');
export const echo = (request: ModelRequest): string => `You said: ${lastUserText(request)}`;

/** An OpenAI-compatible chat completions endpoint that answers as the test says; it echoes unless told otherwise. */
export async function createFakeModel(): Promise<FakeModel> {
  const requests: ModelRequest[] = [];
  let behaviour: (request: ModelRequest) => ModelAnswer | Promise<ModelAnswer> = echo;
  const server = createServer((incoming, response) => {
    const serve = async () => {
      const parsed = requestSchema.parse(JSON.parse(await readBody(incoming)));
      const request = { ...parsed, authorization: incoming.headers.authorization ?? '' };
      requests.push(request);
      const answer = await behaviour(request);
      const failed = typeof answer !== 'string' && 'status' in answer;
      response.writeHead(failed ? answer.status : 200, { 'content-type': 'application/json' });
      response.end(
        JSON.stringify(
          failed ? { error: { message: `failed for ${request.authorization}` } } : toCompletion(request, answer),
        ),
      );
    };
    serve().catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = address !== null && typeof address === 'object' ? address.port : 0;
  return {
    baseUrl: `http://127.0.0.1:${port}/v1`,
    requests,
    behave: (next) => (behaviour = next),
    close: () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      return closed;
    },
  };
}

async function readBody(incoming: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of incoming as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks).toString('utf8');
}

/** As the real endpoint insists: after each proposal of calls, a result for every one of them. */
function isAnswered(messages: readonly z.infer<typeof messageSchema>[]): boolean {
  return messages.every((message, at) => {
    if (message.role !== 'assistant') return true;
    const calls = message.tool_calls ?? [];
    const results = messages.slice(at + 1, at + 1 + calls.length);
    return calls.every(({ id }) => results.some((result) => result.role === 'tool' && result.tool_call_id === id));
  });
}

function toCompletion(request: ModelRequest, answer: Exclude<ModelAnswer, { status: number }>) {
  const { text = null, calls = [] } = typeof answer === 'string' ? { text: answer } : answer;
  const toolCalls = calls.map(({ name, arguments: args }, at) => ({
    id: `call_${request.messages.length}_${at}`,
    type: 'function',
    function: { name, arguments: typeof args === 'string' ? args : JSON.stringify(args) },
  }));
  const message = { role: 'assistant', content: text, ...(calls.length > 0 ? { tool_calls: toolCalls } : {}) };
  const choice = { index: 0, finish_reason: calls.length > 0 ? 'tool_calls' : 'stop', message };
  return { id: 'fake', object: 'chat.completion', created: 1, model: request.model, choices: [choice] };
}
