import { createServer, type IncomingMessage } from 'node:http';
import { z } from 'zod';

const requestSchema = z.object({
  model: z.string(),
  messages: z.array(z.object({ role: z.enum(['system', 'user', 'assistant']), content: z.string() })),
});
export type ModelRequest = z.infer<typeof requestSchema> & { authorization: string };
/** What the model says, or the status it fails with. */
export type ModelAnswer = string | { status: number };

export type FakeModel = {
  baseUrl: string;
  /** Every request so far, in the order of arrival. */
  requests: ModelRequest[];
  behave(behaviour: (request: ModelRequest) => ModelAnswer | Promise<ModelAnswer>): void;
  close(): Promise<void>;
};

/** What the last person said: the plainest honest answer, which carries the question's mark. */
export const lastUserText = ({ messages }: ModelRequest): string =>
  messages.filter(({ role }) => role === 'user').at(-1)?.content ?? '';
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
      const failed = typeof answer !== 'string';
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

function toCompletion(request: ModelRequest, content: string) {
  const choice = { index: 0, finish_reason: 'stop', message: { role: 'assistant', content } };
  return { id: 'fake', object: 'chat.completion', created: 1, model: request.model, choices: [choice] };
}
