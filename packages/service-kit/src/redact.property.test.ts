import { inspect } from 'node:util';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { createLogger, describeError, registerSecret } from './index.ts';

// Whoever logs a secret does it by accident, in a shape nobody thought of. This tries them: every spelling of every
// secret's name, in every shape a value travels in, wrapped in what programs wrap values in, through the real logger.

const NAMES = [
  'secret|token|password|authorization|cookie|ticket|session|signature|sign|passphrase|credential',
  'session webhook|access token|refresh token|app secret|client secret|api key|aes key|encoding aes key',
  'set cookie|private key|key material|x acs dingtalk access token|proxy authorization|reply key|x dingtalk sign',
]
  .join('|')
  .split('|')
  .map((name) => name.split(' '));

const capital = (word: string): string => word.charAt(0).toUpperCase() + word.slice(1);
const SPELLINGS: ((words: string[]) => string)[] = [
  (words) => words.map((word, at) => (at === 0 ? word : capital(word))).join(''),
  (words) => words.map(capital).join(''),
  (words) => words.join('_'),
  (words) => words.join('-'),
  (words) => words.join('.'),
  (words) => words.map(capital).join('-'),
  (words) => words.join('_').toUpperCase(),
];
const secretName = fc
  .tuple(fc.constantFrom(...NAMES), fc.constantFrom(...SPELLINGS))
  .map(([words, spell]) => spell(words));

/** Begins and ends with marks of its own, so that a half that escapes is found too. */
const secret = fc.stringMatching(/^[A-Za-z0-9+/_=.~-]{8,40}$/).map((core) => `Q9${core}Z7`);

const SHAPES: ((name: string, value: string) => unknown)[] = [
  (name, value) => ({ [name]: value }),
  (name, value) => new Map([[name, value]]),
  (name, value) => ({ [name]: { deeper: [value] } }),
  (name, value) => ['Host', 'h', name, value],
  (name, value) => [[name, value]],
  (name, value) => ({ name, value }),
  (name, value) => ({ key: name, value: [value] }),
  (name, value) => JSON.stringify({ a: 1, [name]: value, b: [2] }),
  (name, value) => `request failed: ${JSON.stringify({ [name]: value, n: 1 })} (gave up)`,
  (name, value) => `request failed: ${JSON.stringify(JSON.stringify({ [name]: value }))} (gave up)`,
  (name, value) => `request failed: ${JSON.stringify({ [name]: [value, { x: value }] })} (gave up)`,
  (name, value) => JSON.stringify({ [name]: value }).slice(0, -5),
  (name, value) => `https://oapi.example.com/p?a=1&${name}=${encodeURIComponent(value)}&b=2`,
  (name, value) => `https://oapi.example.com/p?a=1&${name}=${value}`,
  (name, value) => encodeURIComponent(`https://oapi.example.com/p?${name}=${encodeURIComponent(value)}`),
  (name, value) => new URL(`https://oapi.example.com/p?${name}=${encodeURIComponent(value)}`),
  (name, value) => new URLSearchParams({ [name]: value }),
  (name, value) => `POST / HTTP/1.1\r\nHost: h\r\n${name}: ${value}\r\n\r\n`,
  (name, value) => `level=warn ${name}=${value} n=1`,
  (name, value) => `${name} = '${value}'`,
  (name, value) => inspect({ nested: { [name]: value } }),
  (name, value) => `params["${name}"] => "${value}"`,
  (name, value) => Object.defineProperty({}, name, { enumerable: true, get: () => value }),
  (name, value) => Object.assign(new Error('x'), { response: { headers: { [name]: value } } }),
  (name, value) => new Error(`cannot parse ${JSON.stringify({ [name]: value })}`),
  (name, value) => `${'x '.repeat(2_030)}${name}=${value}`,
  (_, value) => `Authorization failed for Bearer ${value}`,
  (_, value) => `amqp://steward:${value}@rabbit:5672/%2f`,
  (_, value) => new Error(`connect postgres://steward:${value}@db:5432/steward refused`),
];

const WRAPPINGS: ((inner: unknown) => unknown)[] = [
  (inner) => ({ note: inner }),
  (inner) => [inner],
  (inner) => new Map([['note', inner]]),
  (inner) => new Set([inner]),
  (inner) => new Error('outer', { cause: inner }),
  (inner) => new AggregateError([inner], 'several'),
  (inner) => (typeof inner === 'string' ? JSON.stringify(inner) : { inner }),
  (inner) => (typeof inner === 'string' ? JSON.stringify({ body: inner }) : { inner }),
  (inner) => (typeof inner === 'string' ? new Error(inner) : { inner }),
];

const wrapped = fc
  .tuple(secretName, secret, fc.constantFrom(...SHAPES), fc.array(fc.constantFrom(...WRAPPINGS), { maxLength: 3 }))
  .map(([name, value, shape, wrappings]) => ({
    value,
    leak: wrappings.reduce((inner, wrap) => wrap(inner), shape(name, value)),
  }));

describe('a log line', () => {
  it('never shows a secret, whatever its name, shape and wrapping', () => {
    fc.assert(
      fc.property(wrapped, ({ value, leak }) => {
        expectNoTrace(linesOf(leak), value);
      }),
      { numRuns: 1_500 },
    );
  });

  it('never shows a registered value, under any name and in any text', () => {
    const anyText = fc
      .string({ minLength: 8, maxLength: 60, unit: 'binary' })
      .filter((text) => text.trim().length >= 8);
    fc.assert(
      fc.property(anyText, fc.constantFrom(...SHAPES.slice(0, -1)), (value, shape) => {
        const unique = `R4${value}R4`;
        registerSecret(unique);
        const lines = linesOf({
          plain: unique,
          said: `we sent ${unique} twice: ${unique}`,
          odd: shape('note', unique),
        });
        expect(lines).not.toContain(unique);
        expect(lines).not.toContain(JSON.stringify(unique).slice(1, -1));
      }),
      { numRuns: 100 },
    );
  });

  it('is one line of JSON, whatever is logged', () => {
    fc.assert(
      fc.property(
        fc.anything({ withBigInt: true, withMap: true, withSet: true, withDate: true, withNullPrototype: true }),
        (any) => {
          const lines: string[] = [];
          const log = createLogger({ service: 'test', write: (line) => lines.push(line) });
          log.info('probe', { any });
          expect(lines).toHaveLength(1);
          expect(lines[0]).not.toMatch(/[\r\n\u0085\u2028\u2029]/);
          expect(JSON.parse(lines[0] ?? '')).toMatchObject({ service: 'test', event: 'probe' });
        },
      ),
      { numRuns: 500 },
    );
  });
});

/** The same value by each way out: as a field, as a child's field, in the name of the line, as a described error. */
function linesOf(leak: unknown): string {
  const lines: string[] = [];
  const log = createLogger({ service: 'test', write: (line) => lines.push(line) });
  log.info('probe', { leak });
  log.child({ leak }).info('probe');
  if (typeof leak === 'string') log.info(leak);
  log.info('probe', { error: describeError(leak) });
  return lines.join('\n');
}

function expectNoTrace(text: string, value: string): void {
  expect(text).not.toContain(value);
  expect(text).not.toContain(encodeURIComponent(value));
  // Neither its beginning nor its end.
  expect(text).not.toContain(value.slice(0, 8));
  expect(text).not.toContain(value.slice(-8));
}
