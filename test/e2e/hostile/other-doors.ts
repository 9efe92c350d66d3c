import { gzipSync } from 'node:zlib';
import { encryptEvent, signCardCallback } from '@steward/dingtalk';
import {
  cardPath,
  eventPath,
  malformed,
  mismatch,
  missing,
  stale,
  tooLarge,
  encoded,
  type Headers,
  type Table,
} from './request.ts';

/** The same for the doors of cards and of encrypted events. */
export function addOtherDoors({ known, now, good, add, right, deep, big }: Table): void {
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
}
