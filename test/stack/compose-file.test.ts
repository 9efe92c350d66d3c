import { createHash } from 'node:crypto';
import { beforeAll, describe, expect, it } from '@jest/globals';
import { busPermissionOf, busServices } from '@steward/contracts';
import { run } from './docker.ts';
import { onDemand, oneShots } from './stack.ts';

// What `docker compose config` makes of the file: checked without starting anything.
type Service = {
  image: string;
  user?: string;
  build?: { target: string };
  restart?: string;
  init?: boolean;
  read_only?: boolean;
  cap_drop?: string[];
  cap_add?: string[];
  security_opt?: string[];
  mem_limit?: string;
  pids_limit?: number;
  container_name?: string;
  privileged?: boolean;
  network_mode?: string;
  healthcheck?: { test: string[]; start_interval?: string };
  depends_on?: Record<string, { condition: string }>;
  networks?: Record<string, unknown>;
  ports?: { host_ip?: string; published: string; target: number }[];
  volumes?: { type: string; source: string; target: string; read_only?: boolean }[];
  environment?: Record<string, string | null>;
  command?: string[];
  entrypoint?: string[];
  profiles?: string[];
  pull_policy?: string;
  labels?: Record<string, string>;
};
type Composed = {
  name: string;
  services: Record<string, Service>;
  networks: Record<string, { internal?: boolean }>;
  volumes: Record<string, unknown>;
};

async function compose(env: Record<string, string> = {}): Promise<Composed> {
  const settings = { COMPOSE_PROFILES: '', STEWARD_REGISTRY: '', STEWARD_DOMAIN: '', STEWARD_VERSION: '1.2.3', ...env };
  return JSON.parse(
    await run('docker', ['compose', '--env-file', '/dev/null', 'config', '--format', 'json'], { env: settings }),
  ) as Composed;
}

const production = await compose();
const demo = await compose({ COMPOSE_PROFILES: 'demo' });
const everything = await compose({ COMPOSE_PROFILES: 'demo,cli,monitoring' });
const all = Object.entries(everything.services);
const longRunning = all.filter(([name]) => ![...oneShots, ...onDemand].includes(name));
const ours = ['adapter', 'agent-core', 'outbound-sender'];

describe.each(all)('the container %s', (name, service) => {
  it('cannot change its own files, gain privileges, or use more than its share', () => {
    expect(service).toMatchObject({
      read_only: true,
      init: true,
      cap_drop: ['ALL'],
      security_opt: ['no-new-privileges:true'],
      mem_limit: expect.stringMatching(/^\d+$/),
      pids_limit: expect.any(Number),
    });
    expect(service.privileged ?? false).toBe(false);
  });

  it('adds back only the capabilities it is known to need', () => {
    const needed: Record<string, string[]> = {
      secrets: ['CHOWN', 'DAC_OVERRIDE'],
      'demo-world': ['CHOWN', 'DAC_OVERRIDE'],
      caddy: ['NET_BIND_SERVICE'],
      'demo-status': ['NET_BIND_SERVICE'],
    };
    expect(service.cap_add ?? []).toEqual(needed[name] ?? []);
  });

  it('runs as nobody special, or as root for a moment without any network', () => {
    if (service.user === '0:0') expect(service).toMatchObject({ network_mode: 'none', restart: 'no' });
    else expect(service.user).toMatch(/^[1-9]\d*:[1-9]\d*$/);
  });

  it('mounts no engine socket, and from the host only what it may not change', () => {
    for (const { source, read_only: readOnly, type, target } of service.volumes ?? []) {
      expect(source).not.toContain('docker.sock');
      if (type === 'bind' && target !== '/data') expect(readOnly).toBe(true);
      if (target === '/run/steward/secrets') expect(readOnly).toBe(true);
    }
  });

  it('gets its secrets as files, never in its environment', () => {
    for (const [key, value] of Object.entries(service.environment ?? {})) {
      if (/PASSWORD|SECRET|KEY|TOKEN|DATABASE_URL|AMQP_URL/.test(key))
        expect(value).toMatch(/^\/run\/steward\/secrets\//);
    }
  });

  it('can be scaled by name, and never pulls what is built here', () => {
    expect(service.container_name).toBeUndefined();
    expect(service.pull_policy).toBeUndefined();
  });
});

describe.each(longRunning)('the long-running container %s', (_name, service) => {
  it('is restarted unless stopped, and has a health check that Engine 20.10 understands', () => {
    expect(service.restart).toBe('unless-stopped');
    expect(service.healthcheck?.test.length).toBeGreaterThan(1);
    expect(service.healthcheck?.start_interval).toBeUndefined();
  });
});

describe.each(oneShots)('the one-shot %s', (name) => {
  it('ends, and somebody waits for its success, so that --wait can be trusted', () => {
    expect(demo.services[name]?.restart).toBe('no');
    const waiting = all.filter(
      ([, service]) => service.depends_on?.[name]?.condition === 'service_completed_successfully',
    );
    expect(waiting).not.toEqual([]);
  });
});

describe.each(onDemand)('the container for people %s', (name) => {
  it('runs when somebody runs it, waits for nothing and leaves nothing behind', () => {
    const service = everything.services[name];
    expect(service).toMatchObject({ profiles: ['cli'], restart: 'no' });
    expect(service?.depends_on).toBeUndefined();
    expect(Object.keys({ ...production.services, ...demo.services })).not.toContain(name);
    for (const { read_only: readOnly } of service?.volumes ?? []) expect(readOnly).toBe(true);
  });
});

describe('the audit log', () => {
  const mountsOf = (volume: string) =>
    all.flatMap(([name, { volumes }]) =>
      (volumes ?? [])
        .filter(({ source }) => source === volume)
        .map(({ target, read_only: readOnly }) => `${name} ${target} ${readOnly ? 'ro' : 'rw'}`),
    );

  it('is sealed by a container that has its key, the database, and nothing else', () => {
    const sealer = everything.services['audit-sealer'];
    expect(sealer?.environment).toMatchObject({
      SEAL_KEY_FILE: '/run/steward/secrets/audit-seal.key',
      CHECKPOINT_FOLDER: '/var/lib/steward/checkpoints',
    });
    expect(Object.keys(sealer?.environment ?? {})).not.toContain('AMQP_URL_FILE');
    expect(sealer?.volumes?.map(({ type, source }) => `${type} ${source}`)).toEqual([
      'volume secrets-audit-sealer',
      'volume audit-checkpoints',
    ]);
    expect(sealer?.command?.slice(0, 6)).toEqual(['audit-sealer', 'serve', '--host', '0.0.0.0', '--port', '8080']);
    expect(sealer?.healthcheck?.test).toEqual(['CMD', 'audit-sealer', 'health', '--port', '8080']);
    expect(Object.keys(sealer?.depends_on ?? {}).sort()).toEqual(['migrate', 'secrets']);
  });

  it('has its key in no other container but the one that hands out secrets', () => {
    expect(mountsOf('secrets-audit-sealer')).toEqual([
      'audit-sealer /run/steward/secrets ro',
      'secrets /secrets/audit-sealer rw',
    ]);
  });

  it('leaves its checkpoints where the sealer alone writes, and the command line reads', () => {
    expect(mountsOf('audit-checkpoints')).toEqual([
      'audit-sealer /var/lib/steward/checkpoints rw',
      'cli /var/lib/steward/checkpoints ro',
      'secrets /secrets/audit-checkpoints rw',
    ]);
  });
});

describe('what an operator edits', () => {
  const boundTo = (composed: Composed, name: string) =>
    Object.fromEntries(
      (composed.services[name]?.volumes ?? [])
        .filter(({ type }) => type === 'bind')
        .map(({ source, target }) => [target, source.replace(/^.*\/(?=config|deploy|mine)/, '')]),
    );

  it('is mounted into agent-core: prompts, policies, skills, and tools with the configuration', () => {
    expect(boundTo(everything, 'agent-core')).toEqual({
      '/app/config': 'config',
      '/app/policy': 'config/policy',
      '/app/prompts': 'config/prompts',
      '/app/skills': 'config/skills',
    });
    expect(everything.services['agent-core']?.environment).toMatchObject({
      STEWARD_POLICY_DIR: '/app/policy',
      STEWARD_PROMPTS_DIR: '/app/prompts',
      STEWARD_SKILLS_DIR: '/app/skills',
      STEWARD_TOOLS_DIR: '/app/config/tools',
    });
  });

  it('reads the same policies and tools at the command line', () => {
    expect(boundTo(everything, 'cli')).toEqual({ '/app/config': 'config', '/app/policy': 'config/policy' });
    const { STEWARD_POLICY_DIR, STEWARD_TOOLS_DIR } = everything.services['agent-core']?.environment ?? {};
    expect(everything.services['cli']?.environment).toMatchObject({ STEWARD_POLICY_DIR, STEWARD_TOOLS_DIR });
  });

  it('can lie elsewhere', async () => {
    const elsewhere = await compose({ STEWARD_POLICY_DIR: './mine/policy', STEWARD_SKILLS_DIR: './mine/skills' });
    expect(boundTo(elsewhere, 'agent-core')).toMatchObject({
      '/app/policy': 'mine/policy',
      '/app/skills': 'mine/skills',
    });
  });
});

describe('the services', () => {
  it.each(ours)('%s starts after the migrations and a healthy RabbitMQ, in the documented command form', (name) => {
    const service = demo.services[name];
    expect(service?.depends_on).toMatchObject({
      secrets: { condition: 'service_completed_successfully' },
      migrate: { condition: 'service_completed_successfully' },
      rabbitmq: { condition: 'service_healthy' },
    });
    expect(service?.command?.slice(0, 6)).toEqual([name, 'serve', '--host', '0.0.0.0', '--port', '8080']);
    expect(service?.command?.[6]).toBe('--log-tool-calls');
    expect(service?.healthcheck?.test).toEqual(['CMD', name, 'health', '--port', '8080']);
  });

  it('migrates only once Postgres is healthy and has the roles of this version', () => {
    expect(demo.services['roles']?.depends_on?.['postgres']?.condition).toBe('service_healthy');
    expect(demo.services['migrate']?.depends_on?.['roles']?.condition).toBe('service_completed_successfully');
  });

  // RabbitMQ reads its permissions when it starts. Another label makes `up` start it anew, and nothing else does.
  it('find a RabbitMQ that has read the permissions of this version', () => {
    const permissions = JSON.stringify(busServices.map((service) => [service, busPermissionOf(service)]));
    const digest = createHash('sha256').update(permissions).digest('hex').slice(0, 12);
    expect(demo.services['rabbitmq']?.labels).toEqual({ 'steward.permissions': digest });
  });

  it('keep everything that must last in named volumes', () => {
    for (const [service, target, volume] of [
      ['postgres', '/var/lib/postgresql/data', 'postgres-data'],
      ['rabbitmq', '/var/lib/rabbitmq', 'rabbitmq-data'],
      ['caddy', '/data', 'caddy-data'],
      ['audit-sealer', '/var/lib/steward/checkpoints', 'audit-checkpoints'],
      ['prometheus', '/prometheus', 'prometheus-data'],
      ['alertmanager', '/alertmanager', 'alertmanager-data'],
    ] as const) {
      expect(everything.services[service]?.volumes).toContainEqual(
        expect.objectContaining({ type: 'volume', source: volume, target }),
      );
      expect(everything.volumes).toHaveProperty(volume);
    }
  });
});

describe('the monitoring', () => {
  it('runs only with its profile', () => {
    const names = Object.keys({ ...production.services, ...demo.services });
    expect(names.filter((name) => /prometheus|alertmanager/.test(name))).toEqual([]);
  });

  it('keeps no more than it has room for, and reads a configuration that can lie elsewhere', async () => {
    expect(everything.services['prometheus']?.command).toEqual(
      expect.arrayContaining(['--storage.tsdb.retention.time=15d', '--storage.tsdb.retention.size=2GB']),
    );
    const elsewhere = await compose({ COMPOSE_PROFILES: 'monitoring', STEWARD_MONITORING_DIR: '/mine' });
    for (const name of ['prometheus', 'alertmanager'])
      expect(elsewhere.services[name]?.volumes).toContainEqual(
        expect.objectContaining({ type: 'bind', source: '/mine', target: `/etc/${name}`, read_only: true }),
      );
  });
});

describe('the networks', () => {
  const networksOf = (name: string) => Object.keys(everything.services[name]?.networks ?? {}).sort();

  it('give each container only those it needs', () => {
    expect(Object.fromEntries(all.map(([name]) => [name, networksOf(name)]))).toEqual({
      secrets: [],
      'demo-world': [],
      postgres: ['backend'],
      roles: ['backend'],
      rabbitmq: ['backend'],
      migrate: ['backend'],
      adapter: ['backend', 'edge', 'egress'],
      'agent-core': ['backend', 'egress'],
      'outbound-sender': ['backend', 'egress'],
      'audit-sealer': ['backend'],
      cli: ['backend'],
      ops: ['backend'],
      caddy: ['edge'],
      simulator: ['edge', 'egress'],
      'demo-status': ['backend', 'edge'],
      prometheus: ['backend', 'monitoring'],
      alertmanager: ['monitoring'],
    });
  });

  it('leave the database and the bus without a way out', () => {
    expect(demo.networks['backend']?.internal).toBe(true);
  });

  it('publish Caddy alone, and on this machine alone unless told otherwise', () => {
    const published = (services: Record<string, Service>) =>
      Object.entries(services).flatMap(([name, { ports }]) =>
        (ports ?? []).map((port) => `${name} ${port.host_ip ?? '*'}:${port.published} ${port.target}`),
      );
    expect(published(production.services)).toEqual(['caddy 127.0.0.1:8080 8080', 'caddy 127.0.0.1:0 8443']);
    expect(published(demo.services).sort()).toEqual(
      [...published(production.services), 'demo-status 127.0.0.1:8091 8080', 'simulator 127.0.0.1:8090 8090'].sort(),
    );
    expect(published(everything.services).sort()).toEqual(
      [...published(demo.services), 'prometheus 127.0.0.1:9090 9090', 'alertmanager 127.0.0.1:9093 9093'].sort(),
    );
  });
});

describe('the images', () => {
  it('are pinned, ours by STEWARD_VERSION', () => {
    for (const { image } of Object.values(everything.services)) expect(image).toMatch(/:[\w.-]+$/);
    expect(demo.services['adapter']?.image).toBe('steward:1.2.3');
    expect(Object.values(demo.services).map(({ image }) => image)).not.toContainEqual(
      expect.stringMatching(/:latest$/),
    );
  });

  it('come from a mirror when a registry prefix is given, in the build too', async () => {
    const mirrored = await compose({
      COMPOSE_PROFILES: 'demo,cli,monitoring',
      STEWARD_REGISTRY: 'mirror.example/lib/',
    });
    for (const { image } of Object.values(mirrored.services)) expect(image).toMatch(/^mirror\.example\/lib\//);
    const { build } = mirrored.services['secrets'] as { build?: { args?: Record<string, string> } };
    expect(build?.args?.['STEWARD_REGISTRY']).toBe('mirror.example/lib/');
  });

  it('are built once: the production image without the simulator, the simulator apart', () => {
    const built = all.flatMap(([name, { build }]) => (build === undefined ? [] : [[name, build.target]]));
    expect(built).toEqual([
      ['secrets', 'production'],
      ['simulator', 'demo'],
    ]);
    expect(Object.keys(production.services)).not.toContain('simulator');
  });
});

describe('https', () => {
  let withDomain: Composed;
  beforeAll(async () => {
    withDomain = await compose({ STEWARD_DOMAIN: 'bot.example.com', STEWARD_HTTPS_BIND: '443' });
  });

  it('is served for STEWARD_DOMAIN on the port it is bound to', () => {
    expect(withDomain.services['caddy']?.environment?.['STEWARD_TLS_SITE']).toBe('https://bot.example.com');
    expect(withDomain.services['caddy']?.ports).toContainEqual(
      expect.objectContaining({ published: '443', target: 8443 }),
    );
  });

  it('is off without a domain', () => {
    expect(production.services['caddy']?.environment?.['STEWARD_TLS_SITE']).toBe('');
  });
});
