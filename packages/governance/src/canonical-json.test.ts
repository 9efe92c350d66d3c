import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { canonicalJson, sha256Hex } from './index.ts';

/** The same value with the names of every object in another order. */
function reordered(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(reordered);
  const entries = Object.entries(value).map(([name, part]) => [name, reordered(part)]);
  return Object.fromEntries(entries.toReversed());
}

const json = fc.jsonValue({ maxDepth: 4 }).filter((value) => !JSON.stringify(value).includes('__proto__'));

describe('canonicalJson', () => {
  it('gives one text for one value, whatever the order of names', () => {
    fc.assert(fc.property(json, (value) => canonicalJson(reordered(value)) === canonicalJson(value)));
  });

  it('loses nothing', () => {
    fc.assert(
      fc.property(json, (value) => expect(JSON.parse(canonicalJson(value))).toEqual(JSON.parse(JSON.stringify(value)))),
    );
  });

  it('gives different texts for different values', () => {
    fc.assert(
      fc.property(json, json, (a, b) => {
        const isSame = JSON.stringify(reordered(a)) === JSON.stringify(reordered(b));
        if (canonicalJson(a) === canonicalJson(b)) expect(reordered(reordered(a))).toEqual(reordered(reordered(b)));
        if (isSame) expect(canonicalJson(a)).toBe(canonicalJson(b));
      }),
    );
  });

  it('sorts names by UTF-16 units and writes numbers as RFC 8785 says', () => {
    // The sorting example of RFC 8785 section 3.2.3, and numbers of its appendix B.
    const names = { '\u20ac': 1, '\r': 2, '\ufb33': 3, '1': 4, '\u{1f600}': 5, '\u0080': 6, '\u00f6': 7 };
    expect([...canonicalJson(names).matchAll(/:(\d)/g)].map(([, at]) => Number(at))).toEqual([2, 4, 6, 7, 1, 5, 3]);
    expect(canonicalJson([-0, 1e21, Number('333333333.33333329'), 1e-7])).toBe('[0,1e+21,333333333.3333333,1e-7]');
  });

  it.each<[string, unknown]>([
    ['undefined', undefined],
    ['an undefined field', { a: undefined }],
    ['an undefined element', [undefined]],
    ['a hole in a list', new Array(2)],
    ['NaN', { a: Number.NaN }],
    ['infinity', [Infinity]],
    ['a function', { a: () => 1 }],
    ['a symbol', [Symbol('a')]],
    ['a symbol as name', { [Symbol('a')]: 1 }],
    ['a big integer', 1n],
    ['a date, which would turn into a text', { at: new Date(0) }],
    ['a map, which would turn into {}', new Map([['a', 1]])],
    ['an object that says itself what it is', { toJSON: () => 'other' }],
    ['half a character in a value', '\ud800'],
    ['half a character in a name', { '\udc00': 1 }],
    ['a depth without end', Array.from({ length: 70 }).reduce<unknown>((inner) => [inner], 1)],
  ])('refuses %s', (_, value) => {
    expect(() => canonicalJson(value)).toThrow(expect.objectContaining({ code: 'CANONICAL_JSON_INVALID' }));
  });

  it('hashes the text as UTF-8', () => {
    expect(sha256Hex('abc')).toBe('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
    expect(sha256Hex('审批')).not.toBe(sha256Hex('??'));
  });
});
