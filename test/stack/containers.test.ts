import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { deadQueueName, queues } from '@steward/contracts';
import { waitUntil } from '@steward/testkit';
import {
  readBroker,
  serviceNames,
  tryForeignBusWork,
  tryForeignTables,
  trySql,
  trySqlAsOpsReader,
} from './accounts.ts';
import { run, serviceOf } from './docker.ts';
import { checkShipped, createListener, raise, waitForTargets } from './monitoring.ts';
import { createStack, oneShots, type DemoCard, type Stack } from './stack.ts';

const minutes = 60_000;
let stack: Stack;
let card: DemoCard;

beforeAll(async () => {
  stack = await createStack({ profiles: ['monitoring'] });
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
    'answers a message and a tool call through the reverse proxy, and seals the audit entries that every service leaves',
    async () => {
      const lines = (await stack.smoke()).trim().split('\n');
      expect(lines).toHaveLength(10);
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
    expect(statuses).toEqual(Array.from({ length: 4 }, () => [200, 200, 200, 404]).flat());
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

  it('publish nothing but Caddy, and the windows of demo and monitoring, on loopback', async () => {
    const published = (await stack.services()).flatMap((container) =>
      Object.values(container.HostConfig.PortBindings ?? {}).flatMap((ports) =>
        ports.map(({ HostIp }) => `${serviceOf(container)} ${HostIp}`),
      ),
    );
    const windows = ['alertmanager', 'caddy', 'demo-status', 'prometheus', 'simulator'];
    expect([...new Set(published)].sort()).toEqual(windows.map((name) => `${name} 127.0.0.1`));
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
        'publish what it makes': 'allowed',
        'publish what another makes': 403,
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
        'sealing it': '42501',
        'making a table': '42501',
        'another database': '42501',
      });
    },
    60_000,
  );

  it('let the sealer read and seal the audit log, and nothing else', async () => {
    const seen = await trySql(stack, 'audit-sealer', {
      'reading entries': 'select count(*) from audit.entry',
      'reading blocks': 'select count(*) from audit.block',
      'reading what is personal': 'select count(*) from audit.detail',
      'changing an entry': "update audit.entry set outcome = 'x'",
      'removing a block': 'delete from audit.block',
      "agent-core's tables": 'select count(*) from agent_core.tool_call',
      "the adapter's tables": 'select count(*) from adapter.inbound_event',
      'making a table': 'create table public.mine (id int)',
    });
    const expected = { 'reading entries': 'allowed', 'reading blocks': 'allowed' };
    expect(seen).toEqual({ ...toRefusals(seen), ...expected });
  }, 60_000);

  it('let the operator look and ask, and write nothing else', async () => {
    const seen = await trySql(stack, 'cli', {
      'reading entries': 'select count(*) from audit.entry',
      'reading approvals': 'select count(*) from agent_core.approval_request',
      'writing an entry':
        "insert into audit.entry (id, service, kind, outcome) values (gen_random_uuid(), 'x', 'x', 'x')",
      'changing an entry': "update audit.entry set outcome = 'x'",
      'removing what is personal': 'delete from audit.detail',
      'voting past the gate': 'insert into agent_core.approval_vote (request_id) values (gen_random_uuid())',
      'answering its own question': "update agent_core.operator_request set answer = '{}'",
      'unfreezing past the gate': 'delete from agent_core.freeze',
      'making a table': 'create table public.mine (id int)',
    });
    const expected = { 'reading entries': 'allowed', 'reading approvals': 'allowed' };
    expect(seen).toEqual({ ...toRefusals(seen), ...expected });
  }, 60_000);

  it('let ops_reader see the views of schema ops, and nothing else', async () => {
    const seen = await trySqlAsOpsReader(stack, {
      'a view': 'select * from recent limit 1',
      'a trace': "select * from trace('00000000-0000-7000-8000-000000000000')",
      entries: 'select count(*) from audit.entry',
      'tool calls': 'select count(*) from agent_core.tool_call',
      'inbound events': 'select count(*) from adapter.inbound_event',
      'a room of another': "select * from ops.room_entries('r', 'c', now(), 1)",
      'making a table': 'create table public.mine (id int)',
    });
    expect(seen).toEqual({ ...toRefusals(seen), 'a view': 'allowed', 'a trace': 'allowed' });
    expect(Object.keys(seen as object)).toHaveLength(7);
  }, 60_000);
});

describe('the key that seals the audit log', () => {
  it('is in the sealer alone, where nobody else can read it', async () => {
    const script = "find / -path /proc -prune -o -name 'audit-seal.*' -printf '%m %u %p' 2>/dev/null; true";
    const places = await Promise.all(
      (await stack.services()).map(async (container) => [
        serviceOf(container),
        (await run('docker', ['exec', container.Id, 'sh', '-c', script])).trim(),
      ]),
    );
    expect(places.filter(([, found]) => found !== '')).toEqual([
      ['audit-sealer', expect.stringMatching(/^400 \S+ \/run\/steward\/secrets\/audit-seal\.key$/)],
    ]);
  }, 60_000);

  it('is known to the command line by its public half', async () => {
    const cat = (file: string) => stack.compose(['run', '--rm', '-T', '--entrypoint', 'cat', 'cli', file]);
    await expect(cat('/run/steward/secrets/audit-seal.pub')).resolves.toMatch(/^-----BEGIN PUBLIC KEY-----\n/);
    await expect(cat('/run/steward/secrets/audit-seal.key')).rejects.toThrow(/No such file/);
    await expect(cat('/var/lib/steward/checkpoints/audit-checkpoints.txt')).resolves.toMatch(/^steward-checkpoint v1 /);
  }, 60_000);

  it('seals what verifies, with a checkpoint as witness', async () => {
    const file = '/var/lib/steward/checkpoints/audit-checkpoints.txt';
    const verify = ['run', '--rm', '-T', 'cli', 'audit', 'verify', '--json', '--checkpoint', file];
    const report = JSON.parse(await stack.compose(verify)) as { exitCode: number };
    expect(report.exitCode).toBe(0);
  }, 60_000);
});

describe('a tool that changes something', () => {
  it('asks, lets nobody approve for themselves, and runs once when somebody else has approved', async () => {
    const conversation = createTalk(card);
    const asked = await conversation.ask({ staffId: 'demo-han', text: '/run restart_service service=payments' });
    const code = /\/approve (\w{4})/.exec(asked)?.[1] ?? '';
    await conversation.ask({ staffId: 'demo-han', text: `/approve ${code}` });
    expect(await conversation.effects()).toEqual([]);
    await conversation.ask({ staffId: 'demo-zhao', text: `/approve ${code} fine` });
    await waitUntil(async () => (await conversation.effects()).length > 0 || null, {
      timeoutMs: 30_000,
      what: 'the restart to happen',
    });
    await conversation.ask({ staffId: 'demo-zhao', text: `/approve ${code} again` });
    expect(await conversation.effects()).toEqual([{ verb: 'restart', service: 'payments' }]);
    const story = await stack.compose(['run', '--rm', '-T', 'cli', 'audit', 'why', code]);
    expect(story).toContain('restart_service');
  }, 120_000);
});

// Last, because it stops a service.
describe('the monitoring', () => {
  const targets = (o: { sealers: number }) => ({
    ...{ 'adapter up': 1, 'agent-core up': 1, 'outbound-sender up': 1, 'audit-sealer up': o.sealers },
    ...{ 'rabbitmq up': 1, 'rabbitmq-queues up': 1, 'prometheus up': 1, 'alertmanager up': 1 },
  });

  it.each([
    ['prometheus', 'promtool', ['check', 'config', '--lint=all', '--lint-fatal', 'prometheus.yml']],
    ['prometheus', 'promtool', ['test', 'rules', 'alerts.test.yml', 'alerts-weeks.test.yml']],
    ['alertmanager', 'amtool', ['check-config', 'alertmanager.yml']],
  ] as const)(
    'has files that %s reads: %s %j',
    async (service, tool, args) => {
      await expect(checkShipped(stack, service, tool, [...args])).resolves.toContain('SUCCESS');
    },
    60_000,
  );

  it('sees every replica of every service, and RabbitMQ', async () => {
    await waitForTargets(stack, targets({ sealers: 1 }));
    await stack.compose(['up', '--detach', '--no-deps', '--no-recreate', '--scale', 'audit-sealer=2', 'audit-sealer']);
    await waitForTargets(stack, targets({ sealers: 2 }));
  }, 60_000);

  it('tells nobody what follows from a service that is down', async () => {
    const states = await raise(stack, [
      { alertname: 'ServiceDown', severity: 'page', job: 'rabbitmq' },
      { alertname: 'RabbitmqAlarm', severity: 'page', job: 'rabbitmq' },
      { alertname: 'ServiceNotReady', severity: 'page', job: 'agent-core' },
      { alertname: 'ServiceStandsStill', severity: 'page', job: 'agent-core' },
      { alertname: 'ToolsFail', severity: 'warning', job: 'agent-core' },
    ]);
    expect(states).toEqual({
      ...{ ServiceDown: 'active', RabbitmqAlarm: 'suppressed' },
      ...{ ServiceNotReady: 'suppressed', ServiceStandsStill: 'suppressed', ToolsFail: 'active' },
    });
  }, 30_000);

  it('tells that a service is down, and that it is back, at the address in the secret file', async () => {
    const listener = await createListener(stack);
    try {
      stack.writeSecret('alert-webhook.url', listener.url);
      await stack.compose(['up', '--detach', '--no-deps', 'secrets']);
      await stack.compose(['stop', 'audit-sealer']);
      const down = { alertname: 'ServiceDown', severity: 'page', job: 'audit-sealer' };
      const { annotations } = await listener.waitFor(down, 'firing');
      expect(annotations['summary']).toBe('No replica of audit-sealer answers: its part of the work stands still.');
      await stack.compose(['start', 'audit-sealer']);
      await listener.waitFor(down, 'resolved');
    } finally {
      await listener.close();
    }
  }, 120_000);
});

/** Talks with the robot of the first room through the simulator. */
function createTalk({ simulatorUrl, rooms: [room], robots: [robot] }: DemoCard) {
  const control = async (verb: string, body?: object): Promise<unknown> => {
    const json = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
    return (await fetch(`${simulatorUrl}/control/${verb}`, body === undefined ? {} : json)).json();
  };
  const read = async (query: string) =>
    ((await control(`messages?${query}`)) as { messages: { n: number; text: string }[] }).messages;
  return {
    /** The first thing that the robot says in that room afterwards. */
    async ask(said: { staffId: string; text: string }): Promise<string> {
      const since = (await read('')).at(-1)?.n ?? 0;
      await control('say', { robot: robot?.name, room: room?.id, ...said });
      const place = `since=${since}&conversationId=${encodeURIComponent(room?.id ?? '')}&from=robot&wait=20000`;
      return (await read(place))[0]?.text ?? '';
    },
    async effects() {
      const { effects } = (await control('effects')) as { effects: { verb: string; service: string }[] };
      return effects.map(({ verb, service }) => ({ verb, service }));
    },
  };
}

/** What was tried, as if all of it had been refused for want of privileges. */
function toRefusals(seen: unknown): Record<string, string> {
  return Object.fromEntries(Object.keys(seen as object).map((what) => [what, '42501']));
}
