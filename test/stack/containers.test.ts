import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { deadQueueName, queues } from '@steward/contracts';
import { readBroker, serviceNames, tryForeignBusWork, tryForeignTables } from './accounts.ts';
import { run, serviceOf } from './docker.ts';
import { createStack, oneShots, type DemoCard, type Stack } from './stack.ts';

const minutes = 60_000;
let stack: Stack;
let card: DemoCard;

beforeAll(async () => {
  stack = await createStack();
  await stack.generateSecrets();
  await stack.up('--build');
  card = stack.loadCard();
}, 15 * minutes);

afterAll(() => stack.remove(), 3 * minutes);

describe('the started stack', () => {
  it('has every one-shot ended with success and everything else healthy', async () => {
    const containers = await stack.containers();
    const states = containers.map((container) => [
      serviceOf(container),
      container.State.Health?.Status ?? container.State.ExitCode,
    ]);
    const expected = (service: string) => (oneShots.includes(service) ? 0 : 'healthy');
    expect(states).toEqual(states.map(([service]) => [service, expected(String(service))]));
    await expect(stack.health()).resolves.toContain('adapter-1: running, healthy');
  }, 30_000);

  it(
    'answers a signed message through the reverse proxy, and every service leaves its audit entry',
    async () => {
      const lines = (await stack.smoke()).trim().split('\n');
      expect(lines).toHaveLength(6);
      for (const line of lines) expect(line).toMatch(/^ok {3}/);
    },
    2 * minutes,
  );

  it('shows the services to programs of this machine only where the demo card says, and there no more than health', async () => {
    const statuses = await Promise.all(
      Object.values(card.services).flatMap((url) =>
        ['readyz', 'healthz', 'metrics', 'dingtalk/robot/ops'].map(
          async (what) => (await fetch(`${url}/${what}`)).status,
        ),
      ),
    );
    expect(statuses).toEqual([200, 200, 200, 404, 200, 200, 200, 404, 200, 200, 200, 404]);
  });

  it('refuses a body over 256 KiB before the adapter sees it', async () => {
    const post = (bytes: number) =>
      fetch(`${card.adapterUrl}/dingtalk/robot/ops`, { method: 'POST', body: Buffer.alloc(bytes) });
    expect([(await post(262_145)).status, (await post(262_144)).status]).toEqual([413, 401]);
  });
});

describe('the running containers', () => {
  it('are not root, hold no capability, gain no privilege, and cannot write their root', async () => {
    for (const container of await stack.services()) {
      const script =
        "grep -E '^(Uid|CapEff|NoNewPrivs):' /proc/1/status; (: >/probe) 2>/dev/null && echo writable || echo read-only";
      const seen = (await run('docker', ['exec', container.Id, 'sh', '-c', script])).trim().split(/\s+/);
      expect([container.Name, ...seen]).toEqual([
        container.Name,
        ...['Uid:', ...Array.from({ length: 4 }, () => expect.stringMatching(/^[1-9]\d*$/))],
        ...['CapEff:', '0000000000000000', 'NoNewPrivs:', '1', 'read-only'],
      ]);
    }
  }, 60_000);

  it('were given limits, a restart policy and an init by the engine too', async () => {
    for (const { Name, HostConfig } of await stack.services()) {
      expect({ Name, ...HostConfig }).toMatchObject({
        Name,
        ReadonlyRootfs: true,
        Privileged: false,
        Init: true,
        CapDrop: ['ALL'],
      });
      expect(HostConfig.Memory).toBeGreaterThan(0);
      expect(HostConfig.PidsLimit).toBeGreaterThan(0);
      expect(HostConfig.RestartPolicy.Name).toBe('unless-stopped');
      expect(HostConfig.SecurityOpt).toContain('no-new-privileges:true');
    }
  });

  it('publish nothing but Caddy and the demo’s own windows, on loopback', async () => {
    const published = (await stack.services()).flatMap((container) =>
      Object.values(container.HostConfig.PortBindings ?? {}).flatMap((ports) =>
        ports.map(({ HostIp }) => `${serviceOf(container)} ${HostIp}`),
      ),
    );
    expect([...new Set(published)].sort()).toEqual(['caddy 127.0.0.1', 'demo-status 127.0.0.1', 'simulator 127.0.0.1']);
  });

  it('carry neither a package manager nor a compiler nor the simulator in the production image', async () => {
    const script =
      'command -v npm npx pnpm yarn corepack gcc cc make; ls -d packages/dingtalk-simulator packages/testkit 2>/dev/null; find services packages -name "*.test.ts" -not -path "*/node_modules/*"';
    await expect(stack.compose(['exec', '-T', 'adapter', 'sh', '-c', `${script}; true`])).resolves.toBe('');
  });

  it('reach over the network only what their part needs', async () => {
    const reaches = async (service: string, host: string, port: number) => {
      const script = `const s = require('net').connect(${port}, '${host}'); s.setTimeout(3000, () => s.destroy(new Error('silent')));
        s.on('connect', () => { console.log('open'); process.exit() }); s.on('error', () => { console.log('closed'); process.exit() })`;
      return (await stack.compose(['exec', '-T', service, 'node', '--eval', script])).trim();
    };
    expect({
      'adapter to postgres': await reaches('adapter', 'postgres', 5432),
      'adapter to simulator': await reaches('adapter', 'simulator', 8090),
      'agent-core to caddy': await reaches('agent-core', 'caddy', 8080),
      'simulator to postgres': await reaches('simulator', 'postgres', 5432),
      'simulator to rabbitmq': await reaches('simulator', 'rabbitmq', 5672),
    }).toEqual({
      'adapter to postgres': 'open',
      'adapter to simulator': 'open',
      'agent-core to caddy': 'closed',
      'simulator to postgres': 'closed',
      'simulator to rabbitmq': 'closed',
    });
  }, 60_000);
});

describe('the accounts of the services', () => {
  it('exist on RabbitMQ for each service alone, with the permissions of the topology, on quorum queues only', async () => {
    const names = queues.flatMap(({ name }) => [name, deadQueueName(name)]).sort();
    expect(await readBroker(stack)).toEqual({
      users: ['adapter', 'agent-core', 'outbound-sender'],
      vhosts: ['steward'],
      queues: names.map((name) => `${name} quorum`),
    });
  }, 60_000);

  it.each(serviceNames)(
    'refuse %s what belongs to another service on the bus',
    async (service) => {
      expect(await tryForeignBusWork(stack, service)).toEqual({
        'read its own queue': 'allowed',
        "read another's queue": 403,
        "declare another's queue": 403,
        'declare a queue of its own liking': 403,
        'publish past the exchanges': 403,
      });
    },
    60_000,
  );

  it.each(serviceNames)(
    'refuse %s the tables of another service, and every look at the audit log',
    async (service) => {
      expect(await tryForeignTables(stack, service)).toEqual({
        'its own schema': 'allowed',
        "another's schema": '42501',
        'reading the audit log': '42501',
        'making a table': '42501',
        'another database': '42501',
      });
    },
    60_000,
  );
});
