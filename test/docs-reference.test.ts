import { describe, expect, it } from '@jest/globals';
import { busMessageSchema, publishers, queues, receiptOf } from '@steward/contracts';
import { stewardConfigSchema } from '@steward/service-kit';
import { z } from 'zod';
import { codesIn, namesIn, readSources, readText, rowsOf, sectionOf } from './read-docs.ts';

type Schema = {
  properties?: Record<string, Schema>;
  items?: Schema;
  anyOf?: Schema[];
  oneOf?: Schema[];
  default?: unknown;
};

describe('docs/contracts.md', () => {
  const contracts = readText('docs/contracts.md');
  const topology = sectionOf(contracts, '## Topology');

  it('has the queues as they are declared', () => {
    const declared = queues.map(({ name, consumer, types }) => [name, consumer, ...types]);
    const documented = rowsOf(topology).filter(([first]) => queues.some(({ name }) => first === `\`${name}\``));
    expect(documented.map(([name, consumer = '', types]) => [...codesIn(name), consumer, ...codesIn(types)])).toEqual(
      declared,
    );
  });

  it('has publisher, consumer and receipt of every bus message', () => {
    const documented = rowsOf(topology).filter(([, , , receipt]) => receipt !== undefined);
    const declared = Object.entries(publishers).map(([type, publisher]) => {
      const consumer = queues.find(({ types }) => types.some((wanted) => wanted === type))?.consumer ?? '';
      const receipt = receiptOf[type as keyof typeof receiptOf];
      return [`\`${type}\``, publisher, consumer, receipt === null ? 'none' : `\`${receipt}\``];
    });
    expect(documented.sort()).toEqual(declared.sort());
  });

  it.each(busMessageSchema.options.map((schema) => [schema.shape.type.value, schema] as const))(
    'has the fields of %s and no others',
    (type, schema) => {
      const { properties = {} } = toSchema(schema);
      expect(namesIn(sectionOf(contracts, '## Envelope')).sort()).toEqual(Object.keys(properties).sort());
      const documented = namesIn(sectionOf(contracts, `### \`${type}\``));
      expect(documented.sort()).toEqual(Object.keys(properties.body?.properties ?? {}).sort());
    },
  );

  it('has every field and kind of the shared parts, and none that is gone', () => {
    const shared = sectionOf(contracts, '## Shared parts');
    const nested = busMessageSchema.options.flatMap((schema) =>
      Object.values(toSchema(schema).properties?.body?.properties ?? {}).flatMap(namesOf),
    );
    const kinds = readText('packages/contracts/src/inbound.ts') + readText('packages/contracts/src/outbound.ts');
    const literals = [...kinds.matchAll(/kind: z\.literal\('(\w+)'\)/g)].map(([, kind = '']) => kind);
    const known = new Set([...nested, ...literals]);
    expect([...known].filter((name) => !codesIn(shared).includes(name))).toEqual([]);
    expect(namesIn(shared).filter((name) => !known.has(name))).toEqual([]);
  });
});

describe('docs/errors.md', () => {
  const errors = readText('docs/errors.md');
  const sources = readSources();
  it('has every code that the code gives', () => {
    const thrown = [...sources.matchAll(/new AppError\(\s*'([A-Z_]+)'/g)];
    // Whatever else is written like a code is one, or a setting, or one of Node's own.
    const written = [...sources.matchAll(/'([A-Z]+(?:_[A-Z]+)+)'/g)];
    const given = new Set([...thrown, ...written].map(([, code = '']) => code));
    const others = [readText('docs/configuration.md'), readText('packages/dingtalk/src/post-json.ts')].join('\n');
    // Words of others: Node's own codes, and a kind of place in DingTalk's card API.
    const foreign = /^ERR_|^IM_ROBOT$/;
    const documented = new Set(namesIn(errors));
    expect([...given].filter((code) => !documented.has(code) && !others.includes(code) && !foreign.test(code))).toEqual(
      [],
    );
    expect(given.size).toBeGreaterThan(50);
  });

  it('has no code that is gone', () => {
    expect(namesIn(errors).filter((code) => !new RegExp(`['\`]${code}['\`/]`).test(sources))).toEqual([]);
  });

  it('has the status of every refusal at a door', () => {
    const declared = [...readText('services/adapter/src/door-refusal.ts').matchAll(/^ {2}([A-Z_]+): (\d{3}),$/gm)];
    const documented = rowsOf(sectionOf(errors, '## Refusals at a door')).filter(([, status]) => status !== '–');
    expect(documented.map(([code, status]) => [codesIn(code)[0], status])).toEqual(
      declared.map(([, code, status]) => [code, status]),
    );
  });
});

describe('docs/configuration.md', () => {
  const configuration = readText('docs/configuration.md');

  it('has every key of steward.yaml with its default, and none that is gone', () => {
    const declared = keysOf(toSchema(stewardConfigSchema), '');
    const rows = rowsOf(sectionOf(configuration, '## config/steward.yaml'));
    const documented = new Map(rows.map(([key, value = '']) => [codesIn(key)[0] ?? '', value]));
    expect([...documented.keys()].sort()).toEqual(declared.map(({ key }) => key).sort());
    for (const { key, fallback } of declared)
      if (fallback !== undefined) expect({ key, value: documented.get(key) }).toEqual({ key, value: fallback });
  });

  it('has every environment variable of every service, and none that is gone', () => {
    const rows = rowsOf(sectionOf(configuration, '## Environment of the services'));
    for (const service of ['adapter', 'agent-core', 'outbound-sender', 'audit-sealer']) {
      const main = readText(`services/${service}/src/main.ts`);
      const read = [...main.matchAll(/^ {2}([A-Z_]+): z\.(.*),$/gm)];
      const declared = read.map(([, name = '', rule = '']) => [name, /default\('?([^')]+)'?\)/.exec(rule)?.[1]]);
      const own = rows.filter(
        ([, services = '']) => services.startsWith('all') || services.split(', ').includes(service),
      );
      const documented = own.map(([name, , value]) => [codesIn(name)[0], codesIn(value)[0]]);
      expect([service, ...documented.sort()]).toEqual([
        service,
        ...declared.map(([name, value]) => [name, value?.replaceAll('_', /^\d/.test(value) ? '' : '_')]).sort(),
      ]);
    }
  });

  it('has every setting of the compose stack with its default, and none that is gone', () => {
    const compose = readText('docker-compose.yml');
    const declared = new Map<string, string>();
    for (const [, name = '', value] of compose.matchAll(/\$\{([A-Z_]+)(?::-([^}]*))?/g))
      if (!declared.has(name) || value !== undefined) declared.set(name, value ?? '');
    declared.set('COMPOSE_PROFILES', '');
    const rows = rowsOf(sectionOf(configuration, '## Settings of the compose stack'));
    const documented = rows.map(([name, value]) => [codesIn(name)[0], codesIn(value)[0] ?? '']);
    expect(documented.sort()).toEqual([...declared].sort());
  });
});

function toSchema(schema: z.ZodType): Schema {
  return z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }) as Schema;
}

/** The names of all properties below a schema, through lists and unions. */
function namesOf({ properties = {}, items, anyOf = [], oneOf = [] }: Schema): string[] {
  const below = [...Object.values(properties), ...anyOf, ...oneOf, ...(items ? [items] : [])];
  return [...Object.keys(properties), ...below.flatMap(namesOf)];
}

/** Every key as `robots[].name`, and its default as the page shows it. */
function keysOf(schema: Schema, prefix: string): { key: string; fallback: string | undefined }[] {
  return Object.entries(schema.properties ?? {}).flatMap(([name, value]) => {
    const key = `${prefix}${name}`;
    const below = value.items?.properties ? keysOf(value.items, `${key}[].`) : keysOf(value, `${key}.`);
    return [{ key, fallback: toShown(value.default) }, ...below];
  });
}

function toShown(value: unknown): string | undefined {
  if (value === undefined) return undefined;
  if (Array.isArray(value)) return value.length === 0 ? '`[]`' : `\`${value.join(', ')}\``;
  return typeof value === 'string' || typeof value === 'number' ? `\`${value}\`` : '';
}
