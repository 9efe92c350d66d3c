import type { Socket } from 'node:net';
import { AppError } from '@steward/service-kit';
import { exchange, toFailureCode, type Answer, type EgressMethod, type Unclear } from './egress-exchange.ts';
import { openCheckedSocket, realNetwork, type Network } from './egress-socket.ts';

/** A host as the configuration permits it: `host` may have a port. */
export type EgressTarget = { host: string; http: boolean; private: boolean };

export type EgressRequest = {
  target: EgressTarget;
  method: EgressMethod;
  /** Path and query, percent-encoded: `/a/b?c=d`. What a URL parser would change is refused. */
  path: string;
  headers: Readonly<Record<string, string>>;
  body: string | null;
  /** The most of an answer that is taken, also unpacked. */
  maxBytes: number;
  /** For everything: look-up, connection, redirects and the last byte of the answer. */
  timeoutMs: number;
  signal: AbortSignal;
};

/** `not_sent`: no byte of a request was written, certainly. `unclear`: nobody can say what became of it. */
export type EgressResult =
  { kind: 'answered'; status: number; body: string } | { kind: 'not_sent'; code: string } | Unclear;

/** A tool's one way out. Never rejects. */
export type Egress = (request: EgressRequest) => Promise<EgressResult>;

const maxRedirects = 3;
const maxUrlLength = 8_000;
const redirectStatuses: readonly number[] = [301, 302, 303, 307, 308];

/**
 * The way out for every tool: to configured hosts over https (http only where the host says so), at addresses that are
 * checked where the connection is made. GET follows up to 3 redirects of the same origin, each checked anew; nothing
 * else follows any. Proxies named in the environment are not used. `network` stands in for DNS and sockets in tests.
 */
export function createEgress(network: Network = realNetwork): Egress {
  return async (request) => {
    const first = toUrl(request.target, request.path);
    if (first === null) return { kind: 'not_sent', code: 'URL_REFUSED' };
    return withDeadline(request, (signal) => follow(network, request, first, signal));
  };
}

/** The URL of a path at a host, or null if it would be any other than it is written. Pure. */
function toUrl(target: EgressTarget, path: string): URL | null {
  const origin = `${target.http ? 'http' : 'https'}://${target.host}`;
  if (path.length > maxUrlLength || !path.startsWith('/') || !URL.canParse(origin)) return null;
  const base = new URL(origin);
  const isBare = base.pathname === '/' && base.search === '' && base.hash === '' && !hasUser(base);
  if (!isBare || base.hostname === '' || !URL.canParse(`${base.origin}${path}`)) return null;
  const url = new URL(`${base.origin}${path}`);
  const isSame = url.origin === base.origin && `${url.pathname}${url.search}` === path && url.hash === '';
  return isSame && !hasUser(url) ? url : null;
}

const hasUser = (url: URL) => url.username !== '' || url.password !== '';

async function withDeadline(
  request: EgressRequest,
  call: (signal: AbortSignal) => Promise<EgressResult>,
): Promise<EgressResult> {
  const deadline = new AbortController();
  const stop = () => deadline.abort(new AppError('CALL_STOPPED', 'stopped by the caller', { retryable: true }));
  const timer = setTimeout(
    () => deadline.abort(new AppError('CALL_TIMEOUT', 'the time of the call is over', { retryable: true })),
    request.timeoutMs,
  );
  request.signal.addEventListener('abort', stop, { once: true });
  if (request.signal.aborted) stop();
  try {
    return await call(deadline.signal);
  } finally {
    clearTimeout(timer);
    request.signal.removeEventListener('abort', stop);
  }
}

async function follow(
  network: Network,
  request: EgressRequest,
  first: URL,
  signal: AbortSignal,
): Promise<EgressResult> {
  let url = first;
  for (let redirects = 0; ; redirects += 1) {
    const answer = await callOnce(network, request, url, signal);
    if (answer.kind !== 'answered') return answer.kind === 'not_sent' && redirects > 0 ? toUnclear(answer) : answer;
    const isRedirect = redirectStatuses.includes(answer.status) && answer.location !== null;
    if (!isRedirect || request.method !== 'GET') return { kind: 'answered', status: answer.status, body: answer.body };
    const next = toNext(url, answer.location ?? '');
    if (next === null) return { kind: 'unclear', code: 'REDIRECT_REFUSED' };
    if (redirects === maxRedirects) return { kind: 'unclear', code: 'REDIRECTS_TOO_MANY' };
    url = next;
  }
}

/** Where a redirect leads, or null if that is another scheme, host or port. */
function toNext(url: URL, location: string): URL | null {
  if (location.length > maxUrlLength || !URL.canParse(location, url.href)) return null;
  const next = new URL(location, url);
  return next.origin === url.origin && !hasUser(next) ? next : null;
}

/** Of a chain of redirects the first request was sent. */
const toUnclear = ({ code }: { code: string }): Unclear => ({ kind: 'unclear', code });

async function callOnce(
  network: Network,
  request: EgressRequest,
  url: URL,
  signal: AbortSignal,
): Promise<Answer | Unclear | { kind: 'not_sent'; code: string }> {
  const { method, body, maxBytes } = request;
  const headers = { 'user-agent': 'steward', ...request.headers, 'accept-encoding': 'gzip' };
  let socket: Socket;
  try {
    socket = await openCheckedSocket(network, { url, private: request.target.private }, signal);
  } catch (error) {
    return { kind: 'not_sent', code: toFailureCode(error) };
  }
  return exchange(socket, { url, method, headers, body, maxBytes }, signal);
}
