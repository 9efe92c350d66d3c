import { createHmac } from 'node:crypto';

/**
 * The signature of a robot callback and of a custom robot's send: base64 of HMAC-SHA256 over `timestamp\nsecret`
 * keyed with the same secret (official docs, robot receive page and custom robot page). Not URL-encoded.
 */
export function buildSign(timestamp: string, secret: string): string {
  return createHmac('sha256', secret).update(`${timestamp}\n${secret}`).digest('base64');
}

/** The signature of an HTTP card callback: over the timestamp alone (official docs, card callback registration). */
export function buildCardSign(timestamp: string, apiSecret: string): string {
  return createHmac('sha256', apiSecret).update(timestamp).digest('base64');
}

export type SignatureFault = 'good' | 'bad' | 'old' | 'missing' | 'replayed';
type Headers = Record<string, string>;

/** Headers of one signed push, honest or faulty as asked; `last` are those of the push before, for a replay. */
export function buildSignedHeaders(o: {
  fault: SignatureFault;
  nowMs: number;
  names: { timestamp: string; sign: string };
  sign: (timestamp: string) => string;
  last: Headers | undefined;
}): Headers {
  const at = (timestamp: string, sign: string): Headers => ({ [o.names.timestamp]: timestamp, [o.names.sign]: sign });
  const timestamp = `${o.nowMs}`;
  switch (o.fault) {
    case 'good':
      return at(timestamp, o.sign(timestamp));
    case 'bad':
      return at(timestamp, o.sign(`${o.nowMs + 1}`));
    case 'old': {
      const old = `${o.nowMs - 2 * 3_600_000}`;
      return at(old, o.sign(old));
    }
    case 'missing':
      return {};
    case 'replayed':
      return o.last ?? at(timestamp, o.sign(timestamp));
  }
}
