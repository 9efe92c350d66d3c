import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { buildEventSignature, openEvent, sealEvent } from './event-crypto.ts';
import { createSimulator } from './simulator.ts';
import type { Simulator } from './simulator.ts';
import { authorise, buildTestWorld, call, createReceiver, until } from './testing.ts';
import type { Received, Receiver } from './testing.ts';

const own = { token: 'tok3n', aesKey: 'abcdefghijabcdefghijabcdefghijabcdefghijabc', ownerKey: 'dingAppKey123' };
const fixed = { timestamp: '1783610513', nonce: '123456', random: Buffer.from('0123456789abcdef') };
const keys = { ...own, ownerKey: 'dingops' };

describe('event crypto', () => {
  it('opens the official vector and computes its signature', () => {
    const official = {
      token: '123456',
      aesKey: '1234567890123456789012345678901234567890123',
      ownerKey: 'dingsnotzck6pm5veliw',
    };
    const sealed = {
      ...{ timestamp: '1614767836', nonce: 'A7Co0cJLMzIDtMMI', signature: '9a95a004dd16f5c307e849b994173f76aa26e5eb' },
      encrypt: 'YvkvaGe4hQxd3VxRmEty0dVlnCOAqwf56xwTRHDHoOURqhalbmBJQk5FNcRk42Gl5T0YQXZNwpwWSm1xAFJ5ZA==',
    };
    expect(buildEventSignature('123456', sealed.timestamp, sealed.nonce, sealed.encrypt)).toBe(sealed.signature);
    expect(openEvent(official, sealed)).toEqual({ text: 'success' });
    expect(openEvent({ ...official, ownerKey: 'other' }, sealed)).toEqual({ refused: '900010 owner' });
    expect(openEvent(official, { ...sealed, nonce: 'x' })).toEqual({ refused: '900005 signature' });
  });

  it.each([
    [
      'success',
      'rOdhVblQ9KJG0aDOanfKanfUkWPQHBifndg0BgKAvWFfLmUmyUcZGzKOf4zDjVQlRw2+dKxOYZuN4A7PjC9qlA==',
      'ebdfa22051d6771c0526114955206e130efaea78',
    ],
    [
      '{"EventType":"check_url"}',
      'rOdhVblQ9KJG0aDOanfKamOyvS9kNvuzKtPN8hVin7vqdoXVvD2mtKkm6hHFyk5J7ZWDT7Bl97NL5U0Szeh1Ig==',
      '53de6170cdf9704e5b5a4d4700e460d047d54162',
    ],
  ])('seals %s as the reference vector says', (text, encrypt, signature) => {
    expect(sealEvent(own, text, fixed)).toEqual({ encrypt, signature, timestamp: fixed.timestamp, nonce: fixed.nonce });
  });

  it('opens what it seals, whatever the length', () => {
    for (let length = 0; length < 70; length += 1) {
      const text = '审'.repeat(length);
      expect(openEvent(own, sealEvent(own, text, fixed))).toEqual({ text });
    }
  });
});

describe('encrypted events', () => {
  let simulator: Simulator;
  let receiver: Receiver;
  beforeEach(async () => {
    receiver = await createReceiver();
    receiver.answer = () => answer('success');
    const callback = { eventUrl: `${receiver.url}/events?app=ops`, eventToken: own.token, eventAesKey: own.aesKey };
    simulator = await createSimulator({ world: buildTestWorld(callback) });
    simulator.control.setFaults({ httpEventRetryMs: [10, 20] });
  });
  afterEach(async () => {
    await simulator.close();
    await receiver.close();
  });
  const answer = (text: string): Record<string, unknown> => {
    const sealed = sealEvent(keys, text, fixed);
    return {
      msg_signature: sealed.signature,
      timeStamp: sealed.timestamp,
      nonce: sealed.nonce,
      encrypt: sealed.encrypt,
    };
  };
  const open = ({ url, body }: Received): ReturnType<typeof openEvent> => {
    const query = new URL(url, receiver.url).searchParams;
    const pick = (...names: string[]): string =>
      names.map((name) => query.get(name)).find((value) => value !== null) ?? '';
    const signature = pick('msg_signature', 'signature');
    const encrypt = String(body.encrypt);
    return openEvent(keys, { encrypt, signature, timestamp: pick('timestamp', 'timeStamp'), nonce: pick('nonce') });
  };
  const push = (o: object = {}): ReturnType<Simulator['control']['event']> =>
    simulator.control.event({
      app: 'ops',
      eventType: 'bpms_task_change',
      eventId: 'e1',
      payload: { staffId: 'li' },
      ...o,
    });
  const failedList = async (): Promise<Record<string, unknown>> => {
    const token = (await authorise(simulator.url))['x-acs-dingtalk-access-token'] ?? '';
    return (await call(`${simulator.url}/call_back/get_call_back_failed_result?access_token=${token}`, 'GET')).body;
  };

  it('arrive flat, with meta fields in PascalCase, and count when answered with success', async () => {
    expect((await push()).delivered).toEqual([{ via: 'http', outcome: 'acked', status: 200 }]);
    const opened = open(receiver.received[0]!);
    expect(JSON.parse('text' in opened ? opened.text : '{}')).toMatchObject({
      ...{
        EventType: 'bpms_task_change',
        CorpId: 'ding9733',
        eventId: 'e1',
        staffId: 'li',
        EventTime: expect.any(Number),
      },
    });
    expect(receiver.received[0]?.url).toContain('app=ops');
  });

  it('check the URL as the console does', async () => {
    expect((await push({ eventType: 'check_url', payload: {} })).delivered[0]?.outcome).toBe('acked');
    expect(open(receiver.received[0]!)).toEqual({ text: '{"EventType":"check_url"}' });
  });

  it('are repeated on schedule, then listed as failed until the read after next', async () => {
    receiver.answers = [{ status: 500 }, { status: 200, body: {} }, { status: 200, body: answer('failure') }];
    await push();
    const [record] = await simulator.control.sent();
    await until(() => record?.outcome === 'failed', 'the last attempt');
    expect(record?.attempts.map((attempt) => attempt.error)).toEqual([
      undefined,
      '900005 signature',
      'answered failure',
    ]);
    expect(await failedList()).toMatchObject({
      ...{ errcode: 0, has_more: false },
      failed_list: [
        {
          call_back_tag: 'bpms_task_change',
          bpms_task_change: { corpid: 'ding9733', bpmsCallBackData: { staffId: 'li' } },
        },
      ],
    });
    expect(await failedList()).toMatchObject({ failed_list: [] });
  });

  it('give up waiting after the push timeout', async () => {
    simulator.control.setFaults({ eventPushTimeoutMs: 100, httpEventRetryMs: [] });
    receiver.answers = ['hang'];
    expect((await push()).delivered).toEqual([{ via: 'http', outcome: 'timeout' }]);
  });

  it('can be spelled in the other official way', async () => {
    simulator.control.setFaults({ eventParamSpelling: 'signature' });
    await push();
    const query = new URL(receiver.received[0]!.url, receiver.url).searchParams;
    expect([...query.keys()].sort()).toEqual(['app', 'nonce', 'signature', 'timeStamp']);
    expect(open(receiver.received[0]!)).toHaveProperty('text');
  });

  it('can be sealed for another owner, signed badly, or padded wrongly', async () => {
    simulator.control.setFaults({ eventCrypto: 'wrongOwner' });
    await push();
    simulator.control.setFaults({ eventCrypto: 'badSignature' });
    await push();
    simulator.control.setFaults({ eventCrypto: 'wrongPad' });
    await push();
    const [owner, signature, pad] = receiver.received.map(open);
    expect(owner).toEqual({ refused: '900010 owner' });
    expect(signature).toEqual({ refused: '900005 signature' });
    // The platform's steps ignore a last byte outside 1..32, so the padding stays behind the owner key.
    expect(pad).toEqual({ refused: '900010 owner' });
  });
});
