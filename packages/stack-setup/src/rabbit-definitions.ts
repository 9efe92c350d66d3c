import { createHash } from 'node:crypto';
import {
  deadExchangeName,
  deadQueueName,
  exchangeName,
  publishers,
  queues,
  type ServiceName,
} from '@steward/contracts';

/** The vhost of the stack. */
export const vhost = 'steward';

/** The three regular expressions RabbitMQ matches resource names with (docs/access-control). */
export type RabbitPermission = { user: ServiceName; vhost: string; configure: string; write: string; read: string };

/** Every service on the bus, as the topology knows them. */
export const busServices = [
  ...new Set<ServiceName>([...queues.map((queue) => queue.consumer), ...Object.values(publishers)]),
];

/**
 * The least a service needs to declare, bind, consume and publish what the topology gives it; never a resource of
 * another service. What RabbitMQ asks for: declaring needs `configure`; binding a queue needs `write` on it and `read`
 * on the exchange; naming a dead-letter exchange needs `read` on the queue and `write` on that exchange.
 */
export function permissionOf(service: ServiceName): RabbitPermission {
  const own = queues.filter((queue) => queue.consumer === service).map(({ name }) => name);
  const dead = own.map(deadQueueName);
  const exchanges = [exchangeName, deadExchangeName];
  const declared = exactly([...exchanges, ...own, ...dead]);
  return { user: service, vhost, configure: declared, write: declared, read: declared };
}

function exactly(names: readonly string[]): string {
  return `^(${names.map((name) => name.replaceAll('.', '\\.')).join('|')})$`;
}

/**
 * What RabbitMQ imports when it starts: one vhost, one user for each service, and nobody else, so `guest` never exists.
 * `salt` gives 4 random bytes.
 */
export function buildRabbitDefinitions(o: { passwordOf: (service: ServiceName) => string; salt: () => Buffer }) {
  return {
    vhosts: [{ name: vhost, metadata: { description: 'Steward', default_queue_type: 'quorum' } }],
    users: busServices.map((name) => ({
      name,
      password_hash: hashPassword(o.passwordOf(name), o.salt()),
      hashing_algorithm: 'rabbit_password_hashing_sha256',
      tags: [],
    })),
    permissions: busServices.map(permissionOf),
  };
}

/** RabbitMQ's own form, base64(salt + sha256(salt + password)): docs/passwords, "This is the algorithm". */
export function hashPassword(password: string, salt: Buffer): string {
  const digest = createHash('sha256').update(salt).update(password, 'utf8').digest();
  return Buffer.concat([salt, digest]).toString('base64');
}
