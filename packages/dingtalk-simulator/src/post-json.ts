import { Agent as HttpAgent, request as httpRequest } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';

export type PostOutcome = { status: number; text: string } | { failed: 'timeout' | 'broken'; error: string };
export type Poster = {
  /** Posts JSON and reads the answer (its first 4,000 bytes), all within `timeoutMs`. Never follows a redirect. */
  post(o: { url: string; headers: Record<string, string>; body: unknown; timeoutMs: number }): Promise<PostOutcome>;
  /** Breaks what is under way. */
  close(): void;
};

const KEPT_ANSWER_BYTES = 4_000;

/**
 * An HTTP caller on Node's own client with kept connections: a load test makes the simulator the busiest caller on
 * the machine, and it should not be the bottleneck.
 */
export function createPoster(): Poster {
  const agents = { 'http:': new HttpAgent({ keepAlive: true }), 'https:': new HttpsAgent({ keepAlive: true }) };
  return {
    post: ({ url, headers, body, timeoutMs }) =>
      new Promise((resolve) => {
        const isTls = url.startsWith('https:');
        const bytes = Buffer.from(JSON.stringify(body));
        const call = (isTls ? httpsRequest : httpRequest)(url, {
          method: 'POST',
          agent: agents[isTls ? 'https:' : 'http:'],
          headers: { 'content-type': 'application/json; charset=utf-8', 'content-length': bytes.length, ...headers },
        });
        let failed: 'timeout' | 'broken' = 'broken';
        const timer = setTimeout(() => {
          failed = 'timeout';
          call.destroy(new Error(`no answer within ${timeoutMs} ms`));
        }, timeoutMs);
        const settle = (outcome: PostOutcome): void => {
          clearTimeout(timer);
          resolve(outcome);
        };
        const fail = (cause: unknown): void =>
          settle({ failed, error: cause instanceof Error ? cause.message : 'failed' });
        call.on('error', fail);
        call.on('response', (response) => {
          readAnswer(response).then((text) => settle({ status: response.statusCode ?? 0, text }), fail);
        });
        call.end(bytes);
      }),
    close: () => {
      for (const agent of Object.values(agents)) agent.destroy();
    },
  };
}

async function readAnswer(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let kept = 0;
  // The answer is read to its end so that the connection can be used again, but only its beginning is kept.
  for await (const chunk of response as AsyncIterable<Buffer>) {
    if (kept < KEPT_ANSWER_BYTES) chunks.push(chunk);
    kept += chunk.length;
  }
  return Buffer.concat(chunks).toString().slice(0, KEPT_ANSWER_BYTES);
}
