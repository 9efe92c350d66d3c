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
});

function plan(find: (name: string) => string | null = (name) => `value of ${name}`) {
  return planSecrets({ config, find, salt: () => Buffer.alloc(4) });
}

describe('planning which container gets which secret', () => {
  it('gives each container exactly the files it needs', () => {
    const { folders, missing } = plan();
    expect(missing).toEqual([]);
    expect(
      Object.fromEntries(Object.entries(folders).map(([reader, files]) => [reader, Object.keys(files).sort()])),
    ).toEqual({
      postgres: ['superuser', 'owner', 'adapter', 'agent-core', 'outbound-sender']
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
      'agent-core': ['amqp-url', 'database-url', 'model.key'],
      'outbound-sender': [
        'alerts.secret',
        'alerts.token',
        'amqp-url',
        'database-url',
        'reply.key',
        'robot-ops.app-secret',
      ],
    });
  });

  it('makes connection URLs of the passwords, escaped', () => {
    const { folders } = plan((name) => (name.endsWith('.password') ? 'a/b@c:d#e' : 'x'));
    const database = new URL(folders.adapter['database-url'] ?? '');
    expect({ user: database.username, host: database.host, path: database.pathname }).toEqual({
      user: 'steward_adapter',
      host: 'postgres:5432',
      path: '/steward',
    });
    expect(decodeURIComponent(database.password)).toBe('a/b@c:d#e');
    expect(folders['agent-core']['amqp-url']).toBe('amqp://agent-core:a%2Fb%40c%3Ad%23e@rabbitmq:5672/steward');
    expect(folders.migrate['database-url']).toContain('steward_owner:');
  });

  it('shows the agent core no DingTalk secret and no reply key', () => {
    const text = JSON.stringify(plan().folders['agent-core']);
    for (const foreign of ['robot-ops.app-secret', 'reply.key', 'cards.secret', 'alerts.token', 'postgres-owner']) {
      expect(text).not.toContain(foreign);
    }
  });

  it('names every missing or empty file at once, and no value', () => {
    const { missing } = plan((name) => (name === 'reply.key' ? '' : name.startsWith('events') ? null : 'SECRET'));
    expect(missing).toEqual(['events.aes-key', 'events.token', 'reply.key']);
  });
});
