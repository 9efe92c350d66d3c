import { createHash } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import {
  busPrivilegesOf,
  busServices,
  deadExchangeName,
  deadQueueName,
  exchangeOf,
  publishers,
  queues,
} from '@steward/contracts';
import { buildRabbitDefinitions, hashPassword } from './rabbit-definitions.ts';

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

  it('give each user its permissions on the one vhost: exactly what the file of privileges names', () => {
    expect(definitions.permissions.map(({ user, vhost }) => `${user} on ${vhost}`)).toEqual(
      busServices.map((name) => `${name} on ${definitions.vhosts[0]?.name}`),
    );
    const others = [
      'amq.default',
      'amq.direct',
      '',
      'stewardXadapter.v1',
      'steward.adapter.v1.more',
      'xsteward.adapter.v1',
    ];
    const names = [
      ...busServices.map(exchangeOf),
      deadExchangeName,
      ...queues.flatMap(({ name }) => [name, deadQueueName(name)]),
    ];
    for (const permission of definitions.permissions)
      for (const verb of ['configure', 'write', 'read'] as const) {
        const pattern = new RegExp(permission[verb]);
        const matched = [...names, ...others].filter((name) => pattern.test(name));
        expect([permission.user, verb, matched.sort()]).toEqual([
          permission.user,
          verb,
          busPrivilegesOf(permission.user)[verb].toSorted(),
        ]);
      }
  });

  it('let nobody write to the exchange of another, nor read or write the queue of another', () => {
    const foreign = busServices.flatMap((service) => {
      const { write, read } = busPrivilegesOf(service);
      const ofOthers = busServices.filter((one) => one !== service).map(exchangeOf);
      const queuesOfOthers = queues
        .filter(({ consumer }) => consumer !== service)
        .flatMap(({ name }) => [name, deadQueueName(name)]);
      return [
        ...write.filter((name) => ofOthers.includes(name)),
        ...[...write, ...read].filter((name) => queuesOfOthers.includes(name)),
      ];
    });
    expect(foreign).toEqual([]);
    expect(new Set(Object.values(publishers)).size).toBe(busServices.length);
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
