import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { exchangeOf } from '@steward/contracts';
import { waitUntil, withTcpProxy } from '@steward/testkit';
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
import { blockedFrame, createWiretap, unblockedFrame } from './wiretap.ts';

describe('the RabbitMQ bus, when the server fails it', () => {
  let bench: RabbitBench;
  beforeEach(async () => {
    bench = await createRabbitBench();
  });
  afterEach(() => bench.close());

  it('comes back after the server closed its connections, and loses nothing', async () => {
    const publisher = await bench.open();
    const { bus, seen } = await bench.openConsumer();
    const batch = Array.from({ length: 300 }, buildReceipt);
    await publishUntilConfirmed(publisher, batch.slice(0, 100));
    const cutUntilSeen = async () => {
      await bench.vhost.closeConnections();
      return bench.lost('agent-core publish') > 0 && bench.lost('adapter consume') > 0;
    };
    // The management API learns of connections every few seconds.
    const [cut] = await Promise.allSettled([
      waitUntil(cutUntilSeen, { ...wait, what: 'both kinds of connection to be closed' }),
      publishUntilConfirmed(publisher, batch.slice(100, 200)),
    ]);
    expect(cut.status).toBe('fulfilled');
    await readyAgain(publisher);
    await readyAgain(bus);
    await publishUntilConfirmed(publisher, batch.slice(200));
    await arrived(seen, batch);
  }, 60_000);

  it('makes a deleted queue again', async () => {
    const publisher = await bench.open();
    const { bus, seen } = await bench.openConsumer();
    await bench.asAdministrator((channel) => channel.deleteQueue(queue));
    await waitUntil(() => bench.lost('adapter consume') > 0, { ...wait, what: 'the notice of the deletion' });
    await readyAgain(bus);
    const batch = [buildReceipt(), buildReceipt()];
    await publishUntilConfirmed(publisher, batch);
    await arrived(seen, batch);
  });

  it('says unroutable for a lost binding, until it is made again', async () => {
    const publisher = await bench.open();
    const { seen } = await bench.openConsumer({ reassertMs: 1_000 });
    const message = buildReceipt();
    await bench.asAdministrator((channel) => channel.unbindQueue(queue, exchangeOf('agent-core'), message.type));
    expect(await publisher.publish([message])).toEqual(['unroutable']);
    await publishUntilConfirmed(publisher, [message]);
    await arrived(seen, [message]);
    expect(bench.lost('adapter consume')).toBe(0);
  });

  it('answers for every publish when the server closes the channel, and opens another', async () => {
    const publisher = await bench.open();
    const { seen } = await bench.openConsumer({ reassertMs: 1_000 });
    await bench.asAdministrator((channel) => channel.deleteExchange(exchangeOf('agent-core')));
    const batch = Array.from({ length: 250 }, buildReceipt);
    // The exchange is gone: 404 closes the channel while a full window is unconfirmed.
    expect(new Set(await publisher.publish(batch))).toEqual(new Set(['failed']));
    await waitUntil(() => bench.lost('agent-core publish') > 0, { ...wait, what: 'the end of the channel' });
    await publishUntilConfirmed(publisher, batch);
    await arrived(seen, batch);
  }, 40_000);

  it('finds its way back into a wiped server', async () => {
    const publisher = await bench.open();
    const { bus, seen } = await bench.openConsumer();
    await bench.vhost.wipe();
    await waitUntil(() => bench.lost('publish') > 0 && bench.lost('consume') > 0, {
      ...wait,
      what: 'the loss of the vhost',
    });
    await readyAgain(bus);
    const message = buildReceipt();
    await publishUntilConfirmed(publisher, [message]);
    await arrived(seen, [message]);
  }, 40_000);

  it('replaces a connection whose confirms never come, again and again, and leaves nothing behind', async () => {
    await bench.openConsumer();
    await withTcpProxy(bench.url, async (proxy) => {
      const publisher = await bench.open({ url: proxy.url(bench.url), confirmTimeoutMs: 1_000 });
      for (let round = 1; round <= 8; round += 1) {
        await publishUntilConfirmed(publisher, [buildReceipt()]);
        proxy.set('stalled');
        expect(await publisher.publish([buildReceipt(), buildReceipt()])).toEqual(['failed', 'failed']);
        await waitUntil(() => bench.lost('agent-core publish') >= round, { ...wait, what: 'the replacement' });
        proxy.set('passing');
        await readyAgain(publisher);
      }
      // One to publish and one to consume; everything older was destroyed.
      await waitUntil(() => proxy.connections() === 2, { ...wait, what: 'two connections' });
      await publisher.close();
      await waitUntil(() => proxy.connections() === 0, { ...wait, what: 'no connection' });
    });
  }, 90_000);

  it('refuses while the server blocks publishers, keeps the connection, and goes on afterwards', async () => {
    const { seen } = await bench.openConsumer();
    const tap = await createWiretap(bench.url);
    const publisher = await bench.open({ url: tap.url, confirmTimeoutMs: 2_000 });
    tap.inject(blockedFrame);
    await waitUntil(() => !publisher.isReady(), { ...wait, what: 'the blocking' });
    expect(await publisher.publish([buildReceipt()])).toEqual(['failed']);
    tap.inject(unblockedFrame);
    await readyAgain(publisher);
    const message = buildReceipt();
    expect(await publisher.publish([message])).toEqual(['confirmed']);
    await arrived(seen, [message]);
    expect(bench.lost('agent-core publish')).toBe(0);
    await publisher.close();
    await tap.close();
  });

  it('gives a delivery to the next consumer when its connection is lost in hand', async () => {
    const publisher = await bench.open();
    const bus = await bench.open({ service: 'adapter' });
    const gate = Promise.withResolvers<undefined>();
    const counts: number[] = [];
    await bus.consume(queue, async (_message, { deliveryCount }) => {
      counts.push(deliveryCount);
      if (counts.length === 1) await gate.promise;
    });
    await publishUntilConfirmed(publisher, [buildReceipt()]);
    await waitUntil(() => counts.length === 1, { ...wait, what: 'the first delivery' });
    const cut = async () => {
      await bench.vhost.closeConnections();
      return counts.length > 1;
    };
    await waitUntil(cut, { ...wait, what: 'the second delivery' });
    gate.resolve(undefined);
    expect(counts.slice(0, 2)).toEqual([0, 1]);
    await readyAgain(bus);
  }, 60_000);
});
