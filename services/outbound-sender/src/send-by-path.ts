import { createBreaker, isAppErrorCode, openText, type Breaker, type SealKeys } from '@steward/service-kit';
import type { ApiClient, CardSpace, SendOutcome, SessionWebhookRule } from '@steward/dingtalk';
import { replyAddressContext, type OutboundContent, type OutboundTarget } from '@steward/contracts';
import type { AttemptResult } from './close-attempt.ts';
import type { Send } from './deliver.ts';
import type { DeliveryPath } from './database.ts';
import { isRepeatable } from './decide-next.ts';
import { wishOf } from './hold-scope.ts';
import { judgeHealth } from './judge-health.ts';
import type { OpenAttempt } from './open-attempt.ts';
import type { SenderRobot, SenderRobots } from './robots.ts';

export type SendContext = {
  api: ApiClient;
  robots: SenderRobots;
  replyKeys: SealKeys;
  /** What marks a text that the platform may have got already. */
  repeatMark: string;
  onBreakerChange: (name: string, state: string) => void;
};

export type Sender = {
  /** Makes the call of an attempt by its path, behind the breaker of that path and credential. */
  send: Send;
  /** True while that breaker refuses calls: it is open, or its one probe is under way. */
  isHeldBack: (path: DeliveryPath, budget: string) => boolean;
};

export function createSend(context: SendContext): Sender {
  const doors = new Map<string, { breaker: Breaker; underWay: number }>();
  const doorOf = (path: DeliveryPath, budget: string) => {
    const name = `${path} ${budget}`;
    const known = doors.get(name);
    if (known) return known;
    // One for each API and configured robot: the map is as long as the configuration.
    const breaker = createBreaker({ name, onStateChange: (state) => context.onBreakerChange(name, state) });
    const door = { breaker, underWay: 0 };
    doors.set(name, door);
    return door;
  };
  const isHeldBack = (path: DeliveryPath, budget: string) => {
    const { breaker, underWay } = doorOf(path, budget);
    return breaker.state === 'open' || (breaker.state === 'half_open' && underWay > 0);
  };
  const send: Send = async (attempt) => {
    const door = doorOf(attempt.path, attempt.budget);
    door.underWay += 1;
    try {
      return toAttemptResult(await door.breaker.run(() => callPlatform(context, attempt), isFault));
    } catch (error) {
      // The breaker refuses before anything is sent: open means later. After any other surprise nobody knows.
      const outcome = isAppErrorCode(error, 'BREAKER_OPEN') ? 'retryable' : 'unknown';
      return { outcome, code: codeOf(error), processQueryKey: null, retryAfterMs: null };
    } finally {
      door.underWay -= 1;
    }
  };
  return { send, isHeldBack };
}

async function callPlatform(context: SendContext, attempt: OpenAttempt): Promise<SendOutcome> {
  const { api, robots } = context;
  const { content, target } = attempt;
  if (target.kind === 'custom_robot') {
    const custom = robots.customRobots.get(target.robot);
    const text = toText(context, attempt);
    if (custom === undefined || text === null) return notConfigured('custom robot');
    // The same id for every attempt at this part: the platform drops the repeat.
    return api.sendByCustomRobot({ ...custom, msgUuid: `${attempt.outboundMessageId}-${attempt.part}`, content: text });
  }
  const robot = robots.byCode.get(target.kind === 'reply' ? target.conversation.robotCode : target.robotCode);
  if (robot === undefined) return notConfigured('robot');
  const { app } = robot;
  switch (content.kind) {
    case 'text':
    case 'markdown':
      return sendText(context, robot, attempt);
    case 'card': {
      const space = placeOf(target);
      return api.createAndDeliverCard({ ...content, app, space, callback: robot.cardCallback });
    }
    case 'card_update':
      return api.updateCard({ ...content, app });
    case 'recall': {
      const { processQueryKeys } = attempt;
      const place = placeOf(target);
      return place.kind === 'group'
        ? api.recallGroup({ app, conversationId: place.conversationId, processQueryKeys })
        : api.recallUsers({ app, processQueryKeys });
    }
    default:
      return content satisfies never;
  }
}

async function sendText(context: SendContext, robot: SenderRobot, attempt: OpenAttempt): Promise<SendOutcome> {
  const { api } = context;
  const { app } = robot;
  const { path, target } = attempt;
  const content = toText(context, attempt);
  if (content === null) return notConfigured('path');
  switch (path) {
    case 'session_webhook':
      return sendBySession(context, target, content, robot.rule);
    case 'group_openapi':
      return api.sendToGroup({ app, conversationId: groupOf(target), content });
    case 'person_openapi':
      return api.sendToUsers({ app, staffIds: [personOf(target)], content });
    case 'custom_robot':
    case 'card':
    case 'card_update':
    case 'recall':
      return notConfigured('path');
    default:
      return path satisfies never;
  }
}

async function sendBySession(
  context: SendContext,
  target: OutboundTarget,
  content: OutboundContent,
  rule: SessionWebhookRule,
): Promise<SendOutcome> {
  if (target.kind !== 'reply' || target.replyAddress === null) return notConfigured('reply address');
  const { robotCode, conversationId } = target.conversation;
  let sessionWebhook: string;
  try {
    sessionWebhook = openText(
      context.replyKeys,
      target.replyAddress.sealedUrl,
      replyAddressContext(robotCode, conversationId),
    );
  } catch (error) {
    // Sealed with a key that was retired, or not for this conversation: the OpenAPI still reaches the person.
    return { kind: 'session_gone', code: codeOf(error), text: 'the reply address does not open' };
  }
  return context.api.sendBySession({ sessionWebhook, rule, content });
}

/** The words of this part, marked where they may be a repeat that a reader would see; null for what has no words. */
function toText({ repeatMark }: SendContext, attempt: OpenAttempt): OutboundContent | null {
  const { text, content, unknownCount, path } = attempt;
  if (content.kind !== 'text' && content.kind !== 'markdown') return null;
  return { ...content, text: unknownCount > 0 && !isRepeatable(path) ? `${repeatMark}\n\n${text}` : text };
}

/** Where a card stands, and what a recall takes back. */
const placeOf = (target: OutboundTarget): CardSpace => {
  const conversationId = groupOf(target);
  return conversationId === '' ? { kind: 'person', staffId: personOf(target) } : { kind: 'group', conversationId };
};

const groupOf = (target: OutboundTarget): string =>
  target.kind === 'reply' ? target.conversation.conversationId : target.kind === 'group' ? target.conversationId : '';

const personOf = (target: OutboundTarget): string =>
  target.kind === 'reply' ? (target.staffId ?? '') : target.kind === 'person' ? target.staffId : '';

const isFault = (ended: { ok: SendOutcome } | { error: unknown }): boolean | 'neutral' =>
  'error' in ended ? true : judgeHealth(ended.ok);

const notConfigured = (what: string): SendOutcome => ({
  kind: 'permanent',
  code: 'NOT_CONFIGURED',
  text: `this ${what} is not in steward.yaml any more`,
});

/** How soon an app that was refused is tried again with a message. */
const appRefusalDelayMs = 60_000;

/** One recipient: what the two lists of an accepted send say about it decides. */
function toAttemptResult(outcome: SendOutcome): AttemptResult {
  const none = { processQueryKey: null, retryAfterMs: null };
  if (outcome.kind !== 'accepted') {
    // A token that is refused twice waits for the people who renew it; the message is not lost meanwhile.
    const kind = outcome.kind === 'token' ? 'retryable' : outcome.kind;
    const code = outcome.code.slice(0, 200);
    // Credentials, permission, allow-list: nothing is wrong with the message, and it leaves once somebody mended that.
    if (outcome.kind === 'permanent' && outcome.scope === 'app')
      return { ...none, outcome: 'retryable', code, retryAfterMs: appRefusalDelayMs, misconfigured: true };
    return { ...none, outcome: kind, code, retryAfterMs: outcome.retryAfterMs ?? null, wish: wishOf(outcome) };
  }
  if (outcome.invalidStaffIds.length > 0) return { ...none, outcome: 'permanent', code: 'INVALID_STAFF_ID' };
  if (outcome.flowControlledStaffIds.length > 0)
    return { ...none, outcome: 'retryable', code: 'FLOW_CONTROLLED', retryAfterMs: 60_000 };
  return { ...none, outcome: 'accepted', code: null, processQueryKey: outcome.processQueryKey ?? null };
}

const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error ? String(error.code) : 'UNEXPECTED';
