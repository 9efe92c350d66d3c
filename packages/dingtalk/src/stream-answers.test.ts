import { afterEach, describe, expect, it } from '@jest/globals';
import { until } from './local-server.test-support.ts';
import { deferred, robotFrame, start, stopAll } from './stream-client.test-support.ts';
import { cardTopic, robotTopic } from './stream-frame.ts';
import { frameText } from './stream-gateway.test-support.ts';

afterEach(stopAll);

describe('answering', () => {
  it('acks a robot message only once it is durable', async () => {
    const durable = deferred<undefined>();
    const seen: unknown[] = [];
    const { gateway } = await start({
      receivers: { robotMessage: (payload, push) => (seen.push(payload, push), durable.promise) },
    });
    const { ws, received } = await gateway.socket(0);
    ws.send(robotFrame('f1'));
    ws.send(frameText('SYSTEM', 'ping', 'p1', '{"opaque":"123-dsfs"}'));
    // The ping came after the push and is answered before it.
    await until(() => received.length === 1);
    expect(received).toEqual([
      {
        code: 200,
        message: 'OK',
        headers: { messageId: 'p1', contentType: 'application/json' },
        data: '{"opaque":"123-dsfs"}',
      },
    ]);
    expect(seen).toEqual([{ msgId: 'm1' }, { messageId: 'f1', connectionId: 'conn-1' }]);
    durable.resolve(undefined);
    await until(() => received.length === 2);
    expect(received[1]).toMatchObject({ code: 200, headers: { messageId: 'f1' }, data: '{"response":null}' });
  });

  it('leaves a robot message unacked that could not be made durable, at once or in time', async () => {
    const fates = [Promise.reject(new Error('disk full')), new Promise<void>(() => undefined), Promise.resolve()];
    const { gateway, lines, timers } = await start({
      receivers: { robotMessage: () => fates.shift() ?? Promise.resolve() },
    });
    const { ws, received } = await gateway.socket(0);
    const failures = () => lines.filter((line) => line.event === 'stream.push_failed').length;
    ws.send(robotFrame('f1'));
    await until(() => failures() === 1);
    ws.send(robotFrame('f2'));
    await until(() => timers.delays.filter((ms) => ms === 20_000).length === 2);
    timers.advance(20_000);
    await until(() => failures() === 2);
    ws.send(robotFrame('f3'));
    await until(() => received.some((ack) => JSON.stringify(ack['headers']).includes('f3')));
    expect(JSON.stringify(received)).not.toMatch(/f1|f2/);
  });

  it('answers a card with its response, and 500 before the 2 s are over', async () => {
    const clicks = [
      Promise.resolve({ cardUpdateOptions: { updateCardDataByKey: true, updatePrivateDataByKey: true } } as const),
    ];
    const { gateway, timers } = await start({
      receivers: { cardCallback: () => clicks.shift() ?? new Promise(() => undefined) },
    });
    const { ws, received } = await gateway.socket(0);
    ws.send(frameText('CALLBACK', cardTopic, 'c1', { outTrackId: 'a' }));
    await until(() => received.length === 1);
    expect(JSON.parse(String(received[0]?.['data']))).toMatchObject({
      response: { cardUpdateOptions: { updateCardDataByKey: true } },
    });
    ws.send(frameText('CALLBACK', cardTopic, 'c2', { outTrackId: 'a' }));
    await until(() => timers.delays.filter((ms) => ms === 1_900).length === 2);
    timers.advance(2_000);
    await until(() => received.length === 2);
    expect(received[1]).toMatchObject({ code: 500, headers: { messageId: 'c2' } });
  });

  it('answers events SUCCESS or LATER', async () => {
    const answers = [
      Promise.resolve('SUCCESS' as const),
      Promise.resolve('LATER' as const),
      Promise.reject(new Error('x')),
    ];
    const types: string[] = [];
    const { gateway } = await start({
      receivers: {
        platformEvent: (view) => {
          types.push(view.eventType);
          return answers.shift() ?? Promise.resolve('LATER');
        },
      },
    });
    const { ws, received } = await gateway.socket(0);
    for (const id of ['e1', 'e2', 'e3'])
      ws.send(frameText('EVENT', '*', id, {}, { eventType: 'user_leave_org', eventId: id }));
    await until(() => received.length === 3);
    const statusOf = (id: string) => received.find((ack) => JSON.stringify(ack['headers']).includes(id))?.['data'];
    expect(statusOf('e1')).toBe('{"status":"SUCCESS","message":"ok"}');
    for (const id of ['e2', 'e3']) expect(statusOf(id)).toMatch(/^{"status":"LATER"/);
    expect(types).toEqual(Array(3).fill('user_leave_org'));
  });

  it('answers 404 to what nobody receives and 400 to data that is no JSON', async () => {
    const { gateway } = await start();
    const { ws, received } = await gateway.socket(0);
    ws.send(frameText('CALLBACK', '/v1.0/graph/api/invoke', 'x1', {}));
    ws.send(frameText('CALLBACK', cardTopic, 'x2', {}));
    ws.send(frameText('EVENT', '*', 'x3', {}));
    ws.send(frameText('CALLBACK', robotTopic, 'x4', 'no json'));
    await until(() => received.length === 4);
    expect(received.map((ack) => ack['code']).sort()).toEqual([400, 404, 404, 404]);
  });

  it('survives frames that are no frames', async () => {
    const { gateway, client } = await start();
    const { ws, received } = await gateway.socket(0);
    for (const odd of ['', 'x', '[]', '{}', '{"type":"CALLBACK","headers":{}}', '{"type":1}', '"\ud800"']) ws.send(odd);
    ws.send(Buffer.from([0xff, 0x00]));
    ws.send(robotFrame('f1'));
    await until(() => received.length === 1);
    expect(received[0]).toMatchObject({ code: 200, headers: { messageId: 'f1' } });
    expect(client.status()).toMatchObject({ connected: true, connectionIds: ['conn-1'] });
  });

  it('leaves pushes unacked while too many are in hand', async () => {
    const durable = deferred<undefined>();
    const { gateway, lines } = await start({ maxInHand: 2, receivers: { robotMessage: () => durable.promise } });
    const { ws, received } = await gateway.socket(0);
    for (const id of ['f1', 'f2', 'f3', 'f4']) ws.send(robotFrame(id));
    ws.send(frameText('SYSTEM', 'ping', 'p1', '{}'));
    await until(() => received.length === 1);
    durable.resolve(undefined);
    await until(() => received.length === 3);
    ws.send(robotFrame('f5'));
    await until(() => received.length === 4);
    expect(received.map((ack) => JSON.stringify(ack['headers']).slice(14, 16))).toEqual(['p1', 'f1', 'f2', 'f5']);
    expect(lines.filter((line) => line.event === 'stream.overloaded')).toHaveLength(1);
  });
});
