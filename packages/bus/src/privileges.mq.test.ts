import { type Channel, type ChannelModel, connect } from 'amqplib';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import {
  type BusMessageType,
  type ServiceName,
  busPermissionOf,
  busPrivilegesOf,
  busServices,
  deadExchangeName,
  deadQueueName,
  exchangeOf,
  publishers,
  queues,
} from '@steward/contracts';
import { createLogger } from '@steward/service-kit';
import { type TestVhost, createTestVhost, waitUntil } from '@steward/testkit';
import { buildReceipt } from './bus-contract.ts';
import { createRabbitBus } from './rabbit-bus.ts';
import { assertConsuming, assertPublishing } from './rabbit-topology.ts';

const log = createLogger({ service: 'bus-test', write: () => undefined });
const types = Object.keys(publishers) as BusMessageType[];
/** What a service might like to use beside the topology; names that hold one of ours, or look like one, among it. */
const strangeExchanges = [
  'steward.v1',
  'steward.adapter.v1.more',
  'stewardxadapter.v1',
  'x.steward.agent-core.v1',
  'mine',
];
const strangeQueues = ['adapter.receipts.v1.more', 'adapterxreceipts.v1', 'x.outbound-sender.requests.v1', 'mine'];
const exchanges = [...busServices.map(exchangeOf), deadExchangeName, 'amq.direct', 'amq.topic', ...strangeExchanges];
const queueNames = [...queues.flatMap(({ name }) => [name, deadQueueName(name)]), ...strangeQueues];

let vhost: TestVhost;
let administrator: ChannelModel;
const models: ChannelModel[] = [];
const urls = new Map<ServiceName, string>();
const urlOf = (service: ServiceName) => urls.get(service) ?? '';

async function open(url: string): Promise<ChannelModel> {
  const model = await connect(url);
  model.on('error', () => undefined);
  models.push(model);
  return model;
}

/** The whole topology, and strange things beside it, by somebody who may do everything. */
async function declareAll(): Promise<void> {
  const channel = await administrator.createChannel();
  for (const service of busServices) await assertPublishing(channel, service);
  for (const { name } of queues) await assertConsuming(channel, name);
  for (const name of strangeExchanges) await channel.assertExchange(name, 'direct', { durable: true });
  for (const name of strangeQueues) await channel.assertQueue(name, { durable: true });
  await channel.close();
}

/** On a channel of its own: `allowed`, or AMQP's code of the refusal, which closes the channel. */
async function attempt(model: ChannelModel, work: (channel: Channel) => Promise<unknown>): Promise<'allowed' | number> {
  const channel = await model.createConfirmChannel();
  let refusal: number | undefined;
  channel.on('error', (error: unknown) => (refusal = (error as { code: number }).code));
  try {
    await work(channel);
    await channel.waitForConfirms();
    await channel.close();
    return refusal ?? 'allowed';
  } catch (error) {
    return refusal ?? (error as { code?: number }).code ?? 0;
  }
}

beforeAll(async () => {
  vhost = await createTestVhost();
  for (const service of busServices) urls.set(service, await vhost.addUser(service, busPermissionOf(service)));
  administrator = await open(vhost.url);
  await declareAll();
}, 60_000);
afterAll(async () => {
  for (const model of models) await model.close().catch(() => undefined);
  await vhost.drop();
});

describe.each(busServices)('the account of %s', (service) => {
  const privileges = busPrivilegesOf(service);
  const outcome = (isGiven: boolean) => (isGiven ? 'allowed' : 403);
  let model: ChannelModel;
  beforeAll(async () => {
    model = await open(urlOf(service));
  });

  it('declares what the file gives it, and is refused everything else', async () => {
    const seen: [string, unknown][] = [];
    const intended: [string, unknown][] = [];
    const given = (name: string) => outcome(privileges.configure.includes(name));
    for (const name of exchanges) {
      const type = name === 'amq.topic' ? 'topic' : 'direct';
      seen.push([name, await attempt(model, (channel) => channel.assertExchange(name, type, { durable: true }))]);
      intended.push([name, given(name)]);
    }
    for (const name of exchanges.filter((one) => !privileges.configure.includes(one))) {
      seen.push([`delete ${name}`, await attempt(model, (channel) => channel.deleteExchange(name))]);
      intended.push([`delete ${name}`, 403]);
    }
    for (const name of queueNames.filter((one) => !privileges.configure.includes(one))) {
      seen.push([name, await attempt(model, (channel) => channel.assertQueue(name, { durable: true }))]);
      seen.push([`delete ${name}`, await attempt(model, (channel) => channel.deleteQueue(name))]);
      intended.push([name, 403], [`delete ${name}`, 403]);
    }
    for (const { name, consumer } of queues) {
      seen.push([`all of ${name}`, await attempt(model, (channel) => assertConsuming(channel, name))]);
      intended.push([`all of ${name}`, outcome(consumer === service)]);
    }
    seen.push(['a queue that the server names', await attempt(model, (channel) => channel.assertQueue(''))]);
    intended.push(['a queue that the server names', 403]);
    expect(seen).toEqual(intended);
  });

  it('publishes to the exchanges that the file gives it, and is refused every other', async () => {
    const publish = (exchange: string) =>
      attempt(model, async (channel) => {
        channel.publish(exchange, 'nobody.waits.for.this', Buffer.from('{}'));
        await Promise.resolve();
      });
    const seen = [];
    for (const name of exchanges) seen.push([name, await publish(name)]);
    expect(seen).toEqual(exchanges.map((name) => [name, outcome(privileges.write.includes(name))]));
    for (const { name } of queues)
      expect(await attempt(model, async (channel) => void channel.sendToQueue(name, Buffer.from('{}')))).toBe(403);
  });

  it('reads the queues that the file gives it, and is refused every other', async () => {
    for (const verb of ['get', 'consume', 'purge'] as const) {
      const seen = [];
      for (const name of queueNames)
        seen.push([
          name,
          await attempt(model, (channel) => {
            if (verb === 'get') return channel.get(name);
            return verb === 'purge' ? channel.purgeQueue(name) : channel.consume(name, () => undefined);
          }),
        ]);
      const intended = queueNames.map((name) => [name, outcome(privileges.read.includes(name))]);
      expect([verb, seen]).toEqual([verb, intended]);
    }
  });

  it('binds its own queues to what it may read, and is refused everything else', async () => {
    const seen: string[] = [];
    const intended: string[] = [];
    for (const queue of queueNames)
      for (const exchange of exchanges) {
        const isGiven = privileges.write.includes(queue) && privileges.read.includes(exchange);
        const found = await attempt(model, (channel) => channel.bindQueue(queue, exchange, 'a.probe'));
        seen.push(`${queue} to ${exchange}: ${found}`);
        intended.push(`${queue} to ${exchange}: ${outcome(isGiven)}`);
      }
    expect(seen).toEqual(intended);
  });

  // An alternate exchange, a dead-letter exchange or a binding between exchanges would publish for it.
  it('reaches no exchange of another service by a detour', async () => {
    const own = exchangeOf(service);
    const queue = queues.find(({ consumer }) => consumer === service)?.name ?? '';
    await attempt(model, (channel) => channel.deleteExchange(own));
    await attempt(model, (channel) => channel.deleteQueue(queue));
    const seen = [];
    for (const target of busServices.filter((one) => one !== service).map(exchangeOf)) {
      const alternate = { durable: true, alternateExchange: target };
      seen.push(await attempt(model, (channel) => channel.assertExchange(own, 'direct', alternate)));
      const deadLetter = { durable: true, deadLetterExchange: target };
      seen.push(await attempt(model, (channel) => channel.assertQueue(queue, deadLetter)));
      seen.push(await attempt(model, (channel) => channel.bindExchange(target, own, 'inbound.received.v1')));
    }
    expect(seen).toEqual([403, 403, 403, 403, 403, 403]);
    await declareAll();
  });

  it('publishes each type that it makes where somebody waits for it, and no type of another service', async () => {
    const bus = await createRabbitBus({ url: urlOf(service), service, log });
    const seen = [];
    for (const type of types) seen.push([type, ...(await bus.publish([{ ...buildReceipt(), type } as never]))]);
    expect(seen).toEqual(types.map((type) => [type, publishers[type] === service ? 'confirmed' : 'unroutable']));
    for (const type of types.filter((one) => publishers[one] !== service)) {
      const forge = (channel: Channel) => {
        channel.publish(exchangeOf(publishers[type]), type, Buffer.from('{}'));
        return Promise.resolve();
      };
      expect([type, await attempt(model, forge)]).toEqual([type, 403]);
    }
    await bus.close();
  }, 40_000);
});

describe('the accounts together', () => {
  it('make the whole topology on an empty server, whoever comes first, and every type arrives', async () => {
    await vhost.wipe();
    const buses = await Promise.all(
      busServices.map(async (service) => ({
        service,
        bus: await createRabbitBus({
          url: urlOf(service),
          service,
          log,
          link: { connectTimeoutMs: 5_000, baseMs: 20, capMs: 200 },
        }),
      })),
    );
    const dead: string[] = [];
    for (const { service, bus } of buses)
      for (const { name } of queues.filter(({ consumer }) => consumer === service))
        await bus.consume(name, () => Promise.resolve(), {
          onDead: (letter) => Promise.resolve(void dead.push(letter.type ?? '')),
        });
    // The bodies are not what their types promise: each arrives, is buried, and is read from the dead queue.
    for (const { service, bus } of buses) {
      const own = types.filter((type) => publishers[type] === service);
      const messages = own.map((type) => ({ ...buildReceipt(), type, body: {} }) as never);
      expect(await bus.publish(messages)).toEqual(own.map(() => 'confirmed'));
    }
    await waitUntil(() => dead.length === types.length, { timeoutMs: 20_000, what: 'every type' });
    expect(dead.sort()).toEqual([...types].sort());
    await Promise.all(buses.map(({ bus }) => bus.close()));
  }, 60_000);
});
