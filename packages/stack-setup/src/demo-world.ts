import { AppError, type StewardConfig } from '@steward/service-kit';
import type { FindSecret } from './plan-secrets.ts';

type Robot = StewardConfig['robots'][number];

/** Where programs on this machine reach the demo. */
export type DemoUrls = {
  adapterUrl: string;
  simulatorUrl: string;
  services: { adapter: string; agentCore: string; outboundSender: string; auditSealer?: string };
};

/**
 * The simulator's world, made of Steward's own configuration so that the two cannot disagree: one app for each robot,
 * every room with everybody in it. `callbackUrl` is where the robots' callbacks go, without the path.
 * Throws DEMO_REFUSED when a robot is not of environment test.
 */
export function buildDemoWorld({
  config,
  find,
  callbackUrl,
}: {
  config: StewardConfig;
  find: FindSecret;
  callbackUrl: string;
}) {
  const secret = loadSecret(find);
  const real = config.robots.filter((robot) => robot.environment !== 'test').map((robot) => robot.name);
  if (real.length > 0) {
    const text = `the demo plays DingTalk itself: these robots are not of environment test: ${real.join(', ')}`;
    throw new AppError('DEMO_REFUSED', text, { retryable: false });
  }
  return {
    corpId: config.robots[0]?.corpId ?? 'dingdemo',
    apps: config.robots.map((robot) => ({
      appKey: robot.appKey,
      appSecret: secret(robot.appSecretFile),
      robotCode: robot.code,
      name: robot.name,
      callback: robot.doors.includes('http') ? { robotUrl: `${callbackUrl}${callbackPath(robot)}` } : {},
    })),
    customRobots: [],
    rooms: config.rooms.map((room) => ({
      conversationId: room.id,
      title: room.name,
      kind: 'group' as const,
      robots: config.robots.filter((robot) => robot.name === room.robot).map((robot) => robot.code),
      members: config.people.map((person) => person.staffId),
    })),
    people: config.people.map(({ staffId, name, roles }) => ({
      staffId,
      name,
      unionId: `union-${staffId}`,
      roles: [...roles],
    })),
  };
}

/** The content of data/demo.json: all that a program outside needs to drive the demo. The same keys as the embedded demo's. */
export function buildDemoCard({
  config,
  find,
  mode,
  urls,
}: {
  config: StewardConfig;
  find: FindSecret;
  mode: 'compose' | 'embedded';
  urls: DemoUrls;
}) {
  const secret = loadSecret(find);
  const roles = [...new Set(config.people.flatMap((person) => person.roles))];
  const holders = (role: string) =>
    config.people.filter((person) => person.roles.includes(role)).map(({ staffId }) => staffId);
  return {
    mode,
    ...urls,
    robots: config.robots.map((robot) => ({
      name: robot.name,
      code: robot.code,
      appKey: robot.appKey,
      appSecret: secret(robot.appSecretFile),
      environment: robot.environment,
      callbackPath: callbackPath(robot),
    })),
    rooms: config.rooms.map(({ name, id, robot, environment }) => ({ name, id, robot, environment })),
    people: config.people.map(({ staffId, name, roles: held }) => ({ staffId, name, roles: held })),
    peopleByRole: Object.fromEntries(roles.map((role) => [role, holders(role)])),
  };
}

/** What to call from this machine for a published `address:port` or `port`. */
export function toLocalUrl(published: string): string {
  const port = published.slice(published.lastIndexOf(':') + 1);
  const host = published.slice(0, -port.length - 1);
  return `http://${['', '0.0.0.0', '[::]'].includes(host) ? '127.0.0.1' : host}:${port}`;
}

function callbackPath(robot: Robot): string {
  return `/dingtalk/robot/${robot.name}`;
}

function loadSecret(find: FindSecret): (name: string) => string {
  return (name) => {
    const text = find(name);
    if (text === null || text === '')
      throw new AppError('SECRET_MISSING', `secret file ${name} is missing`, { retryable: false });
    return text;
  };
}
