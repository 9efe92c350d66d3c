import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { parse } from 'yaml';
import { createSimulator, type Simulator } from '@steward/dingtalk-simulator';
import { stewardConfigSchema } from '@steward/service-kit';
import type { JsonObject } from '@steward/governance';
import { createEgress } from './egress.ts';
import { loadHttpTools } from './load-http-tools.ts';
import type { Tool } from './tool.ts';
import { buildCallContext, never } from './tools.test-support.ts';

const inRepository = (path: string) => fileURLToPath(new URL(`../../../${path}`, import.meta.url));

let simulator: Simulator;
let tools: readonly Tool[];
beforeAll(async () => {
  const world = { corpId: 'dingdemo', apps: [], customRobots: [], rooms: [], people: [] };
  simulator = await createSimulator({ port: 0, world });
  const config = stewardConfigSchema.parse(parse(readFileSync(inRepository('deploy/demo-stack/steward.yaml'), 'utf8')));
  // What the demo in one process does: the same tools, another host under the same name.
  const hosts = config.tools.hosts.map((host) => ({ ...host, host: new URL(simulator.url).host }));
  const folder = inRepository('deploy/demo-stack/tools');
  tools = await loadHttpTools({
    folder,
    config: { ...config.tools, hosts },
    secretsDir: '/nonexistent',
    egress: createEgress(),
  });
});
afterAll(() => simulator.close());

const find = (name: string): Tool => {
  const tool = tools.find(({ definition }) => definition.name === name);
  if (tool === undefined) throw new Error(`no tool ${name}`);
  return tool;
};
const call = (name: string, args: JsonObject, idempotencyKey = `key-of-${name}`) => {
  const { run } = find(name);
  if (run.kind !== 'call') throw new Error('not a call');
  return run.call(args, buildCallContext({ idempotencyKey }), never);
};
const verbs = async () => (await simulator.control.effects()).map(({ verb, idempotencyKey }) => [verb, idempotencyKey]);

describe('the tools of the demo, on the systems of the simulator', () => {
  it('look without changing anything', async () => {
    expect(await call('list_services', {})).toMatchObject({
      kind: 'done',
      output: expect.stringMatching(/^\{"name":"payments",.*\}\n\{"name":"search",.*\}\n\{"name":"mailer",.*\}$/),
    });
    expect(await call('service_status', { service: 'mailer' })).toEqual({
      kind: 'done',
      output: 'name: mailer\nversion: 0.7.3\nreplicas: 1\nstate: degraded',
    });
    expect(await call('service_status', { service: 'nothing' })).toMatchObject({ kind: 'failed', code: 'HTTP_404' });
    expect(await verbs()).toEqual([]);
  });

  it('show approvers how it is now, and change exactly what was asked for, under one key', async () => {
    const preview = { version: '0.7.3', replicas: 1, state: 'degraded' };
    expect(await find('restart_service').preview?.({ service: 'mailer' }, buildCallContext(), never)).toEqual(preview);
    expect(await call('restart_service', { service: 'mailer' })).toMatchObject({ kind: 'done' });
    expect(await call('scale_service', { service: 'mailer', replicas: 4 })).toMatchObject({ kind: 'done' });
    expect(await call('scale_service', { service: 'mailer', replicas: 4 })).toMatchObject({ kind: 'done' });
    expect(await call('delete_service', { service: 'search' })).toMatchObject({ kind: 'done' });
    expect(await verbs()).toEqual([
      ['restart', 'key-of-restart_service'],
      ['scale', 'key-of-scale_service'],
      ['delete', 'key-of-delete_service'],
    ]);
  });

  it.each<[string, 'service_status' | 'restart_service', '500' | 'redirect' | 'huge', string]>([
    ['a read that breaks has failed', 'service_status', '500', 'failed'],
    ['a read that is sent elsewhere has failed', 'service_status', 'redirect', 'failed'],
    ['a read that is answered with too much has failed', 'service_status', 'huge', 'failed'],
    ['a write that breaks is unknown', 'restart_service', '500', 'unknown'],
    ['a write that is sent elsewhere is unknown', 'restart_service', 'redirect', 'unknown'],
    ['a write that is answered with too much is unknown', 'restart_service', 'huge', 'unknown'],
  ])('%s', async (_, name, mode, kind) => {
    const path = name === 'service_status' ? '/systems/services/payments' : '/systems/services/payments/restart';
    simulator.control.setFaults({ systemsFaults: [{ path, mode, times: 1 }] });
    expect((await call(name, { service: 'payments' }, `key-${mode}`)).kind).toBe(kind);
  });
});
