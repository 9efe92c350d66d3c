import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createSimulator } from './simulator.ts';
import type { Simulator } from './simulator.ts';
import { buildTestWorld, call } from './testing.ts';

describe('the pretend company system', () => {
  let simulator: Simulator;
  beforeEach(async () => {
    simulator = await createSimulator({ world: buildTestWorld() });
  });
  afterEach(() => simulator.close());
  const ask = (
    method: string,
    path: string,
    body?: unknown,
    headers?: Record<string, string>,
  ): ReturnType<typeof call> => call(`${simulator.url}/systems/${path}`, method, body, headers);
  const key = (name: string): Record<string, string> => ({ 'idempotency-key': name });

  it('shows its services and who is on call', async () => {
    const { body } = await ask('GET', 'services');
    expect(body.services).toMatchObject([{ name: 'payments' }, { name: 'search' }, { name: 'mailer' }]);
    expect((await ask('GET', 'services/payments')).body).toEqual({
      ...{ name: 'payments', version: '2.4.1', replicas: 3, state: 'running', restarts: 0 },
    });
    expect((await ask('GET', 'oncall')).body).toEqual({ oncall: [{ staffId: 'li', name: 'Li' }] });
    expect((await ask('GET', 'services/nope')).status).toBe(404);
    expect((await ask('GET', 'elsewhere')).status).toBe(404);
    expect((await ask('PATCH', 'services/payments')).status).toBe(405);
    expect(await simulator.control.effects()).toEqual([]);
  });

  it('restarts, scales and deletes, and counts each effect', async () => {
    expect((await ask('POST', 'services/mailer/restart', {}, key('k1'))).body).toMatchObject({
      service: { state: 'running', restarts: 1 },
    });
    expect((await ask('POST', 'services/mailer/scale', { replicas: 4 })).body).toMatchObject({
      service: { replicas: 4 },
    });
    expect((await ask('DELETE', 'services/mailer')).status).toBe(200);
    expect((await ask('GET', 'services/mailer')).status).toBe(404);
    expect(await simulator.control.effects()).toMatchObject([
      { n: 1, verb: 'restart', service: 'mailer', idempotencyKey: 'k1', body: {} },
      { n: 2, verb: 'scale', idempotencyKey: null, body: { replicas: 4 } },
      { n: 3, verb: 'delete' },
    ]);
    const later = await call(`${simulator.url}/control/effects?since=1&verb=delete`, 'GET');
    expect(later.body.effects).toMatchObject([{ n: 3 }]);
  });

  it.each([-1, 1.5, 101, '4', undefined])('does not scale to %j', async (replicas) => {
    expect((await ask('POST', 'services/payments/scale', { replicas })).status).toBe(400);
    expect(await simulator.control.effects()).toEqual([]);
  });

  it('does a change once for each idempotency key, unless switched otherwise', async () => {
    const restart = (): ReturnType<typeof call> => ask('POST', 'services/search/restart', {}, key('k1'));
    const [first, second] = [await restart(), await restart()];
    expect(second).toEqual(first);
    expect(await simulator.control.effects()).toHaveLength(1);
    expect((await ask('POST', 'services/payments/restart', {}, key('k1'))).status).toBe(422);
    simulator.control.setFaults({ systemsIdempotency: false });
    await restart();
    expect(await simulator.control.effects()).toHaveLength(2);
  });

  it('wants the token of the world', async () => {
    simulator.control.setWorld({ systems: { token: 't0ken', services: [] } });
    expect((await ask('GET', 'services')).status).toBe(401);
    expect((await ask('GET', 'services', undefined, { authorization: 'Bearer t0ken' })).body).toEqual({ services: [] });
  });

  it('is out of order, leads elsewhere, or talks too much, on demand', async () => {
    const path = '/systems/services/payments/restart';
    const fail = (mode: '500' | 'redirect' | 'huge'): unknown =>
      simulator.control.setFaults({ systemsFaults: [{ path, mode, times: 1 }], systemsHugeBytes: 100_000 });
    const restart = (): Promise<Response> =>
      fetch(`${simulator.url}${path}`, { method: 'POST', redirect: 'manual', body: '{}' });
    fail('500');
    expect((await restart()).status).toBe(500);
    fail('redirect');
    const elsewhere = await restart();
    expect([elsewhere.status, elsewhere.headers.get('location')]).toEqual([302, 'http://elsewhere.invalid/systems']);
    expect(await simulator.control.effects()).toEqual([]);
    fail('huge');
    expect((await (await restart()).text()).length).toBeGreaterThan(100_000);
    expect(await simulator.control.effects()).toHaveLength(1);
  });

  it('can lose the answer of a change that was made, and be slow', async () => {
    const path = '/systems/services/payments/restart';
    simulator.control.setFaults({ loseResponses: [{ path, mode: 'reset', times: 1 }] });
    await expect(ask('POST', 'services/payments/restart', {})).rejects.toThrow();
    expect(await simulator.control.effects()).toHaveLength(1);
    simulator.control.setFaults({ replyDelayMs: { [path]: 60_000 } });
    const slow = ask('POST', 'services/payments/restart', {});
    expect(await simulator.control.effects({ since: 1, wait: 10_000 })).toHaveLength(1);
    simulator.control.reset();
    expect((await slow).status).toBe(200);
    expect((await ask('GET', 'services/payments')).body.restarts).toBe(0);
  });
});
