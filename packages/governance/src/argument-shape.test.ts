import { describe, expect, it } from '@jest/globals';
import { toCedarType, toCedarValue, toShape } from './argument-shape.ts';
import type { Json } from './index.ts';

const schemaOf = (properties: Json, required: Json = []) => ({
  type: 'object',
  additionalProperties: false,
  required,
  properties,
});

describe('what policies see of arguments', () => {
  const closed = { type: 'object', additionalProperties: false, properties: { team: { type: 'string' } } };

  it('is texts, whole numbers, yes and no, lists of one kind and closed objects', () => {
    const { shape, invisible } = toShape(
      schemaOf(
        {
          a: { type: 'string', maxLength: 5 },
          b: { type: 'integer' },
          c: { type: 'boolean' },
          d: { type: 'array', items: { type: 'string' } },
          e: closed,
          f: { enum: ['x', 'y'] },
          g: { const: 3 },
          h: { type: ['string'] },
          i: { type: 'array', items: closed },
        },
        ['a'],
      ),
    );
    expect(invisible).toEqual([]);
    const team = { type: 'Record', attributes: { team: { type: 'String', required: false } } };
    expect(toCedarType(shape)).toEqual({
      type: 'Record',
      attributes: {
        a: { type: 'String', required: true },
        b: { type: 'Long', required: false },
        c: { type: 'Boolean', required: false },
        d: { type: 'Set', element: { type: 'String' }, required: false },
        e: { ...team, required: false },
        f: { type: 'String', required: false },
        g: { type: 'Long', required: false },
        h: { type: 'String', required: false },
        i: { type: 'Set', element: team, required: false },
      },
    });
  });

  it.each<[string, Json, string]>([
    ['a', { type: 'number' }, 'type number'],
    ['a', { type: 'null' }, 'type null'],
    ['a', { type: ['string', 'null'] }, 'more than one type'],
    ['a', {}, 'more than one type'],
    ['a', { anyOf: [{ type: 'string' }] }, 'more than one type'],
    ['a', { enum: ['x', 1] }, 'more than one type'],
    ['a', { enum: [null] }, 'more than one type'],
    ['a', { const: 1.5 }, 'type number'],
    ['a', { type: 'object', properties: {} }, 'names that are not known beforehand'],
    ['a[]', { type: 'array' }, 'no schema'],
    ['a[]', { type: 'array', items: { type: 'number' } }, 'type number'],
    ['a.b', { ...closed, properties: { b: { type: 'number' } } }, 'type number'],
  ])('is not %s of %j', (path, schema, why) => {
    expect(toShape(schemaOf({ a: schema })).invisible).toEqual([{ path, why }]);
  });

  it('leaves out what is not visible and keeps the rest', () => {
    const { shape } = toShape(schemaOf({ a: { type: 'string' }, b: { type: 'number' } }));
    expect(toCedarValue(shape, { a: 'x', b: 1.5 })).toEqual({ a: 'x' });
  });

  it.each<[string, Json]>([
    ['another type', { a: 1 }],
    ['a name that the tool does not declare', { z: 1 }],
    ['a number that is not whole', { b: 1.5 }],
    ['a number that is not exact', { b: 2 ** 53 }],
    ['an entity in the place of a text', { a: { __entity: { type: 'Steward::Role', id: 'lead' } } }],
    ['an entity beside the arguments', { __entity: { type: 'Steward::Role', id: 'lead' } }],
    ['null', { a: null }],
    ['a list for the arguments', []],
    ['a list for an object', { e: [] }],
    ['an object for a list', { d: {} }],
  ])('refuses %s, rather than decide without having seen it', (_, args) => {
    const { shape } = toShape(
      schemaOf({
        a: { type: 'string' },
        b: { type: 'integer' },
        d: { type: 'array', items: { type: 'string' } },
        e: closed,
      }),
    );
    expect(() => toCedarValue(shape, args)).toThrow(TypeError);
  });
});
