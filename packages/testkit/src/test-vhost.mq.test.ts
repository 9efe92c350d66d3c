import { describe, expect, it } from '@jest/globals';
import { splitCredentials } from './probe-servers.ts';
import { createTestVhost } from './test-vhost.ts';

const managementUrl = process.env.RABBITMQ_MANAGEMENT_URL ?? 'http://guest:guest@127.0.0.1:15672';

async function declareQueue(vhost: string, queue: string): Promise<number> {
  const { url, headers } = splitCredentials(managementUrl);
  const response = await fetch(`${url}/api/queues/${vhost}/${queue}`, {
    method: 'PUT',
    headers: { ...headers, 'content-type': 'application/json' },
    body: JSON.stringify({ durable: true }),
  });
  return response.status;
}

describe('createTestVhost', () => {
  it('gives vhosts of their own and knows their queues', async () => {
    const [first, second] = await Promise.all([createTestVhost(), createTestVhost()]);
    expect(decodeURIComponent(new URL(first.url).pathname)).toBe(`/${first.name}`);
    expect(await declareQueue(first.name, 'letters')).toBe(201);
    await expect(first.queueLength('letters')).resolves.toBe(0);
    await expect(second.queueLength('letters')).resolves.toBeUndefined();
    await first.drop();
    await second.drop();
  });

  it('forgets everything when it is wiped', async () => {
    const vhost = await createTestVhost();
    await declareQueue(vhost.name, 'letters');
    await vhost.wipe();
    await expect(vhost.queueLength('letters')).resolves.toBeUndefined();
    expect(await declareQueue(vhost.name, 'letters')).toBe(201);
    await vhost.drop();
  });

  it('says how to get a server when none is named', async () => {
    const url = process.env.AMQP_URL;
    delete process.env.AMQP_URL;
    try {
      await expect(createTestVhost()).rejects.toThrow(/AMQP_URL is not set.*servers-main/);
    } finally {
      process.env.AMQP_URL = url;
    }
  });
});
