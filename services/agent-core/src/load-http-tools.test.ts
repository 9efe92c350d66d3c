import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from '@jest/globals';
import { parse, stringify } from 'yaml';
import { hashDefinition } from '@steward/governance';
import { AppError, stewardConfigSchema, type StewardConfig } from '@steward/service-kit';
import { loadHttpTools } from './load-http-tools.ts';
import { answeredJson, buildCallContext, createFolders, createTestEgress, never } from './tools.test-support.ts';
import { buildConfig } from './testing.ts';

const { write } = createFolders();
const secretsDir = write({
  'systems.token': 'hunter2-hunter2\n',
  'systems-production.token': 'swordfish-1\n',
  'two.lines': 'a\nb',
});

const tools: StewardConfig['tools'] = {
  hosts: [
    { name: 'systems', host: 'test.example.com', environments: ['test'], private: false, http: false },
    { name: 'systems', host: '10.0.0.5:8080', environments: ['production'], private: true, http: true },
    { name: 'only-test', host: 'only.example.com', environments: ['test'], private: false, http: false },
  ],
  secrets: [
    { name: 'systems', file: 'systems.token', environments: ['test'] },
    { name: 'systems', file: 'systems-production.token', environments: ['production'] },
    { name: 'lost', file: 'lost.token', environments: ['test'] },
    { name: 'two-lines', file: 'two.lines', environments: ['test'] },
  ],
  prometheus: [],
};

const service = { type: 'string', pattern: '^[a-z-]{1,40}$' };
const restart = {
  name: 'restart_service',
  description: 'Restarts a service.',
  effect: 'write',
  environments: ['test', 'production'],
  parameters: {
    type: 'object',
    additionalProperties: false,
    required: ['service'],
    properties: { service, note: { type: 'string' } },
  },
  request: {
    method: 'POST',
    target: 'systems',
    path: '/services/{{service}}/restart',
    query: { note: '{{note}}' },
    headers: { Authorization: { secret: 'systems', prefix: 'Bearer ' }, 'X-Team': 'ops' },
    body: { reason: '{{note}}', by: 'steward' },
  },
  response: { select: ['state'] },
  preview: { request: { path: '/services/{{service}}' }, select: ['version', 'state'], compare: ['version'] },
};
type Restart = typeof restart;

const load = (files: Record<string, string>, config = tools, egress = createTestEgress().egress) =>
  loadHttpTools({ folder: write(files), config, secretsDir, egress });
const loadOne = async (changes: object = {}, egress = createTestEgress().egress) => {
  const [tool] = await load({ 'a.yaml': stringify({ ...restart, ...changes }) }, tools, egress);
  if (tool === undefined) throw new Error('no tool');
  return tool;
};

async function faultsOf(files: Record<string, string>): Promise<unknown> {
  try {
    await load(files);
    return [];
  } catch (error) {
    if (!(error instanceof AppError) || error.code !== 'TOOLS_INVALID') throw error;
    expect(error.retryable).toBe(false);
    return error.details['faults'];
  }
}
const faultsWith = (changes: object) => faultsOf({ 'a.yaml': stringify({ ...restart, ...changes }) });
const requestWith = (changes: Partial<Record<keyof Restart['request'], unknown>>) =>
  faultsWith({ request: { ...restart.request, ...changes } });
const previewWith = (changes: object) => faultsWith({ preview: { ...restart.preview, ...changes } });

describe('loading HTTP tools', () => {
  it('finds none where there is no folder, or an empty one', async () => {
    expect(await load({})).toEqual([]);
    expect(
      await loadHttpTools({
        folder: '/nonexistent/tools',
        config: tools,
        secretsDir,
        egress: createTestEgress().egress,
      }),
    ).toEqual([]);
  });

  it('takes a file for a tool, and whatever is no *.yaml for none', async () => {
    const loaded = await load({
      'b.yaml': stringify(restart),
      'a.yml': stringify({ ...restart, name: 'other' }),
      'c.yaml.example': 'x: [',
      '.d.yaml': 'x: [',
      'README.md': 'x',
    });
    expect(loaded.map(({ definition }) => definition.name)).toEqual(['other', 'restart_service']);
  });

  it('assumes the worst of what is not declared', async () => {
    const { effect, response, preview, ...bare } = restart;
    expect([effect, response, preview]).not.toContain(undefined);
    const [tool] = await load({ 'a.yaml': stringify(bare) });
    expect(tool?.definition).toMatchObject({
      effect: 'destructive',
      repeatable: false,
      comparedPreviewFields: [],
      limit: null,
    });
    expect(tool?.preview).toBeUndefined();
  });

  it('puts everything that makes the call into the definition, with names of secrets and no value', async () => {
    const { definition } = await loadOne();
    expect(definition.request).toEqual({
      method: 'POST',
      targets: {
        test: { origin: 'https://test.example.com', private: false },
        production: { origin: 'http://10.0.0.5:8080', private: true },
      },
      path: '/services/{{service}}/restart',
      query: { note: '{{note}}' },
      headers: { Authorization: { secret: 'systems', prefix: 'Bearer ' }, 'X-Team': 'ops' },
      body: { reason: '{{note}}', by: 'steward' },
      response: { select: ['state'] },
      preview: {
        request: { path: '/services/{{service}}', query: {} },
        select: ['version', 'state'],
        compare: ['version'],
      },
    });
    expect(definition.comparedPreviewFields).toEqual(['version']);
    expect(JSON.stringify(definition)).not.toMatch(/hunter2|swordfish/);
  });

  it.each<[string, object]>([
    ['a path', { request: { ...restart.request, path: '/services/{{service}}/stop' } }],
    ['a method', { request: { ...restart.request, method: 'PUT' } }],
    ['a body', { request: { ...restart.request, body: { by: 'somebody' } } }],
    ['a header', { request: { ...restart.request, headers: {} } }],
    ['what is compared', { preview: { ...restart.preview, compare: [] } }],
    ['an effect', { effect: 'destructive' }],
    ['a limit', { limit: { calls: 1, perSeconds: 60 } }],
  ])('gives another definition hash when somebody edits %s', async (_, changes) => {
    expect(hashDefinition((await loadOne(changes)).definition)).not.toBe(hashDefinition((await loadOne()).definition));
  });

  it('gives another definition hash when the configuration moves the host', async () => {
    const moved = { ...tools, hosts: tools.hosts.map((host) => ({ ...host, host: `new-${host.host}` })) };
    const [tool] = await load({ 'a.yaml': stringify(restart) }, moved);
    expect(hashDefinition(tool?.definition ?? (await loadOne()).definition)).not.toBe(
      hashDefinition((await loadOne()).definition),
    );
  });

  it('calls the host of the environment, with the secret of the environment', async () => {
    const { egress, asked } = createTestEgress(answeredJson({ state: 'restarting' }));
    const tool = await loadOne({}, egress);
    if (tool.run.kind !== 'call') throw new Error('not a call');
    await tool.run.call({ service: 'web' }, buildCallContext(), never);
    await tool.run.call({ service: 'web' }, buildCallContext({ environment: 'production' }), never);
    expect(asked.map(({ target, headers }) => [target.host, target.private, headers['Authorization']])).toEqual([
      ['test.example.com', false, 'Bearer hunter2-hunter2'],
      ['10.0.0.5:8080', true, 'Bearer swordfish-1'],
    ]);
  });
});

describe('what is refused in a tool', () => {
  it.each<[string, object, string]>([
    ['an unknown key', { colour: 'red' }, 'colour - unknown key'],
    ['a name for no model', { name: 'Restart!' }, 'name - must be a-z, 0-9 and _, beginning with a letter'],
    ['the name of a built-in tool', { name: 'send_to_group' }, 'name - is the name of a built-in tool'],
    [
      'an effect nobody knows',
      { effect: 'harmless' },
      'effect - Invalid option: expected one of "read"|"write"|"destructive"',
    ],
    ['no environment', { environments: [] }, 'environments - Too small: expected array to have >=1 items'],
    [
      'open parameters',
      { parameters: { ...restart.parameters, additionalProperties: true } },
      'parameters.additionalProperties - must be false',
    ],
    [
      'a secret as an argument',
      { parameters: { ...restart.parameters, properties: { service, note: {}, password: { type: 'string' } } } },
      'parameters.password - is the name of a secret, and no secret may be an argument',
    ],
    [
      'a read that deletes',
      { effect: 'read', preview: undefined, request: { ...restart.request, method: 'DELETE' } },
      'request.method - DELETE is no read',
    ],
    ['a preview of a read', { effect: 'read' }, 'preview - a read changes nothing'],
  ])('finds %s', async (_, changes, fault) => {
    expect(await faultsWith(changes)).toContain(`a.yaml: ${fault}`);
  });

  it.each<[string, Partial<Record<keyof Restart['request'], unknown>>, string]>([
    ['a host in the path', { path: 'https://evil.example.com/' }, 'request.path - must be a path'],
    ['another host in the path', { path: '//evil.example.com/' }, 'request.path - must be a path'],
    ['a query in the path', { path: '/a?b={{service}}' }, 'request.path - must be a path'],
    ['a fragment in the path', { path: '/a#b' }, 'request.path - must be a path'],
    ['a step up in the path', { path: '/a/../b' }, 'request.path - must have no part of dots alone'],
    ['an encoded step up', { path: '/a/%2E.' }, 'request.path - must have no part of dots alone'],
    ['an encoded trick in the path', { path: '/a%2' }, 'request.path - must be a path'],
    ['an argument nobody declared', { path: '/{{host}}' }, 'request.path - host is not among the parameters'],
    ['an inherited argument', { path: '/{{constructor}}' }, 'request.path - constructor is not among the parameters'],
    [
      'an optional argument in the path',
      { path: '/{{note}}' },
      'request.path - note must be a required parameter here',
    ],
    [
      'an optional argument inside a text',
      { query: { q: 'x {{note}}' } },
      'request.query.q - note must be a required parameter here',
    ],
    [
      'braces that name nothing',
      { body: { a: '{{ service }}' } },
      'request.body.a - has {{ or }} that name no argument',
    ],
    [
      'an argument as a key',
      { body: { '{{service}}': 1 } },
      'request.body.{{service}} - has {{ or }} that name no argument',
    ],
    [
      'a host nobody permits',
      { target: 'nowhere' },
      'request.target - no entry of tools.hosts has this name for environment test',
    ],
    [
      'a host of one environment',
      { target: 'only-test' },
      'request.target - no entry of tools.hosts has this name for environment production',
    ],
    [
      'a secret nobody permits',
      { headers: { Authorization: { secret: 'lost' } } },
      'request.headers.Authorization - no entry of tools.secrets has this name for environment production',
    ],
    [
      'a secret in a header',
      { headers: { 'X-Api-Key': 'hunter2' } },
      'request.headers.X-Api-Key - must name an entry of tools.secrets; no secret is written here',
    ],
    [
      'a secret by its shape',
      { headers: { 'X-Team': 'Bearer abcdef123456' } },
      'request.headers.X-Team - must name an entry of tools.secrets; no secret is written here',
    ],
    [
      'a secret in a prefix',
      { headers: { 'X-A': { secret: 'systems', prefix: 'token=hunter2 ' } } },
      'request.headers.X-A.prefix - looks like a secret',
    ],
    [
      'a secret in the body',
      { body: { password: 'hunter2' } },
      'request - looks as if a secret were in it; secrets are named under headers',
    ],
    [
      'a secret in the query',
      { query: { access_token: 'hunter2' } },
      'request - looks as if a secret were in it; secrets are named under headers',
    ],
    [
      'an argument in a header',
      { headers: { 'X-Service': '{{service}}' } },
      'request.headers.X-Service - no argument may stand in a header',
    ],
    [
      'a line end in a header',
      { headers: { 'X-A': 'a\r\nHost: evil' } },
      'request.headers.X-A - must be printable ASCII',
    ],
    ['a header twice', { headers: { 'X-A': '1', 'x-a': '2' } }, 'request.headers.x-a - is there twice'],
    ['a body of a GET', { method: 'GET' }, 'request.body - a GET has none'],
    ['a method that nobody needs', { method: 'CONNECT' }, 'request.method - Invalid option'],
  ])('finds %s', async (_, changes, fault) => {
    expect(await requestWith(changes)).toContainEqual(expect.stringContaining(`a.yaml: ${fault}`));
  });

  it.each([
    'Host',
    'host',
    'Connection',
    'Content-Length',
    'Transfer-Encoding',
    'Idempotency-Key',
    'X-Correlation-Id',
    'Proxy-Authorization',
    'Accept-Encoding',
  ])('leaves the header %s to Steward', async (name) => {
    expect(await requestWith({ headers: { [name]: 'x' } })).toEqual([
      expect.stringContaining(`a.yaml: request.headers.${name} -`),
    ]);
  });

  it('finds an argument of the wrong type where it becomes text', async () => {
    const properties = { service, note: { type: 'array', items: { type: 'string' } } };
    const parameters = { ...restart.parameters, properties };
    expect(await faultsWith({ parameters })).toEqual([
      'a.yaml: request.query.note - note must be of type string, integer, number or boolean',
    ]);
  });

  it('finds a preview that cannot be compared, or is more than a look', async () => {
    expect(await previewWith({ compare: ['replicas'] })).toEqual([
      'a.yaml: preview.compare - replicas is not among the selected fields',
    ]);
    expect(await previewWith({ request: { ...restart.preview.request, method: 'POST' } })).toEqual([
      'a.yaml: preview.request.method - unknown key',
    ]);
    expect(await previewWith({ request: { path: '/services/{{note}}' } })).toEqual([
      'a.yaml: preview.request.path - note must be a required parameter here',
    ]);
  });

  it('finds secrets whose files are missing, or hold what no header can carry', async () => {
    const one = {
      environments: ['test'],
      request: { ...restart.request, headers: { A: { secret: 'lost' }, B: { secret: 'two-lines' } } },
    };
    expect(await faultsWith(one)).toEqual([
      expect.stringMatching(/^a\.yaml: lost - secret file .* cannot be read \(ENOENT\)$/),
      'a.yaml: two-lines - its file holds what no header can carry',
    ]);
  });

  it('reports every fault of every file at once, without a value', async () => {
    const bad = 'hunter2-hunter3';
    const faults = await faultsOf({
      'a.yaml': stringify({ ...restart, name: bad, effect: bad, timeoutMs: bad }),
      'b.yaml': stringify({ ...restart, request: { ...restart.request, target: bad, query: { token: bad } } }),
      'c.yaml': stringify(restart),
      'd.yaml': stringify(restart),
      'e.yaml': `a: "${bad}\nb: [`,
      'f.yaml': `name: ${bad}\nname: ${bad}`,
      'g.yaml': `# ${'x'.repeat(70_000)}`,
      'h.yaml': '- a',
      'i.yaml': '',
    });
    expect(new Set((faults as string[]).map((fault) => fault.split(':')[0]))).toEqual(
      new Set('abdefghi'.split('').map((name) => `${name}.yaml`)),
    );
    expect(faults).toContain('d.yaml: name - is the same as in c.yaml');
    expect(JSON.stringify(faults)).not.toContain('hunter');
  });

  it('refuses a YAML bomb', async () => {
    const bomb = [
      'a: &a [x, x, x, x, x, x, x, x, x]',
      ...'bcdefgh'.split('').map((k, n) => `${k}: &${k} [${Array(9).fill(`*${'abcdefg'[n]}`).join(', ')}]`),
    ];
    expect(await faultsOf({ 'a.yaml': bomb.join('\n') })).toEqual(['a.yaml: too many YAML aliases']);
  });
});

describe('the files that come with Steward', () => {
  const read = (path: string) => readFileSync(fileURLToPath(new URL(`../../../${path}`, import.meta.url)), 'utf8');
  const demo = ['list_services', 'service_status', 'restart_service', 'scale_service', 'delete_service'];

  it('loads the tools of the demo with the configuration of the demo', async () => {
    const { tools: config } = stewardConfigSchema.parse(parse(read('deploy/demo-stack/steward.yaml')));
    const folder = fileURLToPath(new URL('../../../deploy/demo-stack/tools', import.meta.url));
    const secrets = write(Object.fromEntries(config.secrets.map(({ file }) => [file, 'a-secret-of-the-demo'])));
    const loaded = await loadHttpTools({ folder, config, secretsDir: secrets, egress: createTestEgress().egress });
    const effects = loaded.map(({ definition }) => [definition.name, definition.effect, definition.repeatable]);
    expect(effects.sort()).toEqual([
      ['delete_service', 'destructive', false],
      ['list_services', 'read', true],
      ['restart_service', 'write', false],
      ['scale_service', 'write', true],
      ['service_status', 'read', true],
    ]);
  });

  it('has examples that load once their hosts and secrets are configured, and none that load before', async () => {
    const names = ['list_services', 'service_status', 'restart_service', 'scale_service', 'delete_service'];
    const files = Object.fromEntries(names.map((name) => [`${name}.yaml`, read(`config/tools/${name}.yaml.example`)]));
    const config = {
      ...buildConfig().tools,
      hosts: [
        {
          name: 'systems',
          host: 'systems.example.com',
          environments: ['test', 'production'],
          private: false,
          http: false,
        },
      ],
      secrets: [{ name: 'systems-token', file: 'systems.token', environments: ['test', 'production'] }],
    } satisfies StewardConfig['tools'];
    expect((await load(files, config)).map(({ definition }) => definition.name)).toEqual(demo.toSorted());
    const fresh = fileURLToPath(new URL('../../../config/tools', import.meta.url));
    const none = { config: buildConfig().tools, secretsDir, egress: createTestEgress().egress };
    expect(await loadHttpTools({ folder: fresh, ...none })).toEqual([]);
  });
});
