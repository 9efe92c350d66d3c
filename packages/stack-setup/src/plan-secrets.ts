import type { StewardConfig } from '@steward/service-kit';
import { buildRabbitDefinitions, vhost } from './rabbit-definitions.ts';
import { toPublicKey } from './to-public-key.ts';

/** The containers that get secrets, with the user each runs as: nobody else may read its folder. */
export const readers = {
  postgres: { uid: 999 },
  rabbitmq: { uid: 999 },
  migrate: { uid: 1000 },
  adapter: { uid: 1000 },
  'agent-core': { uid: 1000 },
  'outbound-sender': { uid: 1000 },
  'audit-sealer': { uid: 1000 },
  cli: { uid: 1000 },
  ops: { uid: 999 },
  alertmanager: { uid: 65534 },
} as const;
export type Reader = keyof typeof readers;

/** File name to content. */
export type SecretFolder = Record<string, string>;
/** Gives a file of the operator's secrets, trimmed, or null where there is none. */
export type FindSecret = (name: string) => string | null;

/** Every role that logs in, as its password file is called. */
const databaseRoles = {
  migrate: 'owner',
  adapter: 'adapter',
  'agent-core': 'agent-core',
  'outbound-sender': 'outbound-sender',
  'audit-sealer': 'sealer',
  cli: 'operator',
  ops: 'ops-reader',
};

const sealKeyFile = 'audit-seal.key';
/** Public keys of seal keys that are no longer used: what they sealed must still verify. The operator may keep them here. */
const retiredKeysFile = 'audit-seal.retired.pub';
/** Where alerts go. Without it they are seen on Prometheus' own page alone. */
const alertAddressFile = 'alert-webhook.url';

/**
 * Decides which container gets which secret, and no other: pure but for `find` and `salt`. Connection URLs are made
 * here of the passwords, so a password is written down once. `missing` names every file that should be there and is not.
 */
export function planSecrets(o: { config: StewardConfig; find: FindSecret; salt: () => Buffer }): {
  folders: Record<Reader, SecretFolder>;
  missing: string[];
} {
  const missing = new Set<string>();
  const load = (name: string): string => {
    const text = o.find(name);
    if (text === null || text === '') missing.add(name);
    return text ?? '';
  };
  const copy = (names: readonly string[]): SecretFolder => Object.fromEntries(names.map((name) => [name, load(name)]));
  const found = (name: string): SecretFolder => {
    const text = o.find(name);
    return text === null || text === '' ? {} : { [name]: text };
  };
  const databaseUrl = (reader: keyof typeof databaseRoles): SecretFolder => ({
    'database-url': toDatabaseUrl(databaseRoles[reader], load(passwordFile('postgres', databaseRoles[reader]))),
  });
  const busUrl = (user: string): SecretFolder => ({
    'amqp-url': toAmqpUrl(user, load(passwordFile('rabbitmq', user))),
  });
  const definitions = buildRabbitDefinitions({
    passwordOf: (user) => load(passwordFile('rabbitmq', user)),
    salt: o.salt,
  });
  const serve = (service: 'adapter' | 'agent-core' | 'outbound-sender', own: readonly string[]): SecretFolder => ({
    ...databaseUrl(service),
    ...busUrl(service),
    ...copy(own),
  });
  const names = configuredFiles(o.config);
  const folders = {
    postgres: copy(['superuser', ...Object.values(databaseRoles)].map((role) => passwordFile('postgres', role))),
    rabbitmq: { 'definitions.json': JSON.stringify(definitions) },
    migrate: databaseUrl('migrate'),
    adapter: serve('adapter', ['reply.key', ...names.adapter]),
    'agent-core': serve('agent-core', names.agentCore),
    'outbound-sender': serve('outbound-sender', ['reply.key', ...names.outboundSender]),
    'audit-sealer': { ...databaseUrl('audit-sealer'), ...copy([sealKeyFile]) },
    cli: { ...databaseUrl('cli'), 'audit-seal.pub': publicKeys(load(sealKeyFile), o.find(retiredKeysFile)) },
    ops: { pgpass: toPassFile(load(passwordFile('postgres', databaseRoles.ops))) },
    alertmanager: found(alertAddressFile),
  };
  return { folders, missing: [...missing].sort() };
}

/** Who needs which of the files that the configuration names: the doors check, the sender signs, the core asks a model. */
function configuredFiles({ robots, customRobots, model, tools }: StewardConfig) {
  const apps = robots.map((robot) => robot.appSecretFile);
  const doors = robots.flatMap(({ events, cards }) => [
    events?.tokenFile,
    events?.aesKeyFile,
    cards?.callbackSecretFile,
  ]);
  const customs = customRobots.flatMap((robot) => [robot.accessTokenFile, robot.secretFile]);
  // The sender tells the platform where clicks go and how to sign them.
  const registered = robots.map(({ cards }) =>
    cards?.callbackUrl === undefined ? undefined : cards.callbackSecretFile,
  );
  const named = (names: readonly (string | undefined)[]) => names.filter((name) => name !== undefined);
  return {
    adapter: named([...apps, ...doors]),
    agentCore: named([
      model?.apiKeyFile,
      ...tools.secrets.map((secret) => secret.file),
      ...tools.prometheus.map((server) => server.tokenFile),
    ]),
    outboundSender: named([...apps, ...customs, ...registered]),
  };
}

function passwordFile(server: 'postgres' | 'rabbitmq', account: string): string {
  return `${server}-${account}.password`;
}

/** What verifies the audit log: the present key's public half, then the retired ones. No secret. */
function publicKeys(sealKey: string, retired: string | null): string {
  const present = sealKey === '' ? '' : toPublicKey(sealKey);
  return retired === null ? present : `${present}${retired}\n`;
}

/** libpq's password file, so that psql needs no password on its command line (PostgreSQL docs, "The Password File"). */
function toPassFile(password: string): string {
  return `postgres:5432:steward:ops_reader:${password.replaceAll(/[\\:]/g, '\\$&')}\n`;
}

function toDatabaseUrl(account: string, password: string): string {
  return `postgres://steward_${account.replaceAll('-', '_')}:${encodeURIComponent(password)}@postgres:5432/steward`;
}

function toAmqpUrl(user: string, password: string): string {
  return `amqp://${user}:${encodeURIComponent(password)}@rabbitmq:5672/${vhost}`;
}
