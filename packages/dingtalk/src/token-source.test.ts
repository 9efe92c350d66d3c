import { afterEach, describe, expect, it } from '@jest/globals';
import { answerJson, startLocalServer } from './local-server.test-support.ts';
import type { LocalServer } from './local-server.test-support.ts';
import { createTokenSource } from './token-source.ts';

let server: LocalServer | undefined;
afterEach(() => server?.close());

const minute = 60_000;
const appSecret = 'app-secret-0123456789';

async function start(answers: [number, unknown][]) {
  let clockMs = 1_760_000_000_000;
  const started = await startLocalServer((_request, response) => {
    const [status, body] = answers.shift() ?? [500, { code: 'system.busy' }];
    answerJson(response, status, body);
  });
  server = started;
  const tokens = createTokenSource({ apiUrl: started.url, appKey: 'dingoabc', appSecret, now: () => clockMs });
  return { tokens, requests: started.requests, pass: (ms: number) => (clockMs += ms) };
}
const good = (accessToken: string): [number, unknown] => [200, { accessToken, expireIn: 7200 }];

describe('token source', () => {
  it('asks once for many callers and caches the answer', async () => {
    const { tokens, requests } = await start([good('token-one')]);
    expect(await Promise.all([tokens.get(), tokens.get(), tokens.get()])).toEqual(Array(3).fill('token-one'));
    expect(await tokens.get()).toBe('token-one');
    expect(requests).toMatchObject([
      { method: 'POST', url: '/v1.0/oauth2/accessToken', body: { appKey: 'dingoabc', appSecret } },
    ]);
  });

  it('refreshes ten minutes before the end', async () => {
    const { tokens, pass } = await start([good('token-one'), good('token-two')]);
    await tokens.get();
    pass(109 * minute);
    expect(await tokens.get()).toBe('token-one');
    pass(1 * minute);
    expect(await tokens.get()).toBe('token-two');
  });

  it('uses a valid token on when the early refresh fails, and asks again half a minute later', async () => {
    const { tokens, requests, pass } = await start([good('token-one')]);
    await tokens.get();
    pass(111 * minute);
    expect(await tokens.get()).toBe('token-one');
    expect(await tokens.get()).toBe('token-one');
    expect(requests).toHaveLength(2);
    pass(minute);
    expect(await tokens.get()).toBe('token-one');
    expect(requests).toHaveLength(3);
    pass(10 * minute);
    await expect(tokens.get()).rejects.toMatchObject({ code: 'DINGTALK_TOKEN_UNAVAILABLE', retryable: true });
  });

  it('forgets an invalidated token, but not the one that replaced it', async () => {
    const { tokens, requests } = await start([good('token-one'), good('token-two')]);
    tokens.invalidate(await tokens.get());
    expect(await tokens.get()).toBe('token-two');
    tokens.invalidate('token-one');
    expect(await tokens.get()).toBe('token-two');
    expect(requests).toHaveLength(2);
  });

  it.each([
    [
      400,
      { code: 'invalidClientIdOrSecret', message: '无效的clientId或者clientSecret' },
      'DINGTALK_TOKEN_REFUSED',
      false,
    ],
    [403, { code: 'Forbidden.AccessDenied.IpNotInWhiteList' }, 'DINGTALK_TOKEN_REFUSED', false],
    [500, { code: 'system.busy' }, 'DINGTALK_TOKEN_UNAVAILABLE', true],
    [200, { nothing: true }, 'DINGTALK_TOKEN_UNAVAILABLE', true],
    [502, '<html>', 'DINGTALK_TOKEN_UNAVAILABLE', true],
  ])('rejects on HTTP %i %j', async (status, body, code, retryable) => {
    const { tokens } = await start([[status, body]]);
    const failed: unknown = await tokens.get().catch((error: unknown) => error);
    expect(failed).toMatchObject({ code, retryable });
    expect(JSON.stringify([failed, String(failed)])).not.toContain(appSecret);
  });
});
