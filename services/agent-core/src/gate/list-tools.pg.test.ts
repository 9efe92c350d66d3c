import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { checkArguments, type JsonObject } from '@steward/governance';
import { openAttacked, type AttackDatabase } from '../attacks.test-support.ts';
import { buildTools, createFakeSystem, people } from '../gate.test-support.ts';
import { openTestDatabase, type InboundOptions } from '../testing.ts';
import { sampleArguments } from './list-tools.ts';

let database: AttackDatabase;
let gate: Awaited<ReturnType<typeof openAttacked>>;
const { li, han, wang } = people;
beforeAll(async () => {
  database = await openTestDatabase();
});
beforeEach(async () => {
  gate = await openAttacked(database);
});
afterAll(() => database.close());

const listed = async (who: string, where: InboundOptions = {}) => {
  const [text = ''] = await gate.talk.say(who, '/tools', where);
  return text
    .split('\n')
    .filter((line) => line.startsWith('- '))
    .map((line) => line.replace(/^- \*\*(\w+)\*\* (runs|asks).*$/, '$1 $2'));
};

describe('/tools', () => {
  it('shows what the person may use here and how it is judged, and nothing that would be denied', async () => {
    const everything = ['look runs', 'query_audit runs', 'restart asks', 'say asks', 'scale asks', 'wipe asks'];
    expect(await listed(li)).toEqual(everything);
    expect(await listed(han)).toEqual(everything.filter((tool) => !tool.startsWith('query_audit')));
    expect(await listed(wang)).toEqual(['look runs']);
  });

  it('shows nothing to whom the platform does not vouch for', async () => {
    expect(await listed(li, { requester: { staffId: null } })).toEqual([]);
    expect(await listed(li, { requester: { corpId: 'corp-2' } })).toEqual([]);
  });

  it('shows no destructive tool while the audit log is not sealed', async () => {
    gate = await openAttacked(database, { isAudited: () => Promise.resolve(false) });
    expect(await listed(li)).not.toContain('wipe asks');
  });

  it('shows the tools of its environment alone', async () => {
    const production = { robotCode: 'dingprod', room: 'cid-prod', environment: 'production' as const };
    expect(await listed(li, production)).toEqual(['elsewhere runs']);
  });

  it('is no permission: a tool that is not listed is judged all the same when it is called', async () => {
    expect(await gate.talk.say(wang, '/run restart service=web')).toEqual([expect.stringContaining('forbids')]);
    expect(gate.system.effects).toEqual([]);
    expect(buildTools(createFakeSystem()).has('restart')).toBe(true);
  });
});

describe('arguments made up for a schema', () => {
  const object = (properties: JsonObject, required = Object.keys(properties)): JsonObject => ({
    type: 'object',
    additionalProperties: false,
    properties,
    required,
  });
  it.each<[string, JsonObject]>([
    ['a text', object({ a: { type: 'string', minLength: 3 } })],
    ['a number of at least', object({ a: { type: 'integer', minimum: 7 } })],
    ['a choice', object({ a: { enum: ['x', 'y'] } })],
    ['a constant', object({ a: { const: false } })],
    ['yes or no', object({ a: { type: 'boolean' } })],
    ['a list', object({ a: { type: 'array', items: { type: 'string' } } })],
    ['an object inside', object({ a: object({ b: { type: 'string' } }) })],
    ['nothing that is needed', object({ a: { type: 'string' } }, [])],
  ])('fit where it wants %s', (_, schema) => {
    expect(checkArguments(schema, sampleArguments(schema))).toEqual({ ok: true });
  });
});
