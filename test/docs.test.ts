import { describe, expect, it } from '@jest/globals';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { createEmbedded, migrate } from '@steward/postgres';
import { sql } from 'kysely';
import { blocksOf, codesIn, listFiles, readSources, readText, root, toAnchor, withoutBlocks } from './read-docs.ts';

const documents = listFiles('*.md', 'docs/**/*.md', 'deploy/**/*.md');
const silent = { debug() {}, info() {}, warn() {}, error() {}, child: () => silent };

describe('every document', () => {
  it('links only to files and headings that are there', () => {
    const broken = documents.flatMap((file) =>
      [...withoutBlocks(readText(file)).matchAll(/\]\(([^)\s]+)\)/g)]
        .map(([, target = '']) => target)
        .filter((target) => !/^[a-z]+:/.test(target) && !leadsSomewhere(file, target))
        .map((target) => `${file}: ${target}`),
    );
    expect(broken).toEqual([]);
  });

  it('names only targets of the Makefile', () => {
    const targets = new Set([...readText('Makefile').matchAll(/^([a-z-]+):/gm)].map(([, name]) => name));
    const unknown = documents.flatMap((file) =>
      codeOf(readText(file))
        .flatMap((code) => [...code.matchAll(/\bmake ([a-z][a-z-]*)/g)])
        .flatMap(([, name = '']) => (targets.has(name) ? [] : [`${file}: make ${name}`])),
    );
    expect(unknown).toEqual([]);
  });

  it('names only environment variables that something reads', () => {
    const readers = [
      ...listFiles('packages/**/*.ts', 'services/**/*.ts', 'test/**/*.ts', 'deploy/**/*.ts', 'deploy/secrets/*'),
      ...['docker-compose.yml', 'Makefile', '.env.example', 'deploy/Dockerfile', 'deploy/caddy/Caddyfile'],
    ];
    const read = readers.map(readText).join('\n');
    const unknown = documents.flatMap((file) =>
      [...readText(file).matchAll(/\b(?:STEWARD|DATABASE|AMQP|RABBITMQ|REPLY|DOOR|LOG|COMPOSE|NPM)_[A-Z_]*[A-Z]\b/g)]
        .map(([name]) => name.replace(/_FILE$/, ''))
        .filter((name) => !read.includes(name))
        .map((name) => `${file}: ${name}`),
    );
    expect(unknown).toEqual([]);
  });

  it('names only source files that are there', () => {
    const all = listFiles('**/*.{ts,sql,sh,yaml,yml,js,cedar}');
    const named = /^[\w./-]+\.(?:ts|sql|sh|js)$/;
    const unknown = documents.flatMap((file) =>
      codesIn(withoutBlocks(readText(file)))
        .filter((code) => named.test(code) && !all.some((known) => known === code || known.endsWith(`/${code}`)))
        .map((code) => `${file}: ${code}`),
    );
    expect(unknown).toEqual([]);
  });

  it('tells nothing about the machine or the registry it was written on', () => {
    const telling = /\/(?:work|root|home)\/|localhost:\d{5}|@\d+\.\d+\.\d+\.\d+/;
    expect(documents.filter((file) => telling.test(readText(file)))).toEqual([]);
  });
});

describe('the two READMEs', () => {
  const [english, chinese] = [readText('README.md'), readText('README.zh-CN.md')];

  it('have the same structure', () => {
    expect(structureOf(chinese)).toEqual(structureOf(english));
  });

  it('give the same commands and say the same names', () => {
    const commands = (text: string) => blocksOf(text, 'sh').map((block) => block.replace(/ *#.*$/gm, ''));
    expect(commands(chinese)).toEqual(commands(english));
    const links = (text: string) => [...text.matchAll(/\]\((?!README)([^)]+)\)/g)].map(([, target]) => target);
    expect(links(chinese)).toEqual(links(english));
  });

  it('begin with make demo and make test', () => {
    const [demo, , test] = blocksOf(english, 'sh');
    expect([demo, test]).toEqual(['make demo\n', 'make test\n']);
  });
});

describe('the runbook', () => {
  const runbook = readText('docs/runbook.md');

  it('has only SQL that runs on the migrated schema', async () => {
    const embedded = await createEmbedded({});
    try {
      const { db } = embedded.database<unknown>({ role: null });
      await migrate({ db, log: silent });
      const queries = blocksOf(runbook, 'sql').map((query) =>
        query.replace("'CORRELATION_ID'", "'00000000-0000-7000-8000-000000000000'"),
      );
      expect(queries.length).toBeGreaterThan(8);
      for (const query of queries) await sql.raw(query).execute(db);
    } finally {
      await embedded.close();
    }
  }, 60_000);

  it('describes every metric, and none that is gone', () => {
    const named = (text: string) =>
      new Set([...text.matchAll(/\bsteward_[a-z_]+(?:_total|_seconds|_open|_in_hand)\b/g)].map(([name]) => name));
    expect([...named(runbook)].sort()).toEqual([...named(readSources())].sort());
  });

  it('names only log lines, audit kinds and tables that exist', () => {
    const known = [readSources(), ...listFiles('packages/postgres/migrations/*.sql').map(readText)].join('\n');
    const names = codesIn(withoutBlocks(runbook)).filter((code) => /^[a-z]+(?:\.[a-z_]+)+$/.test(code));
    const isKnown = (name: string) => known.includes(name) || known.includes(`${name} `);
    expect(names.filter((name) => !isKnown(name))).toEqual([]);
    expect(names.length).toBeGreaterThan(8);
  });
});

describe('the other documents', () => {
  it('keep to their length', () => {
    const linesOf = (file: string) => readText(file).split('\n').length - 1;
    expect(linesOf('ARCHITECTURE.md')).toBeLessThanOrEqual(150);
    expect(listFiles('docs/adr/*.md').filter((file) => linesOf(file) > 40)).toEqual([]);
  });

  it('give each decision its context, decision, consequences and alternatives, in numbers without a gap', () => {
    const decisions = listFiles('docs/adr/*.md');
    decisions.forEach((file, at) => {
      expect(path.basename(file)).toMatch(new RegExp(`^${String(at + 1).padStart(4, '0')}-[a-z0-9-]+\\.md$`));
      const headings = [...readText(file).matchAll(/^## (.*)$/gm)].map(([, heading]) => heading);
      expect(headings).toEqual(['Context', 'Decision', 'Consequences', 'Alternatives']);
    });
  });
});

function leadsSomewhere(from: string, target: string): boolean {
  const [file = '', anchor] = target.split('#');
  const found = file === '' ? from : path.join(path.dirname(from), file);
  if (!existsSync(path.join(root, found))) return false;
  if (anchor === undefined || !found.endsWith('.md')) return true;
  const headings = withoutBlocks(readText(found)).matchAll(/^#+ (.*)$/gm);
  return [...headings].some(([, heading = '']) => toAnchor(heading) === decodeURIComponent(anchor));
}

/** What a reader may copy: code spans and blocks. */
function codeOf(text: string): string[] {
  return [...codesIn(withoutBlocks(text)), ...blocksOf(text, 'sh'), ...blocksOf(text, '')];
}

/** The skeleton of a text: each heading's level, each list entry, table row and block, in order. */
function structureOf(text: string): string[] {
  return text.split('\n').flatMap((line) => {
    const mark = /^ *(#+ |- |\d+\. |```\w+|\||$)/.exec(line)?.[1] ?? '';
    return mark === '' ? [] : [mark.trim()];
  });
}
