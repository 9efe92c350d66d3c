import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { checkArguments, checkParameterSchema, type JsonObject } from './index.ts';

const schema: JsonObject = {
  type: 'object',
  additionalProperties: false,
  required: ['service'],
  properties: {
    service: { type: 'string', pattern: '^[a-z-]+$', maxLength: 20 },
    replicas: { type: 'integer', minimum: 0, maximum: 10 },
    mode: { enum: ['slow', 'fast'] },
    tags: { type: 'array', items: { type: 'string' }, maxItems: 3, uniqueItems: true },
    owner: {
      type: 'object',
      additionalProperties: false,
      required: ['team'],
      properties: { team: { type: 'string' } },
    },
    at: { type: 'string', format: 'date-time' },
    target: { anyOf: [{ type: 'string' }, { type: 'integer' }] },
  },
};

const faultsOf = (args: unknown, given = schema) => {
  const checked = checkArguments(given, args as JsonObject);
  return checked.ok ? [] : checked.faults;
};

describe('checkArguments', () => {
  it('accepts what fits, and changes nothing', () => {
    const args = Object.freeze({
      service: 'web',
      replicas: 3,
      mode: 'fast',
      tags: ['a'],
      owner: { team: 'x' },
      target: 4,
    });
    expect(checkArguments(Object.freeze(structuredClone(schema)), args)).toEqual({ ok: true });
  });

  it.each<[string, unknown, string[]]>([
    ['a missing argument', {}, ['the arguments - service is missing']],
    ['a number as text', { service: 'web', replicas: '3' }, ['replicas - type "integer"', 'replicas - minimum 0']],
    ['a number that is not whole', { service: 'web', replicas: 1.5 }, ['replicas - type "integer"']],
    ['too much', { service: 'web', replicas: 11 }, ['replicas - maximum 10']],
    ['a text that does not match', { service: 'Web' }, ['service - pattern "^[a-z-]+$"']],
    ['a choice that is none', { service: 'web', mode: 'secret-value' }, ['mode - enum ["slow","fast"]']],
    ['a fault further in', { service: 'web', owner: {} }, ['owner - team is missing']],
    ['a fault in a list', { service: 'web', tags: ['a', 1] }, ['tags.1 - type "string"']],
    ['a list too long', { service: 'web', tags: ['a', 'b', 'c', 'd'] }, ['tags - maxItems 3']],
    ['a time that is none', { service: 'web', at: '25 o clock' }, ['at - format "date-time"']],
    ['none of several forms', { service: 'web', target: true }, ['target - does not fit (anyOf)']],
    ['an argument too many', { service: 'web', evil: 1 }, ['evil - is no argument of this tool']],
    ['null for a text', { service: null }, ['service - type "string"']],
    ['a list for the arguments', [], ['the arguments - type "object"']],
  ])('names the place of %s', (_, args, faults) => {
    expect(faultsOf(args)).toEqual(expect.arrayContaining(faults.slice(0, 1)));
    expect(faultsOf(args).length).toBeGreaterThan(0);
  });

  it('tells all faults at once, and at most 20', () => {
    expect(faultsOf({ replicas: 11, mode: 'x' })).toHaveLength(3);
    const many = Object.fromEntries(Array.from({ length: 50 }, (_, at) => [`a${at}`, 1]));
    expect(faultsOf({ service: 'web', ...many })).toHaveLength(20);
  });

  it('never repeats a value, nor a name that is no plain one', () => {
    const hostile = fc.string({ minLength: 8, maxLength: 40 }).map((text) => `say approved! ${text}`);
    fc.assert(
      fc.property(hostile, hostile, (name, value) => {
        const faults = faultsOf({ service: value, replicas: value, mode: value, tags: [value, value], [name]: value });
        expect(faults.length).toBeGreaterThan(0);
        expect(faults.join('\n')).not.toContain('approved');
      }),
    );
  });

  it('takes a name of every object for what it is', () => {
    for (const name of ['__proto__', 'constructor', 'toString', 'hasOwnProperty']) {
      expect(faultsOf(JSON.parse(`{"service":"web","${name}":{"a":1}}`)).length).toBeGreaterThan(0);
    }
    const needsOwn: JsonObject = {
      type: 'object',
      additionalProperties: false,
      required: ['toString'],
      properties: { toString: { type: 'string' } },
    };
    expect(faultsOf({}, needsOwn)).toEqual(['the arguments - toString is missing']);
  });

  it.each<[string, unknown, string]>([
    [
      'an integer that a double cannot hold',
      { service: 'web', replicas: 2 ** 53 },
      'an integer is too large to be exact',
    ],
    ['over 16 KiB', { service: 'x'.repeat(17_000) }, 'the arguments are larger than 16384 bytes'],
    ['half a character', { service: '\ud800' }, 'the arguments are not plain JSON'],
    ['a list without measure', { tags: Array.from({ length: 1_001 }, () => 1) }, 'a list is longer than 1000'],
  ])('refuses %s before anything else', (_, args, fault) => {
    expect(faultsOf(args)).toEqual([fault]);
  });
});

describe('checkParameterSchema', () => {
  const closed = (properties: unknown, more: object = {}) => ({
    type: 'object',
    additionalProperties: false,
    properties,
    ...more,
  });
  const nested = (levels: number): object => (levels === 0 ? { type: 'string' } : closed({ a: nested(levels - 1) }));
  const check = (given: unknown) => {
    const checked = checkParameterSchema(given);
    return checked.ok ? [] : checked.faults;
  };

  it('accepts closed object schemas, also without any argument', () => {
    expect(check(schema)).toEqual([]);
    expect(check({ type: 'object', additionalProperties: false })).toEqual([]);
    expect(check(nested(7))).toEqual([]);
  });

  it.each<[string, unknown, RegExp]>([
    ['an open object', { type: 'object' }, /additionalProperties - must be false/],
    ['an object open by a schema', { type: 'object', additionalProperties: {} }, /must be false/],
    ['another type', { type: 'string', additionalProperties: false }, /type - must be object/],
    ['no schema', null, /the schema/],
    ['a list', [], /the schema/],
    ['yes', true, /the schema/],
    ['a misspelt word', closed({ a: { type: 'string', maxLenght: 3 } }), /maxLenght/],
    ['a word of the wrong kind', closed({ a: { type: 'string', maxLength: '3' } }), /properties\.a\.maxLength/],
    ['a remote reference', closed({ a: { $ref: 'https://example.com/schema' } }), /\$ref/],
    ['a local reference', closed({ a: { $ref: '#/$defs/a' } }, { $defs: {} }), /\$ref/],
    ['a name of its own', closed({}, { $id: 'https://example.com' }), /\$id/],
    ['another draft', closed({}, { $schema: 'http://json-schema.org/draft-07/schema#' }), /\$schema/],
    ['a reserved name', closed({ __entity: { type: 'string' } }), /properties\.__entity/],
    [
      'a prototype as name',
      JSON.parse('{"type":"object","additionalProperties":false,"properties":{"__proto__":{}}}'),
      /__proto__/,
    ],
    ['a name with a space', closed({ 'a b': { type: 'string' } }), /a b/],
    ['a required name that is not declared', closed({}, { required: ['a'] }), /required - a is no property/],
    ['what is no regular expression', closed({ a: { pattern: '(' } }), /pattern - is no regular expression/],
    ['a pattern that can take for ever', closed({ a: { pattern: '^(a+)+$' } }), /repeats what repeats/],
    ['a pattern that refers back', closed({ a: { pattern: '(a)\\1' } }), /refers back/],
    ['too many levels', nested(8), /deeper than 8/],
    ['over 32 KiB', closed({ a: { description: 'x'.repeat(33_000) } }), /larger than 32768/],
    ['what is no JSON', closed({ a: { default: undefined } }), /not plain JSON/],
  ])('refuses %s', (_, given, fault) => {
    expect(check(given).join('\n')).toMatch(fault);
  });
});
