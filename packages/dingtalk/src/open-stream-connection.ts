import { z } from 'zod';
import { postJson } from './post-json.ts';
import { cardTopic, robotTopic } from './stream-frame.ts';

/** A WebSocket address with its ticket inside: a credential, good for 90 s and one connection. Or why there is none. */
export type OpenedStream = { ok: true; address: string } | { ok: false; code: string; hint: string };

export type StreamTopics = { robotMessages: boolean; cardCallbacks: boolean; platformEvents: boolean };

const answerSchema = z.object({ endpoint: z.string().max(2_000), ticket: z.string().min(1).max(2_000) });
const refusalSchema = z.object({ code: z.string().regex(/^[\w.-]{1,100}$/) });

const hints = {
  credentials: 'the app key or secret is wrong: look for stray spaces, and whether both belong to the same app',
  refused:
    'the app is not published, its robot is not in Stream mode, the credentials have stray spaces, our egress address ' +
    'is not in the IP allow-list of the app, or a proxy speaks plain http to port 443',
  busy: 'the gateway is overloaded or limits us: it is tried again later',
  unreachable: 'the gateway cannot be reached: check the network, the proxy and the API address',
  unreadable: 'the gateway gave no usable endpoint and ticket: check the API address and any proxy in between',
} as const;

/**
 * Asks the gateway for one connection. Never rejects. What is not subscribed here is never pushed, so topics follow
 * from what somebody receives. Source: official docs, "Stream protocol".
 */
export async function openStreamConnection(o: {
  apiUrl: string;
  clientId: string;
  clientSecret: string;
  topics: StreamTopics;
  timeoutMs: number;
  signal: AbortSignal;
}): Promise<OpenedStream> {
  const posted = await postJson({
    url: `${o.apiUrl}/v1.0/gateway/connections/open`,
    body: {
      clientId: o.clientId,
      clientSecret: o.clientSecret,
      ua: 'steward-ts/0.1.0',
      subscriptions: toSubscriptions(o.topics),
    },
    timeoutMs: o.timeoutMs,
    signal: o.signal,
  });
  if (posted.kind !== 'answered') return { ok: false, code: posted.code, hint: hints.unreachable };
  const { httpStatus, body } = posted;
  if (httpStatus !== 200) return { ok: false, code: toCode(httpStatus, body), hint: toHint(httpStatus) };
  const answer = answerSchema.safeParse(body);
  const address = answer.success ? toAddress(o.apiUrl, answer.data) : null;
  return address === null ? { ok: false, code: 'UNREADABLE_ANSWER', hint: hints.unreadable } : { ok: true, address };
}

function toSubscriptions(topics: StreamTopics): { type: string; topic: string }[] {
  return [
    ...(topics.platformEvents ? [{ type: 'EVENT', topic: '*' }] : []),
    ...(topics.robotMessages ? [{ type: 'CALLBACK', topic: robotTopic }] : []),
    ...(topics.cardCallbacks ? [{ type: 'CALLBACK', topic: cardTopic }] : []),
  ];
}

/** The ticket goes into the query encoded. A plain ws: endpoint is accepted only from a plain http: API (tests). */
function toAddress(apiUrl: string, o: { endpoint: string; ticket: string }): string | null {
  const endpoint = URL.canParse(o.endpoint) ? new URL(o.endpoint) : null;
  const expected = apiUrl.startsWith('https:') ? ['wss:'] : ['ws:', 'wss:'];
  if (endpoint === null || !expected.includes(endpoint.protocol) || endpoint.hash !== '') return null;
  return `${o.endpoint}${endpoint.search === '' ? '?' : '&'}ticket=${encodeURIComponent(o.ticket)}`;
}

function toCode(httpStatus: number, body: unknown): string {
  const refusal = refusalSchema.safeParse(body);
  return refusal.success ? refusal.data.code : `HTTP_${httpStatus}`;
}

function toHint(httpStatus: number): string {
  if (httpStatus === 401) return hints.credentials;
  if (httpStatus === 429 || httpStatus >= 500) return hints.busy;
  return httpStatus >= 400 ? hints.refused : hints.unreadable;
}
