import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import { stewardConfigSchema } from '@steward/service-kit';
import { planSecrets } from './plan-secrets.ts';

const config = stewardConfigSchema.parse({
  robots: [
    {
      code: 'dingops',
      name: 'ops',
      environment: 'production',
      corpId: 'ding1',
      appKey: 'dingops',
      appSecretFile: 'robot-ops.app-secret',
      doors: ['http'],
      events: { tokenFile: 'events.token', aesKeyFile: 'events.aes-key', ownerKey: 'dingops' },
      cards: { callbackSecretFile: 'cards.secret' },
    },
  ],
  customRobots: [
    { name: 'alerts', environment: 'production', accessTokenFile: 'alerts.token', secretFile: 'alerts.secret' },
  ],
  model: { baseUrl: 'https://model.example/v1', name: 'm', apiKeyFile: 'model.key' },
  tools: {
    secrets: [{ name: 'deployer', file: 'deployer.token', environments: ['production'] }],
    prometheus: [{ environment: 'production', url: 'https://prometheus.example', tokenFile: 'prometheus.token' }],
  },
});

const sealKey = generateKeyPairSync('ed25519');
const pemOf = (type: 'pkcs8' | 'spki') =>
  type === 'pkcs8'
    ? sealKey.privateKey.export({ type, format: 'pem' }).toString()
    : sealKey.publicKey.export({ type, format: 'pem' }).toString();
const files: Record<string, string | null> = {
  'audit-seal.key': pemOf('pkcs8').trim(),
  'audit-seal.retired.pub': null,
};
const valueOf = (name: string) => (name in files ? (files[name] ?? null) : `value of ${name}`);

function plan(find: (name: string) => string | null = valueOf) {
  return planSecrets({ config, find, salt: () => Buffer.alloc(4) });
}

describe('planning which container gets which secret', () => {
  it('gives each container exactly the files it needs', () => {
    const { folders, missing } = plan();
    expect(missing).toEqual([]);
    expect(
      Object.fromEntries(Object.entries(folders).map(([reader, files]) => [reader, Object.keys(files).sort()])),
    ).toEqual({
      postgres: [
        ...['superuser', 'owner', 'adapter', 'agent-core', 'outbound-sender', 'sealer', 'operator', 'ops-reader'],
      ]
        .map((role) => `postgres-${role}.password`)
        .sort(),
      rabbitmq: ['definitions.json'],
      migrate: ['database-url'],
      adapter: [
        'amqp-url',
        'cards.secret',
        'database-url',
        'events.aes-key',
        'events.token',
        'reply.key',
        'robot-ops.app-secret',
      ],
      'agent-core': ['amqp-url', 'database-url', 'deployer.token', 'model.key', 'prometheus.token'],
      'outbound-sender': [
        'alerts.secret',
        'alerts.token',
        'amqp-url',
        'database-url',
        'reply.key',
        'robot-ops.app-secret',
      ],
      'audit-sealer': ['audit-seal.key', 'database-url'],
      cli: ['audit-seal.pub', 'database-url'],
      ops: ['pgpass'],
      alertmanager: ['alert-webhook.url'],
    });
  });

  it('makes connection URLs of the passwords, escaped', () => {
    const { folders } = plan((name) => (name.endsWith('.password') ? 'a/b@c:d#e' : valueOf(name)));
    const database = new URL(folders.adapter['database-url'] ?? '');
    expect({ user: database.username, host: database.host, path: database.pathname }).toEqual({
      user: 'steward_adapter',
      host: 'postgres:5432',
      path: '/steward',
    });
    expect(decodeURIComponent(database.password)).toBe('a/b@c:d#e');
    expect(folders['agent-core']['amqp-url']).toBe('amqp://agent-core:a%2Fb%40c%3Ad%23e@rabbitmq:5672/steward');
    expect(folders.migrate['database-url']).toContain('steward_owner:');
    expect(folders['audit-sealer']['database-url']).toContain('steward_sealer:');
    expect(folders.cli['database-url']).toContain('steward_operator:');
    expect(folders.ops['pgpass']).toBe('postgres:5432:steward:ops_reader:a/b@c\\:d#e\n');
  });

  it('gives the seal key to the sealer alone, and to the command line no more than its public half', () => {
    const { folders } = plan();
    expect(folders['audit-sealer']['audit-seal.key']).toBe(pemOf('pkcs8').trim());
    expect(folders.cli['audit-seal.pub']).toBe(pemOf('spki'));
    const body = pemOf('pkcs8').split('\n')[1] ?? '';
    const holders = Object.entries(folders).filter(([, held]) => JSON.stringify(held).includes(body));
    expect(holders.map(([reader]) => reader)).toEqual(['audit-sealer']);
  });

  it('keeps the public halves of retired seal keys beside the present one', () => {
    const { folders } = plan((name) => (name === 'audit-seal.retired.pub' ? 'RETIRED' : valueOf(name)));
    expect(folders.cli['audit-seal.pub']).toBe(`${pemOf('spki')}RETIRED\n`);
  });

  it('refuses a seal key that is none, without showing it', () => {
    const rsa = generateKeyPairSync('rsa', { modulusLength: 1_024 }).privateKey;
    for (const text of ['nonsense', rsa.export({ type: 'pkcs8', format: 'pem' }).toString()]) {
      const find = (name: string) => (name === 'audit-seal.key' ? text : valueOf(name));
      expect(() => plan(find)).toThrow(expect.objectContaining({ code: 'SEAL_KEY_INVALID' }));
      expect(() => plan(find)).not.toThrow(text.slice(0, 60));
    }
  });

  it('shows the agent core no DingTalk secret and no reply key', () => {
    const text = JSON.stringify(plan().folders['agent-core']);
    const others = ['robot-ops.app-secret', 'reply.key', 'cards.secret', 'alerts.token', 'postgres-owner'];
    for (const foreign of [...others, 'postgres-sealer', 'postgres-operator', 'audit-seal']) {
      expect(text).not.toContain(foreign);
    }
  });

  it('asks for no address of alerts, and gives one to alertmanager alone', () => {
    const { folders, missing } = plan((name) => (name === 'alert-webhook.url' ? null : valueOf(name)));
    expect({ missing, folder: folders.alertmanager }).toEqual({ missing: [], folder: {} });
    const holders = Object.entries(plan().folders).filter(([, held]) => JSON.stringify(held).includes('alert-webhook'));
    expect(holders.map(([reader]) => reader)).toEqual(['alertmanager']);
  });

  it('names every missing or empty file at once, and no value', () => {
    const gone = ['audit-seal.key', 'events.aes-key', 'events.token'];
    const { missing } = plan((name) => (name === 'reply.key' ? '' : gone.includes(name) ? null : 'SECRET'));
    expect(missing).toEqual([...gone, 'reply.key']);
  });
});
