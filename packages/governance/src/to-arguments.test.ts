import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { checkArguments } from './check-arguments.ts';
import { toArguments } from './to-arguments.ts';
import type { JsonObject } from './tool-definition.ts';

const parameters: JsonObject = {
  type: 'object',
  additionalProperties: false,
  properties: {
    service: { type: 'string' },
    replicas: { type: 'integer' },
    share: { type: 'number' },
    force: { type: 'boolean' },
    hosts: { type: 'array', items: { type: 'string' } },
    labels: { type: 'object', additionalProperties: { type: 'string' } },
  },
};

describe('what a person typed, as a tool’s schema asks for it', () => {
  it.each<[Record<string, string>, JsonObject]>([
    [{ service: 'web' }, { service: 'web' }],
    [{ service: '5' }, { service: '5' }],
    [{ service: 'true' }, { service: 'true' }],
    [{ replicas: '5' }, { replicas: 5 }],
    [{ replicas: '-5' }, { replicas: -5 }],
    [{ share: '0.5' }, { share: 0.5 }],
    [{ force: 'true' }, { force: true }],
    [{ force: 'false' }, { force: false }],
    [{ hosts: 'a, b，c' }, { hosts: ['a', 'b', 'c'] }],
    [{ hosts: '["a,b"]' }, { hosts: ['a,b'] }],
    [{ labels: '{"a":"b"}' }, { labels: { a: 'b' } }],
  ])('%j is %j', (typed, args) => {
    expect(toArguments(parameters, typed)).toEqual(args);
    expect(checkArguments(parameters, args)).toEqual({ ok: true });
  });

  it.each<[Record<string, string>]>([
    [{ replicas: '5x' }],
    [{ replicas: '1e3' }],
    [{ replicas: '0x10' }],
    [{ replicas: '５' }],
    [{ replicas: '5.0' }],
    [{ replicas: '99999999999999999999' }],
    [{ replicas: '' }],
    [{ share: 'Infinity' }],
    [{ share: 'NaN' }],
    [{ force: 'yes' }],
    [{ force: 'TRUE' }],
    [{ labels: 'a=b' }],
    [{ hosts: '{"a":1}' }],
    [{ approved: 'true' }],
    [{ constructor: 'x' }],
  ])('%j stays what it is, and the schema refuses it', (typed) => {
    expect(checkArguments(parameters, toArguments(parameters, typed))).toMatchObject({ ok: false });
  });

  it('has no prototype but its own names, whatever is typed', () => {
    const typed = JSON.parse('{"__proto__":"{\\"approved\\":true}","toString":"x"}') as Record<string, string>;
    const args = toArguments(parameters, typed);
    expect(Object.keys(args).toSorted()).toEqual(['__proto__', 'toString']);
    expect(({} as Record<string, unknown>)['approved']).toBeUndefined();
    expect(checkArguments(parameters, args)).toMatchObject({ ok: false });
  });

  it('never throws, and never changes a text that the schema wants as one', () => {
    const names = fc.constantFrom('service', 'replicas', 'share', 'force', 'hosts', 'labels', 'other');
    fc.assert(
      fc.property(fc.dictionary(names, fc.oneof(fc.string({ unit: 'binary' }), fc.json())), (typed) => {
        const args = toArguments(parameters, typed);
        expect(Object.keys(args)).toEqual(Object.keys(typed));
        expect(args['service']).toBe(typed['service']);
      }),
    );
  });
});
