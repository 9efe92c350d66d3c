import { existsSync, readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { busMessageSchema, publishers, queues, receiptOf } from '@steward/contracts';

const root = path.join(import.meta.dirname, '..');
const homes = ['packages', 'services'].flatMap((folder) =>
  readdirSync(path.join(root, folder)).map((name) => `${folder}/${name}`),
);

/** Which packages of ours each part may import; its tests may import what they like. */
const mayImport: Record<string, readonly string[]> = {
  'packages/contracts': [],
  'packages/service-kit': [],
  'packages/postgres': ['contracts', 'service-kit'],
  'packages/bus': ['contracts', 'service-kit'],
  'packages/dingtalk': ['service-kit'],
  'packages/dingtalk-simulator': ['service-kit'],
  'packages/governance': ['contracts', 'service-kit'],
  'packages/audit': ['service-kit', 'governance'],
  'packages/cli': ['contracts', 'service-kit', 'postgres', 'governance', 'audit'],
  'packages/stack-setup': ['contracts', 'service-kit'],
  'packages/testkit': ['audit', 'contracts', 'service-kit', 'postgres', 'bus', 'dingtalk-simulator'],
  'services/adapter': ['contracts', 'service-kit', 'postgres', 'bus', 'dingtalk'],
  'services/agent-core': ['contracts', 'service-kit', 'postgres', 'bus', 'governance'],
  'services/audit-sealer': ['service-kit', 'postgres', 'audit'],
  'services/outbound-sender': ['contracts', 'service-kit', 'postgres', 'bus', 'dingtalk'],
};

/** Libraries with one home: whoever wants what they do asks that package. */
const homeOf: Record<string, readonly string[]> = {
  amqplib: ['packages/bus'],
  pg: ['packages/postgres', 'packages/testkit'],
  '@electric-sql/pglite': ['packages/postgres'],
  opossum: ['packages/service-kit'],
  winston: ['packages/service-kit'],
  helmet: ['packages/service-kit'],
  'prom-client': ['packages/service-kit'],
  openai: ['services/agent-core'],
  '@cedar-policy/cedar-wasm': ['packages/governance'],
};

/** A file of a part: where it belongs, its text, and what it imports for use (types cost nothing and bind nothing). */
type Source = { home: string; file: string; name: string; text: string; code: string; isTest: boolean };

/** Tests, what they share, and programs that measure: none of it runs in a deployment. */
const isTestFile = (file: string) =>
  /\.test\.ts$|test-support\.ts$|\/testing\.ts$|bus-contract\.ts$|jest-setup\.ts$|-bench\.ts$/.test(file);
const sources: Source[] = homes.flatMap((home) =>
  readdirSync(path.join(root, home, 'src'), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((inside) => {
      const file = `${home}/src/${inside}`;
      const text = readFileSync(path.join(root, file), 'utf8');
      const code = text.replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, '');
      return { home, file, name: path.basename(inside, '.ts'), text, code, isTest: isTestFile(file) };
    }),
);
const forTests = ['packages/testkit', 'packages/dingtalk-simulator'];
const untested = sources.filter(({ isTest }) => !isTest);
const product = untested.filter(({ home }) => !forTests.includes(home));

/** Module names of imports and re-exports, with `import type` or without. */
function importsOf({ code }: Source, o: { types: boolean }): string[] {
  const statements = code.matchAll(/^(?:import|export)\s+(type\s)?(?:[^'";]*?\sfrom\s+)?'([^']+)'/gm);
  const dynamic = [...code.matchAll(/\bimport\(\s*'([^']+)'/g)].map(([, name = '']) => name);
  return [...statements].flatMap(([, type, name = '']) => (type && !o.types ? [] : [name])).concat(dynamic);
}

/** All faults at once, so that a failure reads as a list of what to mend. */
const expectNone = (faults: string[]) => expect(faults).toEqual([]);

describe('who may import whom', () => {
  it('knows every part', () => {
    expect(Object.keys(mayImport).sort()).toEqual(homes.toSorted());
    expect(sources.length).toBeGreaterThan(100);
    // A witness that imports are found at all.
    expect(sources.flatMap((source) => importsOf(source, { types: true })).length).toBeGreaterThan(400);
  });

  it('holds between our packages, types included', () => {
    expectNone(
      untested.flatMap((source) =>
        importsOf(source, { types: true })
          .filter((name) => name.startsWith('@steward/'))
          .filter((name) => !mayImport[source.home]?.includes(name.slice('@steward/'.length)))
          .map((name) => `${source.file} imports ${name}`),
      ),
    );
  });

  it('lets no relative import leave its part, nor product code import what is for tests', () => {
    expectNone(
      untested.flatMap((source) =>
        importsOf(source, { types: true })
          .filter((name) => name.startsWith('.'))
          .map((name) => path.posix.join(path.posix.dirname(source.file), name))
          .filter((target) => !target.startsWith(`${source.home}/`) || isTestFile(target))
          .map((target) => `${source.file} imports ${target}`),
      ),
    );
  });

  it('lets contracts know zod and nothing else', () => {
    const names = product
      .filter(({ home }) => home === 'packages/contracts')
      .flatMap((source) => importsOf(source, { types: true }));
    expect(new Set(names.filter((name) => !name.startsWith('.')))).toEqual(new Set(['zod']));
  });

  it.each(Object.entries(homeOf))('keeps %s in %j', (library, allowed) => {
    expectNone(
      untested
        .filter(({ home }) => !allowed.includes(home))
        .filter((source) =>
          importsOf(source, { types: true }).some((name) => name === library || name.startsWith(`${library}/`)),
        )
        .map(({ file }) => file),
    );
  });

  it('shows one door for each package, and declares what is imported', () => {
    const faults = homes.flatMap((home) => {
      const manifest = JSON.parse(readFileSync(path.join(root, home, 'package.json'), 'utf8'));
      const declared = { ...manifest.dependencies, ...manifest.devDependencies };
      const missing = untested
        .filter((source) => source.home === home)
        .flatMap((source) => importsOf(source, { types: true }))
        .filter((name) => !/^(node:|\.)/.test(name))
        .map((name) => (name.startsWith('@') ? name.split('/').slice(0, 2).join('/') : name.split('/')[0]))
        .filter((name) => name !== undefined && !(name in declared) && !(`@types/${name}` in declared));
      const exportsOnlyIndex = JSON.stringify(manifest.exports) === '{".":"./src/index.ts"}';
      return [
        ...new Set(missing.map((name) => `${home} does not declare ${String(name)}`)),
        ...(exportsOnlyIndex ? [] : [`${home} exports ${JSON.stringify(manifest.exports)}`]),
      ];
    });
    expectNone(faults);
  });
});

describe('how code is written', () => {
  const pureNames = /^(judge|decide|choose|render|to|classify|verify|build|parse)(-|$)|^signatures$|^retry-schedule$/;
  const impure =
    /\bDate\.now\b|\bnew Date\(\)|\bMath\.random\b|\brandom(UUID|Bytes|Int)\b|\bnewId\(|\bperformance\.now\b|\bprocess\.|\bset(Timeout|Interval|Immediate)\b|\bfetch\(|\bawait\b/;
  const io = /^(node:(?!crypto$|path$|url$|buffer$)|pg$|kysely$|amqplib|express|ws$|openai$|@steward\/(postgres|bus)$)/;

  it('keeps clocks, randomness and I/O out of files whose name promises a pure function', () => {
    const pure = product.filter(({ name }) => pureNames.test(name));
    expect(pure.length).toBeGreaterThan(8);
    expectNone(
      pure.flatMap((source) => [
        ...(impure.exec(source.code)?.slice(0, 1) ?? []).map((found) => `${source.file} uses ${found}`),
        ...importsOf(source, { types: false })
          .filter((name) => io.test(name))
          .map((name) => `${source.file} imports ${name}`),
      ]),
    );
  });

  const meaningless =
    /^(messages?|events?|data|infos?|items?|handles?|process|managers?|helpers?|utils?|tasks?|jobs?)$/i;
  it('names no file and no export by a word that means nothing here', () => {
    expectNone(
      untested.flatMap(({ file, name, code }) => [
        ...(meaningless.test(name) ? [file] : []),
        ...[...code.matchAll(/^export (?:declare )?(?:async )?(?:const|let|function|class|type|interface) (\w+)/gm)]
          .map(([, exported = '']) => exported)
          .filter((exported) => meaningless.test(exported))
          .map((exported) => `${file} exports ${exported}`),
      ]),
    );
  });

  it.each([
    ['a default export', /^export default\b|\bas default\b/m],
    ['code made from text', /\beval\(|\bnew Function\b/],
    ['a silenced rule or type', /eslint-disable|@ts-(?:ignore|expect-error|nocheck)/],
    ['a promise for later', /\b(?:TODO|FIXME|XXX)\b/],
  ])('has nowhere %s', (_, pattern) => {
    // The whole text: the last two hide in comments.
    expectNone(untested.filter(({ text }) => pattern.test(text)).map(({ file }) => file));
  });

  it('starts programs without a shell, and only where starting programs is the point', () => {
    const starters = untested.filter((source) => importsOf(source, { types: false }).includes('node:child_process'));
    // `steward policy diff` reads policies of a git revision: git itself is the only good reader of its objects.
    const mayStart = (source: Source) =>
      forTests.includes(source.home) || source.file === 'packages/cli/src/git-policy.ts';
    expectNone(starters.filter((source) => !mayStart(source)).map(({ file }) => file));
    expectNone(
      starters.filter(({ code }) => /\bshell:\s*true|(?<!\.)\bexec(Sync)?\(/.test(code)).map(({ file }) => file),
    );
  });

  it('has no file over 300 lines', () => {
    expectNone(untested.filter(({ text }) => text.split('\n').length > 301).map(({ file }) => file));
  });

  it('skips no test and runs none alone', () => {
    expectNone(
      sources
        .filter(
          ({ isTest, code }) =>
            isTest && /\b(?:it|test|describe)\.(?:skip|only|todo)\b|\bx(?:it|describe)\(/.test(code),
        )
        .map(({ file }) => file),
    );
  });
});

describe('the bus', () => {
  const types = busMessageSchema.options.map(({ shape }) => shape.type.value);

  it.each(types)('knows who publishes %s, who reads it and what answers it', (type) => {
    expect(publishers[type]).toBeDefined();
    const readers = queues.filter((queue) => (queue.types as readonly string[]).includes(type));
    expect(readers).toHaveLength(1);
    expect(readers[0]?.consumer).not.toBe(publishers[type]);
    const receipt = receiptOf[type];
    // A receipt comes from the reader, goes to the publisher and needs none itself.
    if (receipt !== null) {
      expect(publishers[receipt]).toBe(readers[0]?.consumer);
      expect(queues.find((queue) => (queue.types as readonly string[]).includes(receipt))?.consumer).toBe(
        publishers[type],
      );
      expect(receiptOf[receipt]).toBeNull();
    }
    const page = path.join(root, 'docs/contracts.md');
    if (existsSync(page)) expect(readFileSync(page, 'utf8')).toContain(type);
  });

  it('gives every type a name of the form noun.past-participle.vN', () => {
    for (const type of types) expect(type).toMatch(/^[a-z]+\.[a-z]+\.v\d+$/);
    expect(Object.keys(publishers).sort()).toEqual(types.toSorted());
  });
});
