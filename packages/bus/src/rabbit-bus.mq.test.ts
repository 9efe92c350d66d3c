import { type Channel, type GetMessage, connect } from 'amqplib';
import { type QueueName, deadQueueName } from '@steward/contracts';
import { createLogger } from '@steward/service-kit';
import { createTestVhost } from '@steward/testkit';
import { type Bus, deadCodes } from './bus.ts';
import { type BusPlace, describeBusContract, quickRetry } from './bus-contract.ts';
import { createRabbitBus } from './rabbit-bus.ts';
import { deadCodeHeader } from './rabbit-publisher.ts';

const log = createLogger({ service: 'bus-test', write: () => undefined });

describeBusContract('the RabbitMQ bus', async (): Promise<BusPlace> => {
  const vhost = await createTestVhost();
  const buses: Bus[] = [];
  return {
    open: async (service, retry = quickRetry) => {
      const bus = await createRabbitBus({ url: vhost.url, service, log, retry });
      buses.push(bus);
      return bus;
    },
    dead: (queue) => readDead(vhost.url, queue),
    close: async () => {
      await Promise.all(buses.map((bus) => bus.close()));
      await vhost.drop();
    },
  };
});

/** Looks at every dead letter; closing the connection puts them back. */
async function readDead(url: string, queue: QueueName): Promise<{ code: string; body: string }[]> {
  const model = await connect(url);
  try {
    const channel = await model.createChannel();
    const letters: GetMessage[] = [];
    for (let next = await get(channel, queue); next; next = await get(channel, queue)) letters.push(next);
    return letters.map((letter) => ({ code: codeOf(letter), body: letter.content.toString('utf8') }));
  } finally {
    await model.close();
  }
}

const get = (channel: Channel, queue: QueueName) => channel.get(deadQueueName(queue));

/** Our own header, or RabbitMQ's word for a delivery that came back too often. */
function codeOf(letter: GetMessage): string {
  const headers = letter.properties.headers ?? {};
  if (headers['x-first-death-reason'] === 'delivery_limit') return deadCodes.deliveryLimit;
  return String(headers[deadCodeHeader]);
}
