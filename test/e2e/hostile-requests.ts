import { createHash, createHmac } from 'node:crypto';
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib';
import { encryptEvent, signCardCallback, type EventKeys } from '@steward/dingtalk';

/** What a hostile request comes to: a status and, where a door answers, its code. `closed`: the connection ends without an answer. */
export type Expected = { status: number; code?: string } | 'closed';
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

type Headers = readonly (readonly [string, string])[];
type Http = { method?: string; path?: string; headers?: Headers; body?: Buffer | string; length?: string | null };

const robotPath = '/dingtalk/robot/http';
const cardPath = '/dingtalk/cards/http';
const eventPath = '/dingtalk/events/http';
const malformed = { status: 400, code: 'BODY_MALFORMED' };
const mismatch = { status: 401, code: 'SIGNATURE_MISMATCH' };
const missing = { status: 401, code: 'SIGNATURE_MISSING' };
const stale = { status: 401, code: 'SIGNATURE_STALE' };
const tooLarge = { status: 413, code: 'BODY_TOO_LARGE' };
const encoded = { status: 415, code: 'BODY_ENCODING' };
const nothingThere = { status: 404, code: 'NOT_FOUND' };
const unknownRobot = { status: 404, code: 'UNKNOWN_ROBOT' };
const accepted = { status: 200 };

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

/** All hostile requests, each different, in families. Those that are rightly accepted are there too: they look hostile and are not. */
export function buildHostileRequests(known: Known): HostileRequest[] {
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

  const right = sign(now);
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

  const whole = text();
  for (let end = 0; end < whole.length; end += Math.ceil(whole.length / 24))
    add('truncated', `a body of ${end} of ${whole.length} bytes`, malformed, {
      headers: good,
      body: whole.slice(0, end),
    });
  const notJson: [string, string][] = [
    ['a comma too many', whole.replace(/}$/, ',}')],
    ['a comment', `/* x */${whole}`],
    ['single quotes', whole.replaceAll('"', "'")],
    ['keys without quotes', whole.replace('"msgId"', 'msgId')],
    ['two documents', whole + whole],
    ['something behind it', `${whole}x`],
    ['something before it', `)]}',\n${whole}`],
    ['a byte order mark', `\ufeff${whole}`],
    ['NaN', whole.replace('"2"', 'NaN')],
    ['a hex number', whole.replace('"2"', '0x2')],
    ['a leading zero', whole.replace('"2"', '02')],
    ['a raw newline in a text', whole.replace('hostile', 'hos\ntile')],
    ['a raw NUL in a text', whole.replace('hostile', 'hos\0tile')],
    ['half an escape', whole.replace('hostile', 'hos\\u12')],
    ['an unknown escape', whole.replace('hostile', 'hos\\xtile')],
    ['a form', 'msgId=1&conversationId=2&conversationType=2'],
    ['multipart', '--x\r\nContent-Disposition: form-data; name="msgId"\r\n\r\n1\r\n--x--\r\n'],
    ['XML', '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>'],
    ['YAML', 'msgId: 1\nconversationId: 2\n'],
    ['a script', '<script>alert(1)</script>'],
    ['blanks', '   \r\n\t '],
    ['zero bytes', '\0'.repeat(100)],
  ];
  for (const [name, body] of notJson) add('no JSON', name, malformed, { headers: good, body });
  for (const body of [
    'null',
    'true',
    '1',
    '-0',
    '"text"',
    '[]',
    '[[]]',
    '{}',
    '[{}]',
    `[${whole}]`,
    `{"message":${whole}}`,
    JSON.stringify(whole),
  ])
    add('other JSON', body.slice(0, 20), malformed, { headers: good, body });

  const deep = (depth: number, open: string, close: string) => open.repeat(depth) + close.repeat(depth);
  for (const depth of [100, 1_000, 10_000, 100_000]) {
    add('deep', `${depth} arrays`, malformed, { headers: good, body: deep(depth, '[', ']') });
    add('deep', `${depth} open arrays`, malformed, { headers: good, body: '['.repeat(depth) });
  }
  for (const depth of [100, 1_000, 10_000, 40_000])
    add('deep', `${depth} objects`, malformed, {
      headers: good,
      body: `${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`,
    });
  for (const field of ['msgId', 'conversationId', 'conversationType'])
    add('deep', `2,000 arrays as ${field}`, malformed, {
      headers: good,
      body: text({ [field]: '@' }).replace('"@"', deep(2_000, '[', ']')),
    });

  const identity = ['msgId', 'conversationId', 'conversationType'] as const;
  const wrong: [string, unknown][] = [
    ['absent', undefined],
    ['null', null],
    ['true', true],
    ['empty', ''],
    ['an array', ['x']],
    ['an object', { $ne: null }],
    ['5,000 letters', 'x'.repeat(5_000)],
  ];
  for (const field of identity)
    for (const [name, value] of wrong)
      add('identity', `${field} is ${name}`, malformed, { headers: good, body: text({ [field]: value }) });
  for (const value of ['0', '3', 'group', 3, -1, '2 ', '１'])
    add('identity', `conversationType ${JSON.stringify(value)}`, malformed, {
      headers: good,
      body: text({ conversationType: value }),
    });
  for (const value of [
    'dingother',
    known.robotCode.toUpperCase() + 'X',
    `${known.robotCode} `,
    `${known.robotCode}\u200b`,
    '*',
    '../http',
    '__proto__',
  ])
    add(
      'identity',
      `robotCode ${JSON.stringify(value)}`,
      { status: 400, code: 'ROBOT_MISMATCH' },
      { headers: good, body: text({ robotCode: value }) },
    );

  const withoutId = (extra: string) => text({ msgId: undefined }).replace(/}$/, `,${extra}}`);
  for (const [name, extra] of [
    ['__proto__', '"__proto__":{"msgId":"from-proto"}'],
    ['constructor', '"constructor":{"prototype":{"msgId":"from-constructor"}}'],
    ['a nested __proto__', '"a":{"__proto__":{"msgId":"x"}}'],
    ['an escaped __proto__', '"__pr\\u006fto__":{"msgId":"x"}'],
    ['prototype', '"prototype":{"msgId":"x"}'],
    ['a __proto__ that is null', '"__proto__":null'],
  ] as const)
    add('prototype', `the id by ${name}`, malformed, { headers: good, body: withoutId(extra) });
  for (const [name, extra] of [
    ['__proto__', '"__proto__":{"isAdmin":true,"polluted":"yes"}'],
    ['constructor', '"constructor":{"prototype":{"polluted":"yes"}}'],
    ['toString', '"toString":1,"valueOf":null,"hasOwnProperty":{}'],
  ] as const)
    add('prototype', `${name} beside a whole message`, accepted, {
      headers: good,
      body: text().replace(/}$/, `,${extra}}`),
    });

  const twice = (key: string, last: string) => text().replace(/}$/, `,"${key}":${last}}`);
  add(
    'duplicate keys',
    'robotCode, the last another robot’s',
    { status: 400, code: 'ROBOT_MISMATCH' },
    { headers: good, body: twice('robotCode', '"dingother"') },
  );
  add('duplicate keys', 'msgId, the last one empty', malformed, { headers: good, body: twice('msgId', '""') });
  add('duplicate keys', 'msgId, the last one null', malformed, { headers: good, body: twice('msgId', 'null') });
  add('duplicate keys', 'conversationId, the last an object', malformed, {
    headers: good,
    body: twice('conversationId', '{}'),
  });
  add('duplicate keys', 'msgId twice the same', accepted, { headers: good, body: twice('msgId', `"hostile-twice"`) });

  const big = 'x'.repeat(300 * 1024);
  add('oversized', 'a text of 300 KiB', tooLarge, { headers: good, body: text({ text: { content: big } }) });
  add('oversized', '300 KiB of blanks', tooLarge, { headers: good, body: ' '.repeat(300 * 1024) });
  add('oversized', 'one byte more than allowed', tooLarge, { headers: good, body: ' '.repeat(256 * 1024 + 1) });
  for (const length of ['262145', '1000000000', '9007199254740993'])
    add('oversized', `${length} bytes announced`, tooLarge, { headers: good, length, body: '{' });
  // Nobody announced how much it would be, so what is over is read, and forgotten, until the time is up.
  add(
    'oversized',
    'chunks without an end',
    { status: 408 },
    {
      headers: [...good, ['Transfer-Encoding', 'chunked']],
      length: null,
      body: `10000\r\n${'x'.repeat(0x10000)}\r\n`.repeat(6),
    },
  );
  add('oversized', 'a field name of 200 KiB and no id', malformed, {
    headers: good,
    body: `{"${'k'.repeat(200 * 1024)}":1}`,
  });
  add('oversized', '20,000 fields and no id', malformed, {
    headers: good,
    body: `{${Array.from({ length: 20_000 }, (_, at) => `"k${at}":1`).join(',')}}`,
  });
  add('oversized', 'a number of 100,000 digits', malformed, {
    headers: good,
    body: `{"msgId":[${'9'.repeat(100_000)}]}`,
  });

  const bomb = Buffer.alloc(20 * 1024 * 1024);
  const packed: [string, Buffer][] = [
    ['gzip', gzipSync(bomb)],
    ['deflate', deflateSync(bomb)],
    ['br', brotliCompressSync(bomb.subarray(0, 1024 * 1024))],
    ['GZIP', gzipSync(whole)],
    ['x-gzip', gzipSync(whole)],
    ['gzip, gzip', gzipSync(gzipSync(bomb))],
    ['gzip, identity', gzipSync(whole)],
    ['zstd', Buffer.from('28b52ffd', 'hex')],
    ['compress', Buffer.from('1f9d', 'hex')],
    ['unheard-of', Buffer.from(whole)],
  ];
  for (const [encoding, body] of packed)
    add('compressed', `${encoding}, ${body.length} bytes`, encoded, {
      headers: [...good, ['Content-Encoding', encoding]],
      body,
    });
  add('compressed', 'gzip that nobody announced', malformed, { headers: good, body: gzipSync(whole) });

  const bytesOf = (encoding: BufferEncoding) => Buffer.from(whole, encoding);
  for (const [name, body] of [
    ['UTF-16', bytesOf('utf16le')],
    ['UTF-16 with its mark', Buffer.concat([Buffer.from([0xff, 0xfe]), bytesOf('utf16le')])],
    ['UTF-16, big end first', bytesOf('utf16le').swap16()],
    ['UTF-32', Buffer.from(Array.from(whole).flatMap((letter) => [letter.charCodeAt(0), 0, 0, 0]))],
    ['UTF-7', Buffer.from(`+AHs-${whole.slice(1)}`)],
    ['bytes that are no text', Buffer.from(Array.from({ length: 256 }, (_, at) => at))],
    ['an overlong brace', Buffer.concat([Buffer.from([0xc1, 0xbb]), Buffer.from(whole.slice(1))])],
    ['half a letter at the end', Buffer.concat([Buffer.from(whole.slice(0, -2)), Buffer.from([0xe6, 0x9d])])],
    ['a surrogate in bytes as a brace', Buffer.concat([Buffer.from([0xed, 0xa0, 0x80]), Buffer.from(whole)])],
    ['EBCDIC', Buffer.from('c0f1d0', 'hex')],
  ] as const)
    add('no UTF-8', name, malformed, { headers: good, body });

  for (const path of [robotPath, cardPath, eventPath])
    for (const method of ['GET', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'PROPFIND'])
      add('methods', `${method} ${path}`, nothingThere, {
        method,
        path,
        headers: good,
        body: method === 'GET' ? '' : text(),
      });
  add('methods', 'HEAD', { status: 404 }, { method: 'HEAD', headers: good });
  add('methods', 'TRACE', { status: 404 }, { method: 'TRACE', headers: good });
  add('methods', 'a method in small letters', { status: 400 }, { method: 'post', headers: good, body: text() });
  add('methods', 'a method nobody knows', { status: 400 }, { method: 'HACK', headers: good, body: text() });
  add('methods', 'CONNECT', 'closed', { method: 'CONNECT', path: 'metadata:80', length: null });

  const robots = [
    'nobody',
    '__proto__',
    'constructor',
    'toString',
    'hasOwnProperty',
    'HTTP',
    'http%20',
    'http%00',
    '%68ttp%0d%0a',
    '..%2fhttp',
    'http;admin',
    'ｈｔｔｐ'.normalize('NFC').replace(/./gu, encodeURIComponent),
    "'%20or%20'1'='1",
    '%7b%7b7*7%7d%7d',
    '%3cscript%3e',
    'x'.repeat(2_000),
  ];
  for (const robot of robots)
    add('paths', `robot ${robot.slice(0, 30)}`, unknownRobot, {
      path: `/dingtalk/robot/${robot}`,
      headers: good,
      body: text(),
    });
  for (const path of [
    '/',
    '/dingtalk',
    '/dingtalk/',
    '/dingtalk/robot',
    '/dingtalk/robot/',
    '/dingtalk/robot/http/x',
    '//dingtalk/robot/http',
    '/dingtalk//robot/http',
    '/dingtalk/../dingtalk/robot/http',
    '/admin',
    '/.env',
    '/.git/config',
    '/robot/send',
    '/dingtalk/robot/..%2f..%2fetc%2fpasswd/x',
  ])
    add('paths', path, nothingThere, { path, headers: good, body: text() });
  add('paths', 'half an escape', { status: 400 }, { path: '/dingtalk/robot/%zz', headers: good, body: text() });
  add(
    'paths',
    'a byte that is no UTF-8',
    { status: 400 },
    { path: '/dingtalk/robot/%ff', headers: good, body: text() },
  );
  add(
    'paths',
    'a robot without this door',
    { status: 404, code: 'DOOR_CLOSED' },
    { path: '/dingtalk/robot/stream', headers: good, body: text() },
  );
  add(
    'paths',
    'an address of 20,000 letters',
    { status: 431 },
    { path: `/${'a'.repeat(20_000)}`, headers: good, body: text() },
  );

  const raw = (lines: string, body: string | Buffer = '') =>
    Buffer.concat([Buffer.from(lines, 'latin1'), Buffer.from(body)]);
  const head = `POST ${robotPath} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n`;
  const badRequest = { status: 400 };
  for (const [name, bytes] of [
    ['a header with NUL', raw(`${head}sign: a\0b\r\n\r\n`)],
    ['a header name with a blank', raw(`${head}si gn: a\r\n\r\n`)],
    ['a blank before the colon', raw(`${head}sign : a\r\n\r\n`)],
    ['a header without a name', raw(`${head}: a\r\n\r\n`)],
    ['a header without a colon', raw(`${head}sign\r\n\r\n`)],
    ['a bare CR in a header', raw(`${head}sign: a\rb\r\n\r\n`)],
    ['no host', raw(`POST ${robotPath} HTTP/1.1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`)],
    ['two lengths', raw(`${head}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}`)],
    ['a length that is no number', raw(`${head}Content-Length: two\r\n\r\n{}`)],
    ['a negative length', raw(`${head}Content-Length: -2\r\n\r\n{}`)],
    ['a length with a plus', raw(`${head}Content-Length: +2\r\n\r\n{}`)],
    ['a length in hex', raw(`${head}Content-Length: 0x2\r\n\r\n{}`)],
    ['a length beyond every number', raw(`${head}Content-Length: 99999999999999999999999\r\n\r\n{}`)],
    [
      'length and chunks (smuggling)',
      raw(
        `${head}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /metrics HTTP/1.1\r\nHost: a\r\n\r\n`,
      ),
    ],
    ['chunks and length (smuggling)', raw(`${head}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n`)],
    ['chunked not last', raw(`${head}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n`)],
    ['a blank method', raw(` ${robotPath} HTTP/1.1\r\nHost: a\r\n\r\n`)],
    ['a version from the future', raw(`POST ${robotPath} HTTP/9.9\r\nHost: a\r\n\r\n`)],
    ['an address with a blank', raw('POST /dingtalk/robot/ http HTTP/1.1\r\nHost: a\r\n\r\n')],
    ['the start of HTTP/2', raw('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')],
    ['the start of TLS', Buffer.from('16030100a5010000a10303', 'hex')],
    ['a proxy line', raw(`PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n${head}\r\n`)],
    ['SMTP', raw('EHLO steward\r\nMAIL FROM:<a@b>\r\n\r\n')],
    ['SSH', raw('SSH-2.0-OpenSSH_9.0\r\n\r\n')],
    ['Redis', raw('*1\r\n$4\r\nINFO\r\n\r\n')],
    ['zero bytes', Buffer.alloc(64)],
    ['random bytes', createHash('sha512').update('hostile').digest()],
  ] as const)
    add('wire', name, badRequest, bytes);
  add(
    'wire',
    'headers of 40 KiB',
    { status: 431 },
    { headers: [...good, ['x-big', 'a'.repeat(40_000)]], body: text() },
  );
  add(
    'wire',
    '5,000 headers',
    { status: 431 },
    { headers: [...good, ...Array.from({ length: 5_000 }, (_, at) => [`x-${at}`, 'a'] as const)], body: text() },
  );
  add(
    'wire',
    'an expectation nobody meets',
    { status: 417 },
    { headers: [...good, ['Expect', '200-maybe']], body: text() },
  );
  add(
    'wire',
    'a second request behind a refused one',
    mismatch,
    Buffer.concat([toBytes({ headers: signed(now, 'A'), body: text() }), toBytes({ path: '/metrics', method: 'GET' })]),
  );

  const chunked: Headers = [...good, ['Transfer-Encoding', 'chunked']];
  for (const [name, body] of [
    ['a size that is no number', 'zz\r\n{}\r\n0\r\n\r\n'],
    ['a negative size', '-2\r\n{}\r\n0\r\n\r\n'],
    ['a size beyond every number', 'ffffffffffffffffff\r\n{}\r\n0\r\n\r\n'],
    ['a chunk longer than its size', '1\r\n{}\r\n0\r\n\r\n'],
    ['a size with 0x', '0x2\r\n{}\r\n0\r\n\r\n'],
    ['no size', '\r\n{}\r\n0\r\n\r\n'],
    ['an extension of 40 KiB', `2;${'a'.repeat(40_000)}\r\n{}\r\n0\r\n\r\n`],
  ] as const)
    add('chunks', name, name.startsWith('an extension') ? { status: 413 } : badRequest, {
      headers: chunked,
      length: null,
      body,
    });
  add('chunks', 'a whole message in chunks of a byte', accepted, {
    headers: chunked,
    length: null,
    body: `${Array.from(text())
      .map((letter) => `1\r\n${letter}\r\n`)
      .join('')}0\r\n\r\n`,
  });

  const cardHeaders = (timestamp: string, given: string): Headers => [
    ['x-ddpaas-signature-timestamp', timestamp],
    ['x-ddpaas-signature', given],
  ];
  const cardSign = signCardCallback({ timestamp: now, apiSecret: known.cardSecret });
  const click = JSON.stringify({ outTrackId: 'hostile', userId: 'han', corpId: 'x', content: '{}' });
  for (const [name, expected, headers] of [
    ['no sign', missing, []],
    ['the headers of a robot', missing, good],
    [
      'the robot’s secret',
      mismatch,
      cardHeaders(now, signCardCallback({ timestamp: now, apiSecret: known.appSecret })),
    ],
    ['the robot’s sign', mismatch, cardHeaders(now, right)],
    ['a cut sign', mismatch, cardHeaders(now, cardSign.slice(0, -2))],
    ['an empty sign', missing, cardHeaders(now, '')],
    ['a sign of another time', mismatch, cardHeaders(String(known.nowMs - 1), cardSign)],
    ['a sign in lower case', mismatch, cardHeaders(now, cardSign.toLowerCase())],
    [
      'an old clock',
      stale,
      cardHeaders('1577262236757', signCardCallback({ timestamp: '1577262236757', apiSecret: known.cardSecret })),
    ],
    [
      'a clock that is a word',
      stale,
      cardHeaders('now', signCardCallback({ timestamp: 'now', apiSecret: known.cardSecret })),
    ],
  ] as const)
    add('cards', name, expected, { path: cardPath, headers, body: click });
  for (const [name, body] of [
    ['no JSON', '{'],
    ['an array', '[]'],
    ['null', 'null'],
    ['no track id', JSON.stringify({ userId: 'han', content: '{}' })],
    ['a track id of 5,000 letters', JSON.stringify({ outTrackId: 'x'.repeat(5_000), userId: 'han', content: '{}' })],
    ['a track id that is an object', JSON.stringify({ outTrackId: {}, userId: 'han', content: '{}' })],
    ['the track id by __proto__', '{"__proto__":{"outTrackId":"x"},"userId":"han","content":"{}"}'],
    ['10,000 arrays', deep(10_000, '[', ']')],
  ] as const)
    add('cards', name, malformed, { path: cardPath, headers: cardHeaders(now, cardSign), body });
  add('cards', '300 KiB', tooLarge, { path: cardPath, headers: cardHeaders(now, cardSign), body: big });
  add('cards', 'gzip', encoded, {
    path: cardPath,
    headers: [...cardHeaders(now, cardSign), ['Content-Encoding', 'gzip']],
    body: gzipSync(click),
  });

  const seal = (plain: string, keys = known.events) =>
    encryptEvent(keys, { text: plain, timestamp: now, nonce: 'nonce', random: Buffer.alloc(16, 1) });
  const sealed = seal('{"EventType":"user_leave_org","UserId":["x"]}');
  const query = (
    o: Partial<Record<'signature' | 'timestamp' | 'nonce', string>>,
    from: { msg_signature: string } = sealed,
  ) =>
    `${eventPath}?${new URLSearchParams({ msg_signature: o.signature ?? from.msg_signature, timestamp: o.timestamp ?? now, nonce: o.nonce ?? 'nonce' }).toString()}`;
  const encrypted = JSON.stringify({ encrypt: sealed.encrypt });
  const foreign = seal('{}', { ...known.events, ownerKey: 'somebody-else' });
  const otherKey = seal('{}', { ...known.events, aesKey: `${'B'.repeat(42)}A` });
  for (const [name, expected, path, body] of [
    ['no query', missing, eventPath, encrypted],
    ['half a query', missing, `${eventPath}?timestamp=${now}&nonce=nonce`, encrypted],
    ['an empty signature', missing, query({ signature: '' }), encrypted],
    ['a signature of zeros', mismatch, query({ signature: '0'.repeat(40) }), encrypted],
    ['a cut signature', mismatch, query({ signature: sealed.msg_signature.slice(0, -1) }), encrypted],
    ['a signature in upper case', mismatch, query({ signature: sealed.msg_signature.toUpperCase() }), encrypted],
    ['another nonce', mismatch, query({ nonce: 'other' }), encrypted],
    ['another time', mismatch, query({ timestamp: String(known.nowMs - 1) }), encrypted],
    ['an old time', stale, query({ timestamp: '1577262236757' }), encrypted],
    ['a time that is a word', stale, query({ timestamp: 'now' }), encrypted],
    ['another body', mismatch, query({}), JSON.stringify({ encrypt: foreign.encrypt })],
    ['another owner', mismatch, query({}, foreign), JSON.stringify({ encrypt: foreign.encrypt })],
    ['another key', mismatch, query({}, otherKey), JSON.stringify({ encrypt: otherKey.encrypt })],
    ['no base64', mismatch, query({}), JSON.stringify({ encrypt: '§§§' })],
    ['half a block', mismatch, query({}), JSON.stringify({ encrypt: sealed.encrypt.slice(0, 10) })],
    ['an empty text', mismatch, query({}), JSON.stringify({ encrypt: '' })],
    ['no encrypt', missing, query({}), '{}'],
    ['encrypt that is an array', missing, query({}), '{"encrypt":["x"]}'],
    ['encrypt by __proto__', missing, query({}), `{"__proto__":{"encrypt":"x"}}`],
    ['no JSON', malformed, query({}), '{'],
    ['nothing', malformed, query({}), ''],
    ['100 KiB', tooLarge, query({}), 'x'.repeat(100 * 1024)],
  ] as const)
    add('events', name, expected, { path, body });
  return all;
}
