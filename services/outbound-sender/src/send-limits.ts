import type { StewardConfig } from '@steward/service-kit';
import type { OutcomeScope } from '@steward/dingtalk';
import type { OutboundTarget } from '@steward/contracts';
import type { DeliveryPath } from './database.ts';

/** One limit that a send is under: `burst` at once, then one each `spacingMs`. Spacing 0: no rate, but it can be held. */
export type SendLimit = { scope: string; spacingMs: number; burst: number };

/** What a send is, as far as limits go. */
export type Sending = { budget: string; path: DeliveryPath; target: OutboundTarget };

export type SendLimits = {
  /** Every limit of a send. */
  of(sending: Sending): readonly SendLimit[];
  /** What must pause when the platform refuses for reasons of this scope; null: nothing but the message itself. */
  scopeToHold(scope: OutcomeScope, sending: Sending): string | null;
};

/** For a budget whose robot is no longer configured: its messages end as permanent failures, slowly. */
const unknownBudgetPerMinute = 60;

/**
 * The limits of the configuration. All count for every replica together. Rates stay below the platform's, and each window may
 * hold `burst` more than its rate (protocol: custom robots 20 a minute; 20 calls a second to an API of an app; 10,000 calls in 20 s
 * from an address).
 */
export function createSendLimits(config: Pick<StewardConfig, 'robots' | 'customRobots' | 'dingtalk'>): SendLimits {
  const { apiCallsPerSecond, apiCallsPerMinute, roomSendsPerMinute, egressCallsPerSecond } = config.dingtalk.limits;
  const perMinute = new Map([
    ...config.robots.map(({ code, sendsPerMinute }): [string, number] => [`robot ${code}`, sendsPerMinute]),
    ...config.customRobots.map(({ name, sendsPerMinute }): [string, number] => [
      `custom_robot ${name}`,
      sendsPerMinute,
    ]),
  ]);
  const robots = new Map(config.robots.map((robot) => [robot.code, robot]));
  const limit = (scope: string, count: number, seconds: number, burst = 2): SendLimit => ({
    scope,
    spacingMs: (seconds * 1_000) / count,
    burst,
  });
  const apiOf = ({ path, target }: Sending): string => `api ${path} ${appOf(target)}`;
  const appOf = (target: OutboundTarget): string => robots.get(robotCodeOf(target))?.appKey ?? robotCodeOf(target);
  const organisationOf = (target: OutboundTarget): string =>
    `organisation ${robots.get(robotCodeOf(target))?.corpId ?? ''}`;

  return {
    of(sending) {
      const { budget, path, target } = sending;
      const room = roomOf(target);
      return [
        limit(budget, perMinute.get(budget) ?? unknownBudgetPerMinute, 60),
        limit('egress', egressCallsPerSecond, 1, 20),
        ...(room === null ? [] : [limit(room, roomSendsPerMinute, 60, 10)]),
        ...(isApiPath(path)
          ? [
              limit(apiOf(sending), apiCallsPerSecond, 1),
              limit(`${apiOf(sending)} minute`, apiCallsPerMinute, 60, Math.max(2, apiCallsPerMinute / 10)),
              { scope: organisationOf(target), spacingMs: 0, burst: 2 },
            ]
          : []),
      ];
    },
    scopeToHold(scope, sending) {
      switch (scope) {
        case 'robot':
          return sending.budget;
        case 'app':
        case 'platform':
          return isApiPath(sending.path) ? apiOf(sending) : sending.budget;
        case 'organisation':
          // What goes by a webhook is under no limit of the organisation: then its robot pauses, which is refused.
          return isApiPath(sending.path) ? organisationOf(sending.target) : sending.budget;
        case 'egress':
          return 'egress';
        case 'content':
        case 'target':
          return null;
        default:
          return scope satisfies never;
      }
    },
  };
}

/** Calls of the OpenAPI count against the app and the organisation's month; webhooks do not. */
export const isApiPath = (path: DeliveryPath): boolean => path !== 'session_webhook' && path !== 'custom_robot';

const robotCodeOf = (target: OutboundTarget): string => {
  switch (target.kind) {
    case 'reply':
      return target.conversation.robotCode;
    case 'group':
    case 'person':
      return target.robotCode;
    case 'custom_robot':
      return target.robot;
    default:
      return target satisfies never;
  }
};

/** A conversation can bear so much of a robot; a custom robot's room has the custom robot's limit. */
const roomOf = (target: OutboundTarget): string | null => {
  switch (target.kind) {
    case 'reply':
      return `room ${target.conversation.robotCode} ${target.conversation.conversationId}`;
    case 'group':
      return `room ${target.robotCode} ${target.conversationId}`;
    case 'person':
    case 'custom_robot':
      return null;
    default:
      return target satisfies never;
  }
};
