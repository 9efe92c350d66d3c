import { createHash, createHmac, timingSafeEqual } from 'node:crypto';

/** Why a signature was refused. `stale` also covers a timestamp that cannot be read as a clock. */
export type SignatureVerdict = { ok: true } | { ok: false; reason: 'missing' | 'stale' | 'mismatch' };

/** Both directions: the platform's documents allow one hour between its clock and ours. */
export const signatureToleranceMs = 3_600_000;

/**
 * The `sign` header of a robot callback: base64(HMAC-SHA256(appSecret, timestamp + "\n" + appSecret)), not url-encoded.
 * Source: official docs, "robot receives messages". The body is not covered: a captured pair signs any body for an
 * hour, so deduplication by msgId is what stops replays.
 */
export function signRobotCallback(o: { timestamp: string; appSecret: string }): string {
  return hmacSha256(o.appSecret, `${o.timestamp}\n${o.appSecret}`);
}

/** Checks the `timestamp` and `sign` headers of a robot callback in constant time. Pure: the caller brings the clock. */
export function verifyRobotSignature(o: {
  timestamp: string | undefined;
  sign: string | undefined;
  appSecret: string;
  nowMs: number;
}): SignatureVerdict {
  return verify({ ...o, expected: (timestamp) => signRobotCallback({ timestamp, appSecret: o.appSecret }) });
}

/** The `x-ddpaas-signature` header of a card callback: base64(HMAC-SHA256(apiSecret, timestamp)). Official docs, "register card callback". */
export function signCardCallback(o: { timestamp: string; apiSecret: string }): string {
  return hmacSha256(o.apiSecret, o.timestamp);
}

/** Checks `x-ddpaas-signature-timestamp` and `x-ddpaas-signature`. The body is not covered here either. */
export function verifyCardSignature(o: {
  timestamp: string | undefined;
  sign: string | undefined;
  apiSecret: string;
  nowMs: number;
}): SignatureVerdict {
  return verify({ ...o, expected: (timestamp) => signCardCallback({ timestamp, apiSecret: o.apiSecret }) });
}

/** The `sign` query value of a custom group robot, already percent-encoded. Official docs, "custom robot security settings". */
export function signCustomRobot(o: { timestampMs: number; secret: string }): string {
  return encodeURIComponent(hmacSha256(o.secret, `${o.timestampMs}\n${o.secret}`));
}

/** The address of one send by a custom group robot. Built anew for each send: a signed address dies after an hour. */
export function buildCustomRobotUrl(o: {
  oapiUrl: string;
  accessToken: string;
  secret: string | null;
  nowMs: number;
}): string {
  const address = `${o.oapiUrl}/robot/send?access_token=${encodeURIComponent(o.accessToken)}`;
  if (o.secret === null) return address;
  return `${address}&timestamp=${o.nowMs}&sign=${signCustomRobot({ timestampMs: o.nowMs, secret: o.secret })}`;
}

/** Compares two secrets without telling by time where they differ. */
export function equalsInConstantTime(left: string, right: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(left), digest(right));
}

function verify(o: {
  timestamp: string | undefined;
  sign: string | undefined;
  nowMs: number;
  expected: (timestamp: string) => string;
}): SignatureVerdict {
  if (!o.timestamp || !o.sign) return { ok: false, reason: 'missing' };
  // Only plain decimals: what the HMAC covers is the text of the header, so it must have one reading.
  if (!/^\d{1,16}$/.test(o.timestamp)) return { ok: false, reason: 'stale' };
  if (Math.abs(o.nowMs - Number(o.timestamp)) > signatureToleranceMs) return { ok: false, reason: 'stale' };
  return equalsInConstantTime(o.sign, o.expected(o.timestamp)) ? { ok: true } : { ok: false, reason: 'mismatch' };
}

function hmacSha256(key: string, text: string): string {
  return createHmac('sha256', key).update(text, 'utf8').digest('base64');
}
