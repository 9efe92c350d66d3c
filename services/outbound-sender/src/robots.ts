import { readSecretFile, type StewardConfig } from '@steward/service-kit';
import { createTokenSource, type CardCallbackRoute, type RobotApp, type SessionWebhookRule } from '@steward/dingtalk';

export type SenderRobot = {
  app: RobotApp;
  rule: SessionWebhookRule;
  /** How clicks on its cards come back. */
  cardCallback: CardCallbackRoute;
};

/** The robots that can send, with their credentials, by robotCode and (custom robots) by name. */
export type SenderRobots = {
  byCode: ReadonlyMap<string, SenderRobot>;
  customRobots: ReadonlyMap<string, { accessToken: string; secret: string | null }>;
};

export function loadSenderRobots(config: StewardConfig, secretsDir: string): SenderRobots {
  const { apiUrl, sessionWebhookHosts } = config.dingtalk;
  return {
    byCode: new Map(
      config.robots.map((robot) => {
        const appSecret = readSecretFile(secretsDir, robot.appSecretFile);
        const app = { robotCode: robot.code, tokens: createTokenSource({ apiUrl, appKey: robot.appKey, appSecret }) };
        const rule = {
          hosts: sessionWebhookHosts,
          httpHosts: robot.environment === 'test' ? plainHttpHosts(config) : [],
        };
        return [robot.code, { app, rule, cardCallback: toCardCallback(robot) }];
      }),
    ),
    customRobots: new Map(
      config.customRobots.map((robot) => [
        robot.name,
        {
          accessToken: readSecretFile(secretsDir, robot.accessTokenFile),
          secret: robot.secretFile === undefined ? null : readSecretFile(secretsDir, robot.secretFile),
        },
      ]),
    ),
  };
}

/** Clicks come by the door that the robot has: the platform is told for each card. */
function toCardCallback({ name, doors }: StewardConfig['robots'][number]): CardCallbackRoute {
  return doors.includes('stream') ? { kind: 'stream' } : { kind: 'http', routeKey: name };
}

/** A simulator speaks plain http; only robots of environment test may be answered there. */
function plainHttpHosts({ dingtalk }: StewardConfig): string[] {
  const url = new URL(dingtalk.oapiUrl);
  return url.protocol === 'http:' ? [url.host] : [];
}
