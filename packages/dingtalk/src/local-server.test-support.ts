import { createServer } from 'node:http';
import type { IncomingHttpHeaders, RequestListener, Server, ServerResponse } from 'node:http';

export type SeenRequest = { method: string; url: string; headers: IncomingHttpHeaders; body: unknown };
export type LocalServer = {
  url: string;
  requests: SeenRequest[];
  server: Server;
  close: () => Promise<void>;
};

/** A server on a free port of 127.0.0.1 for one test; `answer` sees each decoded request. */
export async function startLocalServer(
  answer: (request: SeenRequest, response: ServerResponse) => void,
): Promise<LocalServer> {
  const requests: SeenRequest[] = [];
  const listener: RequestListener = (incoming, response) => {
    const chunks: Buffer[] = [];
    incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
    incoming.on('end', () => {
      const text = Buffer.concat(chunks).toString('utf8');
      const body: unknown = text === '' ? null : JSON.parse(text);
      const request = { method: incoming.method ?? '', url: incoming.url ?? '', headers: incoming.headers, body };
      requests.push(request);
      answer(request, response);
    });
  };
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const close = async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
  return { url: `http://127.0.0.1:${port}`, requests, server, close };
}

/** Answers with JSON. */
export function answerJson(response: ServerResponse, httpStatus: number, body: unknown): void {
  response.writeHead(httpStatus, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

/** Resolves when the condition holds; looks every few milliseconds, for at most 10 s. */
export async function until(condition: () => boolean): Promise<void> {
  for (const limit = Date.now() + 10_000; !condition();) {
    if (Date.now() > limit) throw new Error('the condition did not hold within 10 s');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
