import { createHmac } from 'node:crypto';

/** The headers that prove a robot callback (official docs, robot receive message page): HMAC-SHA256 over time and secret. */
export function signHeaders(appSecret: string, timestampMs = Date.now()): { timestamp: string; sign: string } {
  const timestamp = String(timestampMs);
  return { timestamp, sign: createHmac('sha256', appSecret).update(`${timestamp}\n${appSecret}`).digest('base64') };
}

export type DoorAnswer = { status: number; text: string; retryAfter: string | null };

/** Posts a body as it is; a string is sent unchanged, anything else as JSON. Bounded at 15 s. */
export async function postToDoor(o: {
  url: string;
  headers?: Record<string, string>;
  body: unknown;
  method?: string;
}): Promise<DoorAnswer> {
  const isRaw = typeof o.body === 'string' || o.body instanceof Uint8Array;
  const response = await fetch(o.url, {
    method: o.method ?? 'POST',
    headers: { 'content-type': 'application/json', ...o.headers },
    body: o.method === 'GET' ? undefined : ((isRaw ? o.body : JSON.stringify(o.body)) as string),
    signal: AbortSignal.timeout(15_000),
  });
  return { status: response.status, text: await response.text(), retryAfter: response.headers.get('retry-after') };
}
