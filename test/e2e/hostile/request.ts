import { createHmac } from 'node:crypto';
import type { EventKeys } from '@steward/dingtalk';

/** What a hostile request comes to: a status and, where a door answers, its code. `closed`: the connection ends without an answer. */ export type Expected =
  { status: number; code?: string } | 'closed';
export type HostileRequest = { family: string; name: string; bytes: Buffer; expected: Expected };

/** What somebody needs to know to write requests that are nearly right. */
export type Known = {
  appSecret: string;
  cardSecret: string;
  events: EventKeys;
  robotCode: string;
  conversationId: string;
  nowMs: number;
};

export type Headers = readonly (readonly [string, string])[];
export type Http = {
  method?: string;
  path?: string;
  headers?: Headers;
  body?: Buffer | string;
  length?: string | null;
};

export const robotPath = '/dingtalk/robot/http';
export const cardPath = '/dingtalk/cards/http';
export const eventPath = '/dingtalk/events/http';
export const malformed = { status: 400, code: 'BODY_MALFORMED' };
export const mismatch = { status: 401, code: 'SIGNATURE_MISMATCH' };
export const missing = { status: 401, code: 'SIGNATURE_MISSING' };
export const stale = { status: 401, code: 'SIGNATURE_STALE' };
export const tooLarge = { status: 413, code: 'BODY_TOO_LARGE' };
export const encoded = { status: 415, code: 'BODY_ENCODING' };
export const nothingThere = { status: 404, code: 'NOT_FOUND' };
export const unknownRobot = { status: 404, code: 'UNKNOWN_ROBOT' };
export const accepted = { status: 200 };

/** A request as bytes on the wire, `Connection: close` so that its answer has an end. Nothing is checked: that is the point. */
export function toBytes({ method = 'POST', path = robotPath, headers = [], body = '', length }: Http): Buffer {
  const bytes = Buffer.from(body);
  const announced = length === undefined ? String(bytes.length) : length;
  const lines = [
    `${method} ${path} HTTP/1.1`,
    'Host: steward.test',
    'Connection: close',
    ...headers.map(([name, value]) => `${name}: ${value}`),
    ...(announced === null ? [] : [`Content-Length: ${announced}`]),
  ];
  return Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), bytes]);
}

/** The table that each file of this folder adds to, and what is right, for others to be nearly right. */
export function createTable(known: Known) {
  const sign = (timestamp: string, secret = known.appSecret) =>
    createHmac('sha256', secret).update(`${timestamp}\n${secret}`).digest('base64');
  const now = String(known.nowMs);
  const good: Headers = [
    ['timestamp', now],
    ['sign', sign(now)],
    ['Content-Type', 'application/json'],
  ];
  const signed = (timestamp: string, given: string): Headers => [
    ['timestamp', timestamp],
    ['sign', given],
  ];
  let number = 0;
  const message = (over: Record<string, unknown> = {}) => ({
    msgtype: 'text',
    text: { content: 'hostile' },
    msgId: `hostile-${(number += 1)}`,
    conversationId: known.conversationId,
    conversationType: '2',
    robotCode: known.robotCode,
    ...over,
  });
  const text = (over: Record<string, unknown> = {}) => JSON.stringify(message(over));
  const all: HostileRequest[] = [];
  const add = (family: string, name: string, expected: Expected, bytes: Buffer | Http) =>
    all.push({ family, name, expected, bytes: Buffer.isBuffer(bytes) ? bytes : toBytes(bytes) });
  return {
    ...{ known, now, sign, signed, good, text, add, all },
    right: sign(now),
    /** A message that any door of a robot would take. */
    whole: text(),
    big: 'x'.repeat(300 * 1024),
    deep: (depth: number, open: string, close: string) => open.repeat(depth) + close.repeat(depth),
  };
}
export type Table = ReturnType<typeof createTable>;
