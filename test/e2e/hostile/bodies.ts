import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib';
import { malformed, tooLarge, encoded, accepted, type Table } from './request.ts';

/** Bodies that are cut, deep, polluted, too large, compressed, or no text. */
export function addBodies({ known, good, text, add, whole, deep, big }: Table): void {
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
}
