import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { Json } from '@steward/governance';
import { renderBody, renderPath } from './render-http-call.ts';

const path = (service: Json) => renderPath({ path: '/services/{{service}}/restart', query: {} }, { service });
const query = (value: Json) => renderPath({ path: '/search', query: { q: '{{value}}', fixed: 'a b' } }, { value });
const refusal = { code: 'INVALID_ARGUMENTS', retryable: false };

describe('family "arguments in a path"', () => {
  it.each<[string, string, string]>([
    ['a name', 'web-1', '/services/web-1/restart'],
    ['a slash', 'group/project', '/services/group%2Fproject/restart'],
    ['a question mark', 'a?b=c', '/services/a%3Fb%3Dc/restart'],
    ['a fragment', 'a#b', '/services/a%23b/restart'],
    ['a user', 'a@evil.example.com', '/services/a%40evil.example.com/restart'],
    ['a scheme', 'https:x', '/services/https%3Ax/restart'],
    ['a percent sign', '100%', '/services/100%25/restart'],
    ['an encoded slash', 'a%2fb', '/services/a%252fb/restart'],
    ['an ampersand', 'a&b', '/services/a%26b/restart'],
    ['quotes and brackets', `'"()[]*!`, '/services/%27%22%28%29%5B%5D%2A%21/restart'],
    ['another script', '服务', '/services/%E6%9C%8D%E5%8A%A1/restart'],
    ['a template of its own', '{{service}}', '/services/%7B%7Bservice%7D%7D/restart'],
    ['what String.replace would take for a pattern', '$&$1', '/services/%24%26%241/restart'],
    ['dots inside', 'v1..2', '/services/v1..2/restart'],
  ])('keeps %s in its place: %j', (_, value, rendered) => {
    expect(path(value)).toBe(rendered);
  });

  it.each<[string, Json]>([
    ['climbs', '..'],
    ['stays', '.'],
    ['climbs with slashes', '../../admin'],
    ['climbs from inside', 'a/../../admin'],
    ['climbs at the end', 'a/..'],
    ['climbs with backslashes', '..\\admin'],
    ['climbs encoded', '%2e%2e'],
    ['climbs encoded with a slash', '%2e%2e%2fadmin'],
    ['climbs half encoded', '.%2E/admin'],
    ['climbs encoded twice', '%252e%252e%252fadmin'],
    ['climbs encoded five times', '%252525252e%252525252e'],
    ['climbs with path parameters', '..;/admin'],
    ['climbs with a space', '.. /admin'],
    ['begins with a slash', '/admin'],
    ['has an empty part', 'a//b'],
    ['is empty', ''],
    ['is blank', ' '],
    ['has NUL', 'a\u0000b'],
    ['has encoded NUL', 'a%00b'],
    ['has a line end', 'a\r\nHost: evil'],
    ['has an encoded line end', 'a%0d%0ab'],
    ['is half a character', '\ud800'],
    ['is endless', 'a'.repeat(1_001)],
    ['is a list', ['a']],
    ['is an object', { a: 'b' }],
    ['is null', null],
  ])('refuses one that %s: %j', (_, value) => {
    expect(() => path(value)).toThrow(expect.objectContaining(refusal));
  });

  it('refuses two that climb together, and one that is not there, inherited ones included', () => {
    const template = { path: '/a/{{x}}{{y}}/b', query: {} };
    expect(renderPath(template, { x: '1', y: '2' })).toBe('/a/12/b');
    for (const path of ['/a/.{{x}}', '/a/..{{x}}', '/a/../{{x}}', '/a/{{x}}/..'])
      expect(() => renderPath({ path, query: {} }, { x: ';..' })).toThrow(expect.objectContaining(refusal));
    expect(() => renderPath({ path: '/a/{{toString}}', query: {} }, {})).toThrow(expect.objectContaining(refusal));
  });

  it('never changes host, path or query of the template, whatever it is', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 60 }), (value) => {
        let rendered: string;
        try {
          rendered = path(value);
        } catch {
          return;
        }
        const url = new URL(rendered, 'https://api.example.com');
        expect(url.href).toBe(`https://api.example.com${rendered}`);
        const segments = url.pathname.split('/');
        expect([segments.length, segments[1], segments[3], url.search, url.hash]).toEqual([
          4,
          'services',
          'restart',
          '',
          '',
        ]);
        expect(decodeURIComponent(segments[2] ?? '')).toBe(value);
      }),
      { numRuns: 500 },
    );
  });
});

describe('family "arguments in a query"', () => {
  it.each<[Json, string]>([
    ['a', '/search?q=a&fixed=a%20b'],
    [7, '/search?q=7&fixed=a%20b'],
    [false, '/search?q=false&fixed=a%20b'],
    ['a&admin=1', '/search?q=a%26admin%3D1&fixed=a%20b'],
    ['a#b', '/search?q=a%23b&fixed=a%20b'],
    ['a+b', '/search?q=a%2Bb&fixed=a%20b'],
    ['../..', '/search?q=..%2F..&fixed=a%20b'],
    ['a\r\nb', '/search?q=a%0D%0Ab&fixed=a%20b'],
    ["a';--", '/search?q=a%27%3B--&fixed=a%20b'],
    ['', '/search?q=&fixed=a%20b'],
    ['%26', '/search?q=%2526&fixed=a%20b'],
    ['好', '/search?q=%E5%A5%BD&fixed=a%20b'],
  ])('%j stays one value', (value, rendered) => {
    expect(query(value)).toBe(rendered);
  });

  it('leaves out what is optional and absent', () => {
    expect(renderPath({ path: '/search', query: { q: '{{value}}' } }, {})).toBe('/search');
    expect(() => renderPath({ path: '/s', query: { q: 'x{{value}}' } }, {})).toThrow(expect.objectContaining(refusal));
  });
});

describe('a body', () => {
  const body = {
    count: '{{n}}',
    list: ['{{n}}', '{{absent}}', 'v{{n}}'],
    note: '{{absent}}',
    deep: { all: '{{o}}' },
    fixed: 1,
  };

  it('keeps the type of a value that is a whole, and leaves out what is absent', () => {
    const rendered = renderBody({ path: '/', query: {}, body }, { n: 3, o: { a: [null, true] } });
    expect(JSON.parse(rendered ?? '')).toEqual({
      count: 3,
      list: [3, 'v3'],
      deep: { all: { a: [null, true] } },
      fixed: 1,
    });
    expect(renderBody({ path: '/', query: {} }, {})).toBeNull();
  });

  it('cannot be broken out of, and keeps hostile names as plain fields', () => {
    const value = '", "admin": true, "x": "';
    const template = JSON.parse('{"name": "{{v}}", "text": "hello {{v}}", "__proto__": {"a": "{{v}}"}}') as Json;
    const rendered = JSON.parse(renderBody({ path: '/', query: {}, body: template }, { v: value }) ?? '');
    expect(Object.keys(rendered)).toEqual(['name', 'text', '__proto__']);
    expect([rendered.name, rendered.text]).toEqual([value, `hello ${value}`]);
    expect(renderBody({ path: '/', query: {}, body: '{{v}}' }, { v: '{{w}}' })).toBe('"{{w}}"');
  });
});
