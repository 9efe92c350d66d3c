import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { GetMessage } from 'amqplib';
import { deadQueueName, exchangeOf } from '@steward/contracts';
import { waitUntil, withTcpProxy } from '@steward/testkit';
import { deadCodes, maxBodyBytes } from './bus.ts';
import { buildReceipt } from './bus-contract.ts';
import {
  type RabbitBench,
  arrived,
  createRabbitBench,
  publishUntilConfirmed,
  queue,
  readyAgain,
  wait,
} from './rabbit-bench.ts';
import { deadCodeHeader } from './rabbit-publisher.ts';

describe('the RabbitMQ bus, at its edges', () => {
  let bench: RabbitBench;
  beforeEach(async () => {
    bench = await createRabbitBench();
  });
  afterEach(() => bench.close());

  it('starts without a server, refuses at once, and comes up when the server does', async () => {
    await withTcpProxy(bench.url, async (proxy) => {
      proxy.set('refusing');
      const { bus, seen } = await bench.openConsumer({ url: proxy.url(bench.url) });
      const publisher = await bench.open({ url: proxy.url(bench.url) });
      expect([bus.isReady(), publisher.isReady()]).toEqual([false, false]);
      // The confirm timeout is 10 s: an answer long before it was not waited for.
      const askedAt = performance.now();
      expect(await publisher.publish([buildReceipt()])).toEqual(['failed']);
      expect(performance.now() - askedAt).toBeLessThan(5_000);
      proxy.set('passing');
      await readyAgain(bus);
      const message = buildReceipt();
      await publishUntilConfirmed(publisher, [message]);
      await arrived(seen, [message]);
      await Promise.all([bus.close(), publisher.close()]);
    });
  });

  it('buries bodies that are no JSON or too large, as they came and with the reason', async () => {
    const { seen } = await bench.openConsumer();
    const publisher = await bench.open();
    const large = Buffer.alloc(maxBodyBytes + 1, 'x');
    await bench.asAdministrator(async (channel) => {
      for (const body of [Buffer.from('{"half":'), Buffer.alloc(0), large]) {
        channel.publish(exchangeOf('agent-core'), 'inbound.settled.v1', body);
      }
      const letters: GetMessage[] = [];
      const all = async () => {
        const letter = await channel.get(deadQueueName(queue), { noAck: true });
        if (letter) letters.push(letter);
        return letters.length === 3;
      };
      await waitUntil(all, { ...wait, what: 'three dead letters' });
      const codes = letters.map(
        ({ content, properties }) => `${content.length} ${properties.headers?.[deadCodeHeader]}`,
      );
      expect(new Set(codes)).toEqual(
        new Set([
          `0 ${deadCodes.bodyInvalid}`,
          `8 ${deadCodes.bodyInvalid}`,
          `${large.length} ${deadCodes.bodyTooLarge}`,
        ]),
      );
    });
    const message = buildReceipt();
    await publishUntilConfirmed(publisher, [message]);
    await arrived(seen, [message]);
    expect(seen).toHaveLength(1);
  });

  it('lets a handler in hand publish while the bus closes', async () => {
    const { seen } = await bench.openConsumer();
    const agent = await bench.open();
    const gate = Promise.withResolvers<undefined>();
    const answer = buildReceipt();
    let begun = false;
    await agent.consume('agent-core.outbound.v1', async () => {
      begun = true;
      await gate.promise;
      expect(await agent.publish([answer])).toEqual(['confirmed']);
    });
    const sender = await bench.open({ service: 'outbound-sender' });
    const recorded = {
      ...buildReceipt(),
      type: 'outbound.recorded.v1',
      body: { outboundMessageId: answer.id },
    } as const;
    await publishUntilConfirmed(sender, [recorded]);
    await waitUntil(() => begun, { ...wait, what: 'the handler' });
    const closed = agent.close();
    gate.resolve(undefined);
    await closed;
    await arrived(seen, [answer]);
    expect(await bench.vhost.queueLength('agent-core.outbound.v1')).toBe(0);
  });

  it('does not start with an address that can never work, and does not quote it', async () => {
    for (const url of ['not an address: hunter2', 'http://user:hunter2@127.0.0.1', '']) {
      const refusal = await bench.open({ url }).catch((error: unknown) => error);
      expect(refusal).toMatchObject({ code: 'AMQP_URL_INVALID', retryable: false });
      expect(JSON.stringify(refusal, Object.getOwnPropertyNames(refusal))).not.toContain('hunter2');
    }
  });

  it('does not consume the queue of another service', async () => {
    const bus = await bench.open({ service: 'outbound-sender' });
    await expect(bus.consume(queue, () => Promise.resolve())).rejects.toThrow('belongs to another service');
  });
});
