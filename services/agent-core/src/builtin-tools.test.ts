import { describe, expect, it } from '@jest/globals';
import { builtinToolNames, checkArguments, checkParameterSchema } from '@steward/governance';
import { stewardConfigSchema } from '@steward/service-kit';
import { outboundContentV2Schema, outboundTargetSchema } from '@steward/contracts';
import type { JsonObject } from '@steward/governance';
import { createBuiltinTools } from './builtin-tools.ts';
import type { EgressResult } from './egress.ts';
import type { ToolCallContext } from './tool.ts';
import { answeredJson, buildCallContext, createTestEgress, never } from './tools.test-support.ts';

const robot = { corpId: 'corp-1', appKey: 'k', appSecretFile: 'unused', doors: ['http'] };
const config = stewardConfigSchema.parse({
  robots: [
    { ...robot, code: 'dingtest', name: 'ops', environment: 'test' },
    { ...robot, code: 'dingprod', name: 'ops-prod', environment: 'production' },
  ],
  rooms: [
    { id: 'cid-1', name: 'ops-room', robot: 'ops', environment: 'test' },
    { id: 'cid-2', name: 'other-room', robot: 'ops', environment: 'test' },
    { id: 'cid-secret', name: 'war-room', robot: 'ops-prod', environment: 'production' },
  ],
  people: [{ staffId: 'staff-1', corpId: 'corp-1', name: 'Li **Lei**', roles: ['ops'] }],
  language: 'en',
  tools: {
    prometheus: [
      { environment: 'test', url: 'http://10.0.0.9:9090/prometheus/', tokenFile: 'prometheus.token' },
      { environment: 'production', url: 'https://prometheus.example.com' },
    ],
  },
});

type Entries = Parameters<typeof createBuiltinTools>[0]['readRoomEntries'];
function createAll(o: { answers?: EgressResult[]; readRoomEntries?: Entries; config?: typeof config } = {}) {
  const { egress, asked } = createTestEgress(...(o.answers ?? []));
  const tools = createBuiltinTools({
    config: o.config ?? config,
    egress,
    readSecret: (name) => `content of ${name}`,
    readRoomEntries: o.readRoomEntries ?? (() => Promise.reject(new Error('not to be asked'))),
    now: () => new Date('2026-11-22T08:00:00Z'),
  });
  const find = (name: string) => {
    const tool = tools.find(({ definition }) => definition.name === name);
    if (tool === undefined) throw new Error(`no tool ${name}`);
    return tool;
  };
  const call = (name: string, args: JsonObject, context: Partial<ToolCallContext> = {}) => {
    const { run } = find(name);
    if (run.kind !== 'call') throw new Error('not a call');
    return run.call(args, buildCallContext(context), never);
  };
  const tell = (name: string, args: JsonObject, context: Partial<ToolCallContext> = {}) => {
    const { run } = find(name);
    if (run.kind !== 'tell') throw new Error('tells nothing');
    return run.toRequest(args, buildCallContext(context));
  };
  return { tools, find, call, tell, asked };
}

describe('the built-in tools', () => {
  it('are all there, with their effects, also where nothing is configured for them', () => {
    const bare = { ...config, tools: stewardConfigSchema.shape.tools.parse({}) };
    for (const tools of [createAll().tools, createAll({ config: bare }).tools])
      expect(tools.map(({ definition: { name, effect, repeatable } }) => [name, effect, repeatable])).toEqual([
        ['send_to_group', 'write', false],
        ['list_rooms', 'read', true],
        ['recall_message', 'destructive', true],
        ['query_prometheus', 'read', true],
        ['query_audit', 'read', true],
      ]);
    expect(createAll({ config: bare }).find('query_prometheus').definition.environments).toEqual([]);
    expect(createAll().tools.every(({ definition }) => builtinToolNames.includes(definition.name))).toBe(true);
  });

  it.each(createAll().tools.map(({ definition }) => [definition.name, definition.parameters] as const))(
    '%s has parameters that arguments can be held to',
    (_, parameters) => {
      expect(checkParameterSchema(parameters)).toEqual({ ok: true });
      expect(checkArguments(parameters, { unheard: 'of' })).toMatchObject({ ok: false });
    },
  );
});

describe('send_to_group', () => {
  it('says a text in the named room, quoted, with the name of who asked', () => {
    const told = createAll().tell('send_to_group', { room: 'other-room', text: '# approved\n[x](http://evil.cn)' });
    expect(told).toEqual({
      target: { kind: 'group', robotCode: 'dingtest', conversationId: 'cid-2' },
      content: {
        kind: 'markdown',
        title: 'A word from Steward',
        text: '**Li ＊＊Lei＊＊** asked Steward to say:\n\n> ＃ approved\n>\n> ［x］（http://evil.cn）',
      },
    });
    if ('kind' in told) throw new Error('refused');
    expect([
      outboundTargetSchema.safeParse(told.target).success,
      outboundContentV2Schema.safeParse(told.content).success,
    ]).toEqual([true, true]);
  });

  it('fits a bus message with the longest text', () => {
    const told = createAll().tell('send_to_group', { room: 'ops-room', text: '\n'.repeat(3_999) + 'x' });
    expect('content' in told && outboundContentV2Schema.safeParse(told.content).success).toBe(true);
  });

  it.each<[string, JsonObject, Partial<ToolCallContext>, string]>([
    ['a room of the other environment', { room: 'war-room', text: 'x' }, {}, 'UNKNOWN_ROOM'],
    ['a test room from production', { room: 'ops-room', text: 'x' }, { environment: 'production' }, 'UNKNOWN_ROOM'],
    ['a room by its id', { room: 'cid-2', text: 'x' }, {}, 'UNKNOWN_ROOM'],
    ['no room', { text: 'x' }, {}, 'INVALID_ARGUMENTS'],
    ['no text', { room: 'ops-room', text: ' \n' }, {}, 'INVALID_ARGUMENTS'],
    ['too long a text', { room: 'ops-room', text: 'x'.repeat(4_001) }, {}, 'INVALID_ARGUMENTS'],
    ['a target of its own', { room: 'ops-room', text: 'x', conversationId: 'cid-9' }, {}, 'INVALID_ARGUMENTS'],
  ])('refuses %s', (_, args, context, code) => {
    expect(createAll().tell('send_to_group', args, context)).toMatchObject({ kind: 'failed', code });
  });

  it('spends the budget of the room it speaks in', () => {
    const { definition, budgetOf } = createAll().find('send_to_group');
    expect(definition.limit).toEqual({ calls: 10, perSeconds: 600 });
    expect(budgetOf?.({ room: 'a' })).not.toBe(budgetOf?.({ room: 'b' }));
  });

  it('names a requester who is not configured by the number', () => {
    const requester = { corpId: 'corp-2', staffId: 'staff-1', roles: [] };
    expect(createAll().tell('send_to_group', { room: 'ops-room', text: 'x' }, { requester })).toMatchObject({
      content: { text: '**staff-1** asked Steward to say:\n\n> x' },
    });
  });
});

describe('list_rooms', () => {
  it('names the rooms of this environment, and shows no id and none of the other one', async () => {
    expect(await createAll().call('list_rooms', {})).toEqual({
      kind: 'done',
      output: 'ops-room (robot ops, here)\nother-room (robot ops)',
    });
    expect(await createAll().call('list_rooms', {}, { environment: 'production', conversationId: 'x' })).toEqual({
      kind: 'done',
      output: 'war-room (robot ops-prod)',
    });
  });
});

describe('recall_message', () => {
  const message = '0197a4b2-0000-7000-8000-000000000001';
  it('takes back in this conversation alone', () => {
    const { tell } = createAll();
    const content = { kind: 'recall', outboundMessageId: message };
    expect(tell('recall_message', { message })).toEqual({
      target: { kind: 'group', robotCode: 'dingtest', conversationId: 'cid-1' },
      content,
    });
    expect(tell('recall_message', { message }, { conversationKind: 'single' })).toEqual({
      target: { kind: 'person', robotCode: 'dingtest', staffId: 'staff-1' },
      content,
    });
  });

  it('refuses what is no id, a target of its own, and a person nobody vouches for', () => {
    const { tell } = createAll();
    expect(tell('recall_message', { message: 'last' })).toMatchObject({ code: 'INVALID_ARGUMENTS' });
    expect(tell('recall_message', { message, conversationId: 'cid-2' })).toMatchObject({ code: 'INVALID_ARGUMENTS' });
    const nobody = { conversationKind: 'single', requester: { corpId: 'corp-1', staffId: null, roles: [] } } as const;
    expect(tell('recall_message', { message }, nobody)).toMatchObject({ code: 'UNKNOWN_PERSON' });
  });
});

describe('query_prometheus', () => {
  const vector = (result: unknown[]) => answeredJson({ status: 'success', data: { resultType: 'vector', result } });
  const row = (instance: string, value: string) => ({
    metric: { __name__: 'up', instance },
    value: [1_700_000_000, value],
  });

  it('asks the server of the environment, which may be private, with its token', async () => {
    const { call, asked } = createAll({ answers: [vector([row('a', '1'), row('b', '0')])] });
    expect(await call('query_prometheus', { query: 'up{job="a&b"} + 1', time: '2026-11-22T08:00:00+08:00' })).toEqual({
      kind: 'done',
      output: 'up{instance="a"}  1\nup{instance="b"}  0',
    });
    await call('query_prometheus', { query: 'up' }, { environment: 'production' });
    expect(asked.map(({ target, path, headers }) => [target, path, headers['authorization']])).toEqual([
      [
        { host: '10.0.0.9:9090', http: true, private: true },
        '/prometheus/api/v1/query?timeout=8s&query=up%7Bjob%3D%22a%26b%22%7D+%2B+1&time=2026-11-22T08%3A00%3A00%2B08%3A00',
        'Bearer content of prometheus.token',
      ],
      [{ host: 'prometheus.example.com', http: false, private: true }, '/api/v1/query?timeout=8s&query=up', undefined],
    ]);
  });

  it.each<[string, EgressResult, string]>([
    ['nothing', vector([]), 'no series matches'],
    ['a scalar', answeredJson({ status: 'success', data: { resultType: 'scalar', result: [1, '4.2'] } }), '4.2'],
    ['a histogram', vector([{ metric: {}, histogram: [1, {}] }]), '{}  (histogram)'],
    [
      'a range',
      answeredJson({
        status: 'success',
        data: {
          resultType: 'matrix',
          result: [
            {
              metric: { a: 'b"c' },
              values: [
                [1, '2'],
                [2, '3'],
              ],
            },
          ],
        },
      }),
      '{a="b\\"c"}  3 (last of 2)',
    ],
  ])('shows %s', async (_, answer, output) => {
    expect(await createAll({ answers: [answer] }).call('query_prometheus', { query: 'x' })).toEqual({
      kind: 'done',
      output,
    });
  });

  it('shows fifty series and says how many there are besides', async () => {
    const rows = Array.from({ length: 60 }, (_, at) => row(String(at), '1'));
    const result = await createAll({ answers: [vector(rows)] }).call('query_prometheus', { query: 'up' });
    expect(result).toMatchObject({ output: expect.stringMatching(/^(up.*\n){50}… 10 more$/) });
  });

  it('fails for what it cannot use: it only reads', async () => {
    const failing = async (answer: EgressResult) =>
      (await createAll({ answers: [answer] }).call('query_prometheus', { query: 'x' })) as {
        kind: string;
        code: string;
      };
    expect(await failing(answeredJson({ status: 'error', error: 'parse error' }, 400))).toMatchObject({
      kind: 'failed',
      code: 'HTTP_400',
    });
    expect(await failing({ kind: 'unclear', code: 'CALL_TIMEOUT' })).toMatchObject({
      kind: 'failed',
      code: 'CALL_TIMEOUT',
    });
    expect(await failing(answeredJson({ status: 'success' }))).toMatchObject({
      kind: 'failed',
      code: 'ANSWER_UNREADABLE',
    });
    expect(await failing({ kind: 'answered', status: 200, body: '<html>' })).toMatchObject({
      code: 'ANSWER_UNREADABLE',
    });
  });

  it('is not asked for arguments that do not fit, nor where no server is configured', async () => {
    const { call, asked } = createAll({
      config: { ...config, tools: { ...config.tools, prometheus: config.tools.prometheus.slice(0, 1) } },
    });
    const unfit: JsonObject[] = [
      {},
      { query: '' },
      { query: 'x'.repeat(1_001) },
      { query: 'x', time: 'now' },
      { query: '\ud800' },
      { query: 'x', url: 'y' },
    ];
    for (const args of unfit)
      expect(await call('query_prometheus', args)).toMatchObject({ kind: 'failed', code: 'INVALID_ARGUMENTS' });
    expect(await call('query_prometheus', { query: 'x' }, { environment: 'production' })).toMatchObject({
      code: 'WRONG_ENVIRONMENT',
    });
    expect(asked).toEqual([]);
  });

  it('refuses a URL with a user, a password or more than a path', () => {
    for (const url of ['http://u:hunter2@10.0.0.9', 'http://10.0.0.9/?x=1', 'http://10.0.0.9/#x']) {
      const prometheus = [{ environment: 'test' as const, url }];
      expect(() => createAll({ config: { ...config, tools: { ...config.tools, prometheus } } })).toThrow(
        expect.objectContaining({ code: 'TOOLS_INVALID' }),
      );
    }
  });
});

describe('query_audit', () => {
  const entry = {
    occurred_at: new Date('2026-11-22T07:30:00Z'),
    service: 'agent-core',
    kind: 'turn.ended',
    outcome: 'model',
    actor_staff_id: 'staff-1',
    subject_id: 's-1',
    correlation_id: 'c-1',
    detail: { attempt: 1, token: 'hunter2-hunter2' },
  };

  it('reads this conversation alone, and shows times with their zone and no secret', async () => {
    const asked: unknown[] = [];
    const readRoomEntries: Entries = (o) => {
      asked.push(o);
      return Promise.resolve([entry, { ...entry, outcome: null, actor_staff_id: null, detail: null }]);
    };
    expect(await createAll({ readRoomEntries }).call('query_audit', { minutes: 90, rows: 2 })).toEqual({
      kind: 'done',
      output: [
        '2026-11-22 15:30:00 Asia/Shanghai | agent-core | turn.ended | model | by staff-1 | about s-1 | correlation c-1 | {"attempt":1,"token":"[redacted]"}',
        '2026-11-22 15:30:00 Asia/Shanghai | agent-core | turn.ended | - | by - | about s-1 | correlation c-1 | {}',
      ].join('\n'),
    });
    expect(asked).toEqual([
      { robotCode: 'dingtest', conversationId: 'cid-1', since: new Date('2026-11-22T06:30:00Z'), maxRows: 2 },
    ]);
  });

  it('says when nothing was recorded, and fails when the log cannot be read', async () => {
    const empty = createAll({ readRoomEntries: () => Promise.resolve([]) });
    expect(await empty.call('query_audit', {})).toEqual({
      kind: 'done',
      output: 'nothing was recorded since 2026-11-22 15:00:00 Asia/Shanghai',
    });
    for (const readRoomEntries of [
      () => Promise.reject(new Error('password=x')),
      () => Promise.resolve([{ odd: 1 }]),
    ]) {
      const result = await createAll({ readRoomEntries }).call('query_audit', {});
      expect(result).toEqual({
        kind: 'failed',
        code: 'AUDIT_UNREADABLE',
        text: 'the audit log cannot be read right now',
      });
    }
  });

  it('refuses another conversation, and more than it may show', async () => {
    const unfit: JsonObject[] = [
      { conversationId: 'cid-2' },
      { minutes: 0 },
      { minutes: 10_081 },
      { rows: 51 },
      { rows: 1.5 },
    ];
    for (const args of unfit)
      expect(await createAll().call('query_audit', args)).toMatchObject({ kind: 'failed', code: 'INVALID_ARGUMENTS' });
  });
});
