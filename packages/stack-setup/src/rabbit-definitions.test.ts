import { createHash } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import { deadExchangeName, deadQueueName, exchangeName, queues } from '@steward/contracts';
import { buildRabbitDefinitions, busServices, hashPassword, permissionOf } from './rabbit-definitions.ts';

const resources = [exchangeName, deadExchangeName, ...queues.flatMap(({ name }) => [name, deadQueueName(name)])];
const others = ['amq.default', 'amq.direct', 'amq.topic', '', 'stewardXv1', `${exchangeName}.more`, `x${exchangeName}`];

function matching(service: (typeof busServices)[number], verb: 'configure' | 'write' | 'read'): string[] {
  const pattern = new RegExp(permissionOf(service)[verb]);
  return [...resources, ...others].filter((name) => pattern.test(name)).sort();
}

describe('permissions of a service on the bus', () => {
  it('are for exactly the services of the topology', () => {
    expect([...busServices].sort()).toEqual(['adapter', 'agent-core', 'outbound-sender']);
  });

  it.each(busServices)(
    'let %s declare and bind its own queues, their dead queues and the two exchanges, and nothing else',
    (service) => {
      const own = queues
        .filter((queue) => queue.consumer === service)
        .flatMap(({ name }) => [name, deadQueueName(name)]);
      const declared = [exchangeName, deadExchangeName, ...own].sort();
      expect(matching(service, 'configure')).toEqual(declared);
      expect(matching(service, 'write')).toEqual(declared);
    },
  );

  it.each(busServices)('let %s read its own queues and what died in them, and nothing else', (service) => {
    const own = queues.filter((queue) => queue.consumer === service).flatMap(({ name }) => [name, deadQueueName(name)]);
    expect(matching(service, 'read')).toEqual([exchangeName, deadExchangeName, ...own].sort());
  });
});

describe('the rendered definitions', () => {
  const definitions = buildRabbitDefinitions({
    passwordOf: (user) => `pw of ${user}`,
    salt: () => Buffer.from('01020304', 'hex'),
  });

  it('know one user for each service, without tags, and no guest', () => {
    expect(definitions.users.map(({ name, tags }) => ({ name, tags }))).toEqual(
      busServices.map((name) => ({ name, tags: [] })),
    );
  });

  it('hold a salted hash and never the password', () => {
    expect(JSON.stringify(definitions)).not.toContain('pw of');
    const hash = Buffer.from(definitions.users[0]?.password_hash ?? '', 'base64');
    const salt = hash.subarray(0, 4);
    expect(salt.toString('hex')).toBe('01020304');
    expect(hash.subarray(4)).toEqual(createHash('sha256').update(salt).update(`pw of ${busServices[0]}`).digest());
  });

  it('hash as the RabbitMQ password guide does in its example', () => {
    // docs/passwords: salt 908D C60A, password test12 gives kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR.
    expect(hashPassword('test12', Buffer.from('908DC60A', 'hex'))).toBe(
      'kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR',
    );
  });
});
