import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { buildCardSign, buildSign } from './signatures.ts';
import { createSimulator } from './simulator.ts';
import type { Simulator } from './simulator.ts';
import { buildTestWorld, call } from './testing.ts';

const text = { msgtype: 'text', text: { content: 'disk full' } };
const ok = { errcode: 0, errmsg: 'ok' };

describe('webhooks', () => {
  let simulator: Simulator;
  let nowMs = 1_760_000_000_000;
  beforeEach(async () => {
    simulator = await createSimulator({ world: buildTestWorld(), now: () => nowMs });
  });
  afterEach(() => simulator.close());
  const send = async (
    query: string,
    body: unknown = text,
    method = 'POST',
    type = 'application/json',
  ): Promise<unknown> => {
    const payload = method === 'GET' ? undefined : body;
    const answer = await call(`${simulator.url}/robot/send${query}`, method, payload, { 'content-type': type });
    expect(answer.status).toBe(200);
    return answer.body;
  };
  const newSession = async (): Promise<string> => {
    await simulator.control.say({ robot: 'ops', room: 'ops-room', staffId: 'li', text: 'x' });
    const push = (await simulator.control.sent()).at(-1);
    return String(push?.payload.sessionWebhook);
  };

  it('signs like the reference vectors', () => {
    expect(buildSign('1577262236757', 'this is a secret')).toBe('DJrE6qdyVGCQz9z5r2MDuNcNAhwYnuAkyj13cx169CA=');
    expect(encodeURIComponent(buildSign('1577262236757', 'this is secret'))).toBe(
      'hmPWwU%2B7lVdm3ZZz0r9tSfx0L4Q26jWOZr9%2BGs6EZQM%3D',
    );
    expect(buildCardSign('1577262236757', 'my-secret')).toBe('zyMk1b2I60L5lWlUZImvCHMSdMtolnOzrhCiQAlqOCw=');
  });

  it('refuses with HTTP 200 and the errcode of each cause', async () => {
    expect(await send('?access_token=plain', text, 'GET')).toEqual({ errcode: 43002, errmsg: '需要POST请求' });
    expect(await send('')).toEqual({ errcode: 40035, errmsg: '缺少参数 access_token' });
    expect(await send('?access_token=nope')).toEqual({ errcode: 300005, errmsg: 'token is not exist' });
    expect(await send('?access_token=plain', text, 'POST', 'text/plain')).toMatchObject({ errcode: 43004 });
    expect(await send('?access_token=plain', 'not json')).toEqual({ errcode: 40035, errmsg: '缺少参数 json' });
    expect(await send('?access_token=plain', { msgtype: 'image' })).toMatchObject({ errcode: 400105 });
    expect(await send('?access_token=plain', { msgtype: 'text' })).toMatchObject({ errcode: 40035 });
    expect(await simulator.control.messages()).toEqual([]);
  });

  it('checks keywords, addresses and bodies above 20000 bytes', async () => {
    expect(await send('?access_token=keyword')).toEqual({ errcode: 310000, errmsg: 'keywords not in content' });
    expect(await send('?access_token=keyword', { msgtype: 'text', text: { content: '磁盘告警' } })).toEqual(ok);
    expect(await send('?access_token=fenced')).toEqual({ errcode: 310000, errmsg: 'ip 127.0.0.1 not in whitelist' });
    simulator.control.setFaults({ callerIp: '10.1.2.3' });
    expect(await send('?access_token=fenced')).toEqual(ok);
    const sized = (bytes: number): unknown => {
      const frame = Buffer.byteLength(JSON.stringify({ msgtype: 'text', text: { content: '' } }));
      return { msgtype: 'text', text: { content: 'x'.repeat(bytes - frame) } };
    };
    expect(await send('?access_token=plain', sized(20_000))).toEqual(ok);
    expect(await send('?access_token=plain', sized(20_001))).toEqual({
      ...{ errcode: 460101, errmsg: 'message too long, exceed 20000 bytes' },
    });
  });

  it('checks the signature and allows one hour of clock difference either way', async () => {
    const signed = (at: number): string =>
      `?access_token=signed&timestamp=${at}&sign=${encodeURIComponent(buildSign(`${at}`, 'SECabc'))}`;
    expect(await send(signed(nowMs - 3_600_000))).toEqual(ok);
    expect(await send(signed(nowMs + 3_600_000))).toEqual(ok);
    expect(await send(signed(nowMs - 3_600_001))).toEqual({ errcode: 310000, errmsg: 'invalid timestamp' });
    expect(await send('?access_token=signed')).toEqual({ errcode: 310000, errmsg: 'invalid timestamp' });
    expect(await send(`?access_token=signed&timestamp=${nowMs}&sign=x`)).toEqual({
      errcode: 310000,
      errmsg: 'sign not match',
    });
  });

  it('takes 20 sends a minute, then blocks the robot for ten minutes', async () => {
    const tooFast = { errcode: 130101, errmsg: 'send too fast, exceed 20 times per minute' };
    for (let at = 0; at < 20; at += 1) expect(await send('?access_token=plain')).toEqual(ok);
    expect(await send('?access_token=plain')).toEqual(tooFast);
    expect(await send('?access_token=keyword', { msgtype: 'text', text: { content: 'alert' } })).toEqual(ok);
    nowMs += 599_999;
    expect(await send('?access_token=plain')).toEqual(tooFast);
    nowMs += 1;
    expect(await send('?access_token=plain')).toEqual(ok);
    simulator.control.setFaults({ customRobotSends: 0, customRobotOverCode: '410100' });
    expect(await send('?access_token=plain')).toMatchObject({ errcode: 410100 });
    expect(await simulator.control.messages()).toHaveLength(22);
  });

  it('shows a message sent twice with one msgUuid once', async () => {
    const body = { ...text, msgUuid: 'u-1' };
    expect(await send('?access_token=plain', body)).toEqual(ok);
    expect(await send('?access_token=plain', body)).toEqual(ok);
    expect(await simulator.control.messages()).toHaveLength(1);
    expect((await simulator.control.calls()).map((row) => row.outcome)).toEqual(['ok', 'ok (repeated msgUuid)']);
  });

  it('replies through the session webhook and says whom an @ reaches', async () => {
    const webhook = await newSession();
    const at = { atUserIds: ['li', 'wang'] };
    const answer = await call(webhook, 'POST', { msgtype: 'markdown', markdown: { title: 't', text: '@li done' }, at });
    expect(answer).toEqual({ status: 200, body: ok });
    const [reply] = await simulator.control.messages({ from: 'robot' });
    expect(reply).toMatchObject({
      conversationId: 'cidOps==',
      text: '@li done',
      mentions: ['li'],
      via: 'sessionWebhook',
    });
  });

  it('forgets a session at its sessionWebhookExpiredTime, 90 minutes later', async () => {
    const webhook = await newSession();
    const [push] = await simulator.control.sent();
    expect(push?.payload.sessionWebhookExpiredTime).toBe(nowMs + 5_400_000);
    nowMs += 5_399_999;
    expect((await call(webhook, 'POST', text)).body).toEqual(ok);
    nowMs += 1;
    const gone = { errcode: 300001, errmsg: 'session 不存在' };
    expect((await call(webhook, 'POST', text)).body).toEqual(gone);
    expect((await call(`${simulator.url}/robot/sendBySession?session=x`, 'POST', text)).body).toEqual(gone);
    simulator.control.setFaults({ sessionTtlMs: 0 });
    expect((await call(await newSession(), 'POST', text)).body).toEqual(gone);
  });
});
