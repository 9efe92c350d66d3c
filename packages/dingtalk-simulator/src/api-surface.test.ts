import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createSimulator } from './simulator.ts';
import type { Simulator } from './simulator.ts';
import { buildTestWorld, call } from './testing.ts';

const send = '/robot/send';
const text = { msgtype: 'text', text: { content: 'disk full' } };

describe('the API surface', () => {
  let simulator: Simulator;
  beforeEach(async () => {
    simulator = await createSimulator({ world: buildTestWorld() });
  });
  afterEach(() => simulator.close());
  const robotSend = (): ReturnType<typeof call> => call(`${simulator.url}${send}?access_token=plain`, 'POST', text);

  it('answers 501 for a path it does not know, and keeps it on record', async () => {
    const answer = await call(`${simulator.url}/v1.0/card/streaming`, 'PUT', { outTrackId: 'a' });
    expect(answer).toMatchObject({ status: 501, body: { code: 'simulator.unsupported' } });
    expect((await call(`${simulator.url}/v1.0/oauth2/accessToken`, 'GET')).status).toBe(501);
    expect(await simulator.control.calls({ outcome: 'unsupported' })).toMatchObject([
      { method: 'PUT', path: '/v1.0/card/streaming', body: { outTrackId: 'a' }, status: 501 },
      { method: 'GET', path: '/v1.0/oauth2/accessToken' },
    ]);
  });

  it.each([
    ['system.busy', 500, { code: 'system.busy' }],
    ['unknown.send.result', 400, { code: 'unknown.send.result', message: '%s' }],
    ['gateway503', 503, { page: '<html><body><h1>503</h1></body></html>' }],
    ['oapi.-1', 200, { errcode: -1 }],
    ['oapi.88', 200, { errcode: 88, sub_code: '60011' }],
  ] as const)('fails the next call with %s, without effect, and then no more', async (reply, status, body) => {
    simulator.control.setFaults({ failNext: [{ path: send, reply, times: 1 }] });
    expect(await robotSend()).toMatchObject({ status, body });
    expect(await simulator.control.messages()).toEqual([]);
    expect((await robotSend()).body).toEqual({ errcode: 0, errmsg: 'ok' });
  });

  it.each(['504', 'reset', 'hang'] as const)('can lose the answer (%s) of a send that took effect', async (mode) => {
    simulator.control.setFaults({ loseResponses: [{ path: send, mode, times: 1 }] });
    const answer = fetch(`${simulator.url}${send}?access_token=plain`, {
      ...{ method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(text) },
      signal: AbortSignal.timeout(mode === 'hang' ? 500 : 10_000),
    });
    if (mode === '504') expect((await answer).status).toBe(504);
    else await expect(answer).rejects.toThrow();
    expect(await simulator.control.messages()).toHaveLength(1);
    expect(await simulator.control.calls()).toMatchObject([{ outcome: 'ok (response lost)' }]);
    expect((await robotSend()).status).toBe(200);
  });

  it('can be slow before and after a call takes effect', async () => {
    simulator.control.setFaults({ latencyMs: { [send]: 60_000 } });
    const slow = call(`${simulator.url}${send}?access_token=plain`, 'POST', text);
    await call(`${simulator.url}/gettoken`, 'GET');
    expect(await simulator.control.calls({ path: send })).toEqual([]);
    simulator.control.reset();
    expect((await slow).status).toBe(200);
    simulator.control.setFaults({ replyDelayMs: { '*': 60_000 } });
    const late = call(`${simulator.url}${send}?access_token=plain`, 'POST', text);
    expect(await simulator.control.calls({ path: send, since: 2, wait: 10_000 })).toHaveLength(1);
    simulator.control.reset();
    expect((await late).status).toBe(200);
  });

  it('bans an address from every API in a body that is not an API error', async () => {
    simulator.control.setFaults({ ipBan: 'json' });
    expect(await robotSend()).toMatchObject({
      status: 200,
      body: { status: 1111, wait: 5, source: 'x5', punish: 'deny' },
    });
    simulator.control.setFaults({ ipBan: 'html', ipBanStatus: 403 });
    expect(await robotSend()).toEqual({ status: 403, body: { page: '<html><body>punish</body></html>' } });
    simulator.control.setFaults({ ipBan: 'off', ipCallLimit: 1, ipBanMs: 600_000 });
    expect((await robotSend()).body.errcode).toBe(0);
    expect((await robotSend()).body.status).toBe(1111);
    simulator.control.setFaults({ ipCallLimit: null });
    expect((await robotSend()).body.status).toBe(1111);
    simulator.control.reset();
    expect((await robotSend()).body.errcode).toBe(0);
  });
});
