import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { capOutput, renderJson, selectFields } from './render-tool-output.ts';

describe('fields of an answer', () => {
  const answer = { name: 'web', status: { replicas: 2 }, hosts: [{ name: 'a' }, { name: 'b' }] };

  it('are found by dotted paths, and null where there is nothing', () => {
    expect(selectFields(answer, ['name', 'status.replicas', 'hosts.1.name', 'hosts.2.name', 'gone.x'])).toEqual({
      name: 'web',
      'status.replicas': 2,
      'hosts.1.name': 'b',
      'hosts.2.name': null,
      'gone.x': null,
    });
  });

  it('are never what every object inherits', () => {
    expect(selectFields(answer, ['constructor', '__proto__', 'name.length', 'hosts.map'])).toEqual({
      constructor: null,
      ['__proto__']: null,
      'name.length': null,
      'hosts.map': null,
    });
  });

  it('stand one on a line', () => {
    expect(renderJson(answer)).toBe('name: web\nstatus: {"replicas":2}\nhosts: [{"name":"a"},{"name":"b"}]');
    expect(renderJson([{ a: 1 }, 'b'])).toBe('{"a":1}\nb');
    expect([renderJson('x'), renderJson(1), renderJson(null)]).toEqual(['x', '1', 'null']);
  });
});

describe('an output', () => {
  it('is storable, no longer than its limit, and says that it was cut', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary', maxLength: 400 }),
        fc.integer({ min: 100, max: 300 }),
        (text, maxBytes) => {
          const output = capOutput(text, maxBytes);
          expect(Buffer.byteLength(output)).toBeLessThanOrEqual(maxBytes);
          expect(output).not.toContain('\u0000');
          expect(output.isWellFormed()).toBe(true);
        },
      ),
    );
    expect(capOutput('好'.repeat(100), 100)).toBe(`${'好'.repeat(25)}\n[cut: 300 bytes in all]`);
    expect(capOutput('x'.repeat(100), 100)).toBe('x'.repeat(100));
  });
});
