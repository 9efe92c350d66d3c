import { createHash, createHmac } from 'node:crypto';
import { signCardCallback } from '@steward/dingtalk';
import { robotPath, mismatch, missing, stale, type Table } from './request.ts';

/** Signatures that are forged, and clocks that are wrong. */
export function addProofs({ known, sign, now, good, signed, text, add, right }: Table): void {
  const hmac = (algorithm: string, data: string, key = known.appSecret) => createHmac(algorithm, key).update(data);
  const forged: [string, string][] = [
    ['of another secret', sign(now, 'another secret')],
    ['of an empty secret', sign(now, '')],
    ['of the next millisecond', sign(String(known.nowMs + 1))],
    ['in hex', Buffer.from(right, 'base64').toString('hex')],
    ['percent-encoded', encodeURIComponent(right)],
    ['base64url', Buffer.from(right, 'base64').toString('base64url')],
    ['in lower case', right.toLowerCase()],
    ['in upper case', right.toUpperCase()],
    ['reversed', Array.from(right).reverse().join('')],
    ['twice in a row', right + right],
    ['with more after it', `${right}A`],
    ['with more before it', `A${right}`],
    ['in quotes', `"${right}"`],
    ['with its scheme', `HMAC-SHA256 ${right}`],
    ['all zero', Buffer.alloc(32).toString('base64')],
    ['the secret itself', known.appSecret],
    ['of the timestamp alone', hmac('sha256', now).digest('base64')],
    ['of secret and time changed round', hmac('sha256', `${known.appSecret}\n${now}`).digest('base64')],
    ['of time and secret with CRLF', hmac('sha256', `${now}\r\n${known.appSecret}`).digest('base64')],
    ['with the key as data', hmac('sha256', known.appSecret, now).digest('base64')],
    ['of a bare hash', createHash('sha256').update(`${now}\n${known.appSecret}`).digest('base64')],
    ['by SHA-1', hmac('sha1', `${now}\n${known.appSecret}`).digest('base64')],
    ['by MD5', hmac('md5', `${now}\n${known.appSecret}`).digest('base64')],
    ['by SHA-512', hmac('sha512', `${now}\n${known.appSecret}`).digest('base64')],
    ['of a card', signCardCallback({ timestamp: now, apiSecret: known.appSecret })],
    ['of a thousand signs', 'A'.repeat(1_000)],
    ['as JSON', '{"$ne":null}'],
    ['as SQL', `' or 1=1 --`],
    ['as a template', '${sign}'],
    ['as a wildcard', '*'],
    ...[1, 2, 3, 4, 8, 16, 24, 32, 40, 42, 43].map((end): [string, string] => [
      `cut to ${end} letters`,
      right.slice(0, end),
    ]),
    ...[0, 5, 10, 20, 30, 41].map((at): [string, string] => [
      `with letter ${at} changed`,
      right.slice(0, at) + (right[at] === 'A' ? 'B' : 'A') + right.slice(at + 1),
    ]),
  ];
  for (const [name, given] of forged)
    add('forged', `a sign ${name}`, mismatch, { headers: signed(now, given), body: text() });
  add('forged', 'two signs, the first good', mismatch, { headers: [...good, ['sign', 'A']], body: text() });
  add('forged', 'two signs, the last good', mismatch, { headers: [['sign', 'A'], ...good], body: text() });
  add('forged', 'no sign', missing, { headers: [['timestamp', now]], body: text() });
  add('forged', 'an empty sign', missing, { headers: signed(now, ''), body: text() });
  add('forged', 'a sign of blanks', missing, { headers: signed(now, '   '), body: text() });
  add('forged', 'nothing at all', missing, { body: text() });
  add('forged', 'the sign in the query', missing, {
    path: `${robotPath}?timestamp=${now}&sign=${encodeURIComponent(right)}`,
    body: text(),
  });
  add('forged', 'the sign in a cookie', missing, {
    headers: [['Cookie', `timestamp=${now}; sign=${right}`]],
    body: text(),
  });
  add('forged', 'a bearer token instead', missing, { headers: [['Authorization', `Bearer ${right}`]], body: text() });
  add('forged', 'the sign in a trailer', missing, {
    headers: [
      ['Transfer-Encoding', 'chunked'],
      ['Trailer', 'sign, timestamp'],
    ],
    length: null,
    body: `2\r\n{}\r\n0\r\ntimestamp: ${now}\r\nsign: ${right}\r\n\r\n`,
  });

  const hour = 3_600_000;
  const away = [hour + 60_000, 2 * hour, 24 * hour, 30 * 24 * hour, 365 * 24 * hour, 50 * 365 * 24 * hour];
  for (const ms of away) {
    const [before, after] = [String(known.nowMs - ms), String(known.nowMs + ms)];
    add('skewed', `${ms} ms ago`, stale, { headers: signed(before, sign(before)), body: text() });
    add('skewed', `${ms} ms ahead`, stale, { headers: signed(after, sign(after)), body: text() });
  }
  const odd = [
    '0',
    '1',
    '-1',
    `-${now}`,
    `+${now}`,
    `${now}.0`,
    `${now}n`,
    `0x${known.nowMs.toString(16)}`,
    '1.8e12',
    'NaN',
    'Infinity',
    'null',
    'now',
    now.slice(0, 10),
    `${now}000`,
    `${now}${now}`,
    `${now},${now}`,
    `${now} ${now}`,
    `0${now}0`,
    new Date(known.nowMs).toISOString(),
    '9'.repeat(400),
  ];
  for (const timestamp of odd)
    add('skewed', `timestamp ${timestamp.slice(0, 30)}`, stale, {
      headers: signed(timestamp, sign(timestamp)),
      body: text(),
    });
  add(
    'skewed',
    'a timestamp in full-width digits',
    { status: 400 },
    { headers: signed('９９９', right), body: text() },
  );
  add('skewed', 'no timestamp', missing, { headers: [['sign', right]], body: text() });
  add('skewed', 'an empty timestamp', missing, { headers: signed('', sign('')), body: text() });
  add('skewed', 'two timestamps', stale, { headers: [...good, ['timestamp', now]], body: text() });
}
