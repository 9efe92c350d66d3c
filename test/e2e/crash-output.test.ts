import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { findLeaks, startProcess, type Canary } from '@steward/testkit';
import { root } from './service-replicas.ts';

jest.setTimeout(120_000);

const random = (bytes: number) => randomBytes(bytes).toString('hex');
/** Everything that a service is given and may not repeat, however it ends. */
const secrets = {
  'database password': `pw-${random(12)}`,
  'broker password': `mq-${random(12)}`,
  'app secret': random(24),
  'secret of another robot': random(24),
  'custom robot token': random(32),
  'custom robot secret': `SEC${random(20)}`,
  'reply key': randomBytes(32).toString('base64'),
  'event token': random(12),
  'event key': `${random(21)}A`,
  'card secret': random(20),
  'model key': `sk-${random(20)}`,
  'system token': random(20),
  'seal key': randomBytes(48).toString('base64'),
  'access token': random(16),
  'session webhook': random(16),
  'bearer token': random(18),
  'basic credentials': Buffer.from(`user:${random(10)}`).toString('base64'),
  cookie: random(16),
  'signed header': randomBytes(32).toString('base64'),
  'JSON web token': `eyJ${random(12)}.eyJ${random(12)}.${random(16)}`,
  'secret pasted into the configuration': random(20),
  'secret pasted into a broken line': random(20),
  'secret in an unhandled rejection': random(20),
} as const;
type Secret = keyof typeof secrets;
const canaries: Canary[] = Object.entries(secrets).flatMap(([kind, text]) => [
  { kind, text },
  { kind: `${kind} in base64`, text: Buffer.from(text).toString('base64').replace(/=+$/, '') },
]);

const folder = mkdtempSync(path.join(tmpdir(), 'steward-crash-'));
const secretsDir = path.join(folder, 'secrets');
const write = (name: string, text: string) => {
  const file = path.join(folder, name);
  writeFileSync(file, text);
  return file;
};
beforeAll(() => {
  mkdirSync(secretsDir);
  for (const [name, secret] of [
    ['ops.app-secret', 'app secret'],
    ['alerts.token', 'custom robot token'],
    ['events.token', 'event token'],
    ['events.key', 'event key'],
    ['cards.secret', 'card secret'],
  ] as const)
    writeFileSync(path.join(secretsDir, name), secrets[secret]);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const goodConfig = `
language: en
robots:
  - { code: dingcrash, name: ops, environment: test, corpId: corp, appKey: key, appSecretFile: ops.app-secret, doors: [http],
      events: { tokenFile: events.token, aesKeyFile: events.key, ownerKey: key }, cards: { callbackSecretFile: cards.secret } }
customRobots: [{ name: alerts, environment: test, accessTokenFile: alerts.token }]
`;
// Port 9 (discard) answers nobody.
const refusedDatabase = () => `postgres://steward:${secrets['database password']}@127.0.0.1:9/steward`;
const refusedBroker = () => `amqp://steward:${secrets['broker password']}@127.0.0.1:9`;

type Env = Record<string, string>;
const envOf = (config = goodConfig): Env => ({
  DATABASE_URL: refusedDatabase(),
  AMQP_URL: refusedBroker(),
  REPLY_KEY: `k1:${secrets['reply key']}`,
  SEAL_KEY: `-----BEGIN PRIVATE KEY-----\n${secrets['seal key']}\n-----END PRIVATE KEY-----`,
  STEWARD_CONFIG: write(`steward-${random(4)}.yaml`, config),
  STEWARD_SECRETS_DIR: secretsDir,
  STEWARD_PROMPTS_DIR: path.join(root, 'config/prompts'),
  STEWARD_POLICY_DIR: path.join(root, 'config/policy'),
  STEWARD_TOOLS_DIR: path.join(root, 'config/tools'),
  LOG_LEVEL: 'debug',
});

/** Runs a program to its end, and returns how it ended and everything that it wrote. */
async function run(args: readonly string[], env: Env) {
  const program = startProcess({ name: 'crash', command: process.execPath, args, env, cwd: root });
  const { code } = await program.exited;
  return { code, output: program.output() };
}
const serve = (service: string, env: Env) =>
  run([path.join(root, 'services', service, 'src/main.ts'), 'serve', '--host', '127.0.0.1', '--port', '0'], env);

function expectTold({ code, output }: Awaited<ReturnType<typeof run>>, words: RegExp): void {
  expect(code).toBe(1);
  expect(output).toMatch(words);
  expect(findLeaks([{ place: 'output', text: output }], canaries)).toEqual([]);
}

const services = ['adapter', 'agent-core', 'outbound-sender', 'audit-sealer'];
const speaking = services.slice(0, 3);

describe('a service that cannot start says why, and no secret', () => {
  it.each(services)('%s, whose database does not answer', async (service) => {
    expectTold(await serve(service, envOf()), /service\.start_failed.*(ECONNREFUSED|SEAL_KEY)/s);
  });

  it.each(services)('%s, whose database address is none', async (service) => {
    const DATABASE_URL = `postgres://steward:${secrets['database password']}@[::bad:5432/steward`;
    expectTold(await serve(service, { ...envOf(), DATABASE_URL }), /service\.start_failed/);
  });

  it.each(speaking)('%s, whose configuration has secrets where none belong', async (service) => {
    const pasted = secrets['secret pasted into the configuration'];
    const config = `${goodConfig}appSecret: ${pasted}\nrooms: [{ id: ${pasted}, password: ${pasted} }]\npeople: "${pasted}"\n`;
    expectTold(await serve(service, envOf(config)), /CONFIG_INVALID.*appSecret/s);
  });

  it.each(speaking)('%s, whose configuration is no YAML in a line with a secret', async (service) => {
    const config = `${goodConfig}people: [\n  "${secrets['secret pasted into a broken line']}: {\n`;
    expectTold(await serve(service, envOf(config)), /CONFIG_INVALID.*line \d+/s);
  });

  it.each(['adapter', 'outbound-sender'])('%s, whose reply key is none', async (service) => {
    const REPLY_KEY = `k1:${secrets['reply key'].slice(0, 30)}`;
    const told = await serve(service, { ...envOf(), REPLY_KEY });
    expectTold(told, /service\.start_failed/);
    expect(told.output).not.toContain(REPLY_KEY.slice(3));
  });

  it.each(speaking)('%s, of whose environment nothing is right', async (service) => {
    const env = {
      ...envOf(),
      DATABASE_POOL_SIZE: secrets['app secret'],
      LOG_LEVEL: secrets['model key'],
      AMQP_URL: '',
    };
    expectTold(await serve(service, env), /ENVIRONMENT_INVALID.*AMQP_URL/s);
  });

  it.each(speaking)('%s, that is given a secret twice', async (service) => {
    const env = { ...envOf(), DATABASE_URL_FILE: write('url', refusedDatabase()) };
    expectTold(await serve(service, env), /ENVIRONMENT_INVALID.*DATABASE_URL/s);
  });

  it('audit-sealer, whose key is none', async () => {
    expectTold(await serve('audit-sealer', envOf()), /service\.start_failed/);
    const SEAL_KEY = secrets['seal key'];
    expectTold(await serve('audit-sealer', { ...envOf(), SEAL_KEY }), /service\.start_failed/);
  });

  it('migrate, whose database does not answer', async () => {
    const program = path.join(root, 'packages/postgres/src/migrate-main.ts');
    expectTold(await run([program], envOf()), /migration\.failed/);
  });
});

/** Errors as libraries make them, with secrets where those put them; \`s\` holds all secrets. */
const crashes: Record<string, string> = {
  'a database error': `Object.assign(new Error('password authentication failed for ' + s.url), { code: '28P01', detail: 'Key (token)=(' + s['access token'] + ') exists', where: s.url })`,
  'a refused request with its headers': `Object.assign(new Error('401'), { config: { url: 'https://api/v1?access_token=' + s['access token'], headers: { authorization: 'Bearer ' + s['bearer token'], 'x-acs-dingtalk-access-token': s['access token'], cookie: 'sid=' + s.cookie } } })`,
  'a refused request in words': `new Error('POST https://oapi.dingtalk.com/robot/send?access_token=' + s['custom robot token'] + '&sign=' + encodeURIComponent(s['signed header']) + ' failed, Authorization: Basic ' + s['basic credentials'])`,
  'a reply address': `new Error('fetch failed: https://oapi.dingtalk.com/robot/sendBySession?session=' + s['session webhook'])`,
  'a chain of causes': `new Error('outer', { cause: new Error('middle', { cause: new Error('inner secret=' + s['custom robot secret']) }) })`,
  'several errors in one': `new AggregateError([new Error('appSecret: ' + s['secret of another robot']), new Error('jwt ' + s['JSON web token'])], 'all failed')`,
  'a secret in the stack': `(() => { const e = new Error('x'); e.stack = 'Error: apiKey=' + s['model key'] + '\\n    at f'; return e; })()`,
  'something that is no error': `({ password: s['database password'], nested: { token: s['system token'] } })`,
  'a bare text': `'token ' + s['secret in an unhandled rejection']`,
  'a body of bytes': `Object.assign(new Error('bad answer'), { body: Buffer.from('{"accessToken":"' + s['access token'] + '"}') })`,
};

describe('a service that crashes says what it was, and no secret', () => {
  it.each(
    Object.entries(crashes).flatMap(([name, error]) =>
      (['thrown', 'rejected', 'at the start'] as const).map((way) => [name, way, error] as const),
    ),
  )('%s, %s', async (_, way, error) => {
    const raise = {
      thrown: `setTimeout(() => { throw make(); }, 10); return { stop: async () => {} };`,
      rejected: `setTimeout(() => void Promise.reject(make()), 10); return { stop: async () => {} };`,
      'at the start': `throw make();`,
    }[way];
    const kit = pathToFileURL(path.join(root, 'packages/service-kit/src/index.ts')).href;
    const program = write(
      `crash-${random(4)}.mjs`,
      `import { runService, registerSecret } from ${JSON.stringify(kit)};
       const s = JSON.parse(process.env.CANARIES);
       s.url = 'postgres://u:' + s['database password'] + '@db/x';
       // What a service has read from its files it knows; the rest shows itself by its name or its shape.
       for (const name of JSON.parse(process.env.KNOWN)) registerSecret(s[name]);
       const make = () => ${error};
       await runService({ name: 'probe', argv: ['serve', '--port', '0'], start: async () => { ${raise} } });`,
    );
    const known: readonly Secret[] = [
      'app secret',
      'model key',
      'system token',
      'custom robot secret',
      'secret in an unhandled rejection',
    ];
    const env = { CANARIES: JSON.stringify(secrets), KNOWN: JSON.stringify(known) };
    expectTold(await run([program], env), way === 'at the start' ? /service\.start_failed/ : /service\.crashed/);
  });
});
