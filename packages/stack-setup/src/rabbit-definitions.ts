import { createHash } from 'node:crypto';
import { type ServiceName, busPermissionOf, busServices } from '@steward/contracts';

/** The vhost of the stack. */
export const vhost = 'steward';

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
    permissions: busServices.map((user) => ({ user, vhost, ...busPermissionOf(user) })),
  };
}

/** RabbitMQ's own form, base64(salt + sha256(salt + password)): docs/passwords, "This is the algorithm". */
export function hashPassword(password: string, salt: Buffer): string {
  const digest = createHash('sha256').update(salt).update(password, 'utf8').digest();
  return Buffer.concat([salt, digest]).toString('base64');
}
