import type { Dispatcher } from 'undici';

/** One POST: answered (whatever the status), certainly not sent, or nobody knows. */
export type PostResult =
  | { kind: 'answered'; httpStatus: number; body: unknown; retryAfterMs: number | null }
  | { kind: 'not_sent' | 'unclear'; code: string };

export const maxAnswerBytes = 65_536;

/** Failures that happen before a byte of the request is written: no name, no route, no connection, no trusted peer. */
const beforeWriting = new Set([
  'ADDRESS_REFUSED',
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ERR_INVALID_URL',
  'UND_ERR_CONNECT_TIMEOUT',
  'CERT_HAS_EXPIRED',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'ERR_TLS_CERT_ALTNAME_INVALID',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
]);

/**
 * POSTs JSON. Never rejects. Redirects are answers, not followed. The decoded body is JSON where it is JSON, else the
 * text, else (over 64 KiB) empty. A timeout, or the end of `signal`, is `unclear`: fetch does not tell whether it had
 * connected. Only a signal that ended before is `not_sent`.
 */
export async function postJson(o: {
  /** POST unless told; cards are updated by PUT. */
  method?: 'POST' | 'PUT';
  url: string;
  body: unknown;
  timeoutMs: number;
  headers?: Record<string, string>;
  signal?: AbortSignal;
  /** Whose connections are used; those of the process unless told. */
  dispatcher?: Dispatcher;
}): Promise<PostResult> {
  if (o.signal?.aborted) return { kind: 'not_sent', code: toFailureCode(o.signal.reason) };
  const timeout = AbortSignal.timeout(o.timeoutMs);
  try {
    const response = await fetch(o.url, {
      method: o.method ?? 'POST',
      // `Accept` matters: without it the gateway may answer XML.
      headers: { 'content-type': 'application/json', accept: 'application/json', ...o.headers },
      body: JSON.stringify(o.body),
      redirect: 'manual',
      signal: o.signal ? AbortSignal.any([timeout, o.signal]) : timeout,
      ...toFetchOptions(o.dispatcher),
    });
    const retryAfterMs = readRetryAfter(response.headers.get('retry-after'));
    return { kind: 'answered', httpStatus: response.status, body: decode(await readLimited(response)), retryAfterMs };
  } catch (error) {
    const code = toFailureCode(error);
    return { kind: beforeWriting.has(code) ? 'not_sent' : 'unclear', code };
  }
}

async function readLimited(response: Response): Promise<string> {
  const stream: ReadableStream<Uint8Array> | null = response.body;
  if (stream === null) return '';
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of stream) {
    bytes += chunk.byteLength;
    // Leaving the loop cancels the stream and closes the connection.
    if (bytes > maxAnswerBytes) return '';
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** Node's own copy of the library declares the class again; what `fetch` needs of it is that it can dispatch. */
const toFetchOptions = (dispatcher: Pick<Dispatcher, 'dispatch'> | undefined): object =>
  dispatcher === undefined ? {} : { dispatcher };

/** `Retry-After` in seconds or as a date (RFC 9110, section 10.2.3), at most ten minutes. */
function readRetryAfter(value: string | null): number | null {
  if (value === null) return null;
  const ms = /^\d{1,9}$/.test(value) ? Number(value) * 1_000 : Date.parse(value) - Date.now();
  return Number.isNaN(ms) ? null : Math.min(Math.max(ms, 0), 600_000);
}

function decode(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** The innermost code: fetch wraps the socket's error as `cause`. Never a text, which may quote the address. */
function toFailureCode(error: unknown): string {
  if (typeof error !== 'object' || error === null) return 'FETCH_FAILED';
  if ('name' in error && error.name === 'TimeoutError') return 'TIMEOUT';
  if ('cause' in error && typeof error.cause === 'object' && error.cause !== null) return toFailureCode(error.cause);
  return 'code' in error && typeof error.code === 'string' ? error.code : 'FETCH_FAILED';
}
