import { createHash } from 'node:crypto';
import {
  robotPath,
  cardPath,
  eventPath,
  mismatch,
  nothingThere,
  unknownRobot,
  accepted,
  toBytes,
  type Headers,
  type Table,
} from './request.ts';

/** Methods, addresses, headers and chunks that nobody honest sends. */
export function addWire({ now, good, signed, text, add }: Table): void {
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
}
