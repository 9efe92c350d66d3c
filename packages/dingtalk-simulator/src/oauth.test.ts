import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createSimulator } from './simulator.ts';
import type { Simulator } from './simulator.ts';
import { authorise, buildTestWorld, call } from './testing.ts';

const good = { appKey: 'dingops', appSecret: 'this is a secret' };

describe('access tokens', () => {
  let simulator: Simulator;
  let nowMs = 1_760_000_000_000;
  beforeEach(async () => {
    simulator = await createSimulator({ world: buildTestWorld(), now: () => nowMs });
  });
  afterEach(() => simulator.close());
  const fetchNew = (): ReturnType<typeof call> => call(`${simulator.url}/v1.0/oauth2/accessToken`, 'POST', good);
  const status = async (headers: Record<string, string>): Promise<unknown> =>
    (await call(`${simulator.url}/v1.0/robot/oToMessages/batchSend`, 'POST', {}, headers)).body.code;

  it('hands out the same token while it is valid, moves its end, and a new one after 7200 s', async () => {
    const first = await fetchNew();
    expect(first).toMatchObject({ status: 200, body: { expireIn: 7200 } });
    nowMs += 7_000_000;
    expect((await fetchNew()).body.accessToken).toBe(first.body.accessToken);
    nowMs += 7_000_000;
    expect((await fetchNew()).body.accessToken).toBe(first.body.accessToken);
    nowMs += 7_200_000;
    expect((await fetchNew()).body.accessToken).not.toBe(first.body.accessToken);
  });

  it('gives the legacy call the same token in the legacy shape', async () => {
    const { body } = await fetchNew();
    const legacy = await call(`${simulator.url}/gettoken?appkey=dingops&appsecret=this%20is%20a%20secret`, 'GET');
    expect(legacy.body).toEqual({ errcode: 0, errmsg: 'ok', access_token: body.accessToken, expires_in: 7200 });
  });

  it('refuses wrong credentials in the words of each host', async () => {
    const refused = await call(`${simulator.url}/v1.0/oauth2/accessToken`, 'POST', { ...good, appSecret: 'stray ' });
    expect(refused).toMatchObject({
      status: 400,
      body: { code: 'invalidClientIdOrSecret', message: '无效的clientId或者clientSecret' },
    });
    const legacy = await call(`${simulator.url}/gettoken?appkey=dingops&appsecret=x`, 'GET');
    expect(legacy).toMatchObject({ status: 200, body: { errcode: 40089 } });
  });

  it('refuses a missing, an expired and a revoked token', async () => {
    expect(await status({})).toBe('InvalidAuthentication');
    simulator.control.setFaults({ tokenTtlMs: 5_000 });
    const token = await authorise(simulator.url);
    expect(await status(token)).toBe('invalidParameter.robotCode.empty');
    nowMs += 5_000;
    expect(await status(token)).toBe('InvalidAuthentication');
    const next = await authorise(simulator.url);
    expect(simulator.control.revoke({ app: 'ops' })).toEqual({ revoked: 2 });
    expect(await status(next)).toBe('InvalidAuthentication');
  });

  it('tells legacy callers whether the token is missing, expired or unknown', async () => {
    const path = `${simulator.url}/call_back/get_call_back_failed_result`;
    expect((await call(path, 'GET')).body.errcode).toBe(41001);
    expect((await call(`${path}?access_token=nope`, 'GET')).body.errcode).toBe(40014);
    const { body } = await fetchNew();
    nowMs += 7_200_000;
    expect((await call(`${path}?access_token=${String(body.accessToken)}`, 'GET')).body.errcode).toBe(42001);
  });

  it('scales lifetimes with timeScale and says the scaled truth', async () => {
    simulator.control.setFaults({ timeScale: 0.001 });
    expect((await fetchNew()).body.expireIn).toBe(7);
  });
});
