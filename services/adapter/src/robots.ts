import { readSecretFile, type StewardConfig } from '@steward/service-kit';

/** A robot as the doors need it: its configuration with the secrets that prove who calls. */
export type Robot = Omit<StewardConfig['robots'][number], 'events' | 'cards'> & {
  appSecret: string;
  events: { token: string; aesKey: string; ownerKey: string } | null;
  cardSecret: string | null;
};

/** Reads the secrets of every configured robot. Rejects with SECRET_MISSING, naming the file, when one is not there. */
export function loadRobots(config: StewardConfig, secretsDir: string): Robot[] {
  return config.robots.map((robot) => ({
    ...robot,
    appSecret: readSecretFile(secretsDir, robot.appSecretFile),
    events: robot.events
      ? {
          token: readSecretFile(secretsDir, robot.events.tokenFile),
          aesKey: readSecretFile(secretsDir, robot.events.aesKeyFile),
          ownerKey: robot.events.ownerKey,
        }
      : null,
    cardSecret:
      robot.cards?.callbackSecretFile === undefined ? null : readSecretFile(secretsDir, robot.cards.callbackSecretFile),
  }));
}
