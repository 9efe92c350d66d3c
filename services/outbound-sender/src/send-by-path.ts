import { createBreaker, isAppErrorCode, openText, type Breaker, type SealKeys } from '@steward/service-kit';
import type { ApiClient, SendOutcome, SessionWebhookRule } from '@steward/dingtalk';
import { replyAddressContext, type OutboundContent, type OutboundTarget } from '@steward/contracts';
import type { AttemptResult } from './close-attempt.ts';
import type { Send } from './deliver.ts';
import type { OpenAttempt } from './open-attempt.ts';
import type { SenderRobots } from './robots.ts';

export type SendContext = {
  api: ApiClient;
  robots: SenderRobots;
  replyKeys: SealKeys;
  /** What marks a text that the platform may have got already. */
  repeatMark: string;
  onBreakerChange: (name: string, state: string) => void;
};

/** Makes the call of an attempt by its path, behind the breaker of that path and credential. */
export function createSend(context: SendContext): Send {
  const breakers = new Map<string, Breaker>();
  const breakerOf = (name: string) => {
    const known = breakers.get(name);
    if (known) return known;
    // One for each API and configured robot: the map is as long as the configuration.
    const breaker = createBreaker({ name, onStateChange: (state) => context.onBreakerChange(name, state) });
    breakers.set(name, breaker);
    return breaker;
  };
  return async (attempt) => {
    try {
      const call = () => callPlatform(context, attempt);
      const outcome = await breakerOf(`${attempt.path} ${attempt.budget}`).run(call, (ended) => isFault(ended));
      return toAttemptResult(outcome);
    } catch (error) {
      // The breaker refuses before anything is sent: open means later. After any other surprise nobody knows.
      const outcome = isAppErrorCode(error, 'BREAKER_OPEN') ? 'retryable' : 'unknown';
      return { outcome, code: codeOf(error), processQueryKey: null, retryAfterMs: null };
    }
  };
}

async function callPlatform(context: SendContext, attempt: OpenAttempt): Promise<SendOutcome> {
  const { api, robots } = context;
  const { target } = attempt;
  const content = toContent(context, attempt);
  if (target.kind === 'custom_robot') {
    const robot = robots.customRobots.get(target.robot);
    if (robot === undefined) return notConfigured('custom robot');
    // The same id for every attempt at this part: the platform drops the repeat.
    return api.sendByCustomRobot({ ...robot, msgUuid: `${attempt.outboundMessageId}-${attempt.part}`, content });
  }
  const robot = robots.byCode.get(target.kind === 'reply' ? target.conversation.robotCode : target.robotCode);
  if (robot === undefined) return notConfigured('robot');
  switch (attempt.path) {
    case 'session_webhook':
      return sendBySession(context, target, content, robot.rule);
    case 'group_openapi':
      return api.sendToGroup({ app: robot.app, conversationId: groupOf(target), content });
    case 'person_openapi':
      return api.sendToUsers({ app: robot.app, staffIds: [personOf(target)], content });
    case 'custom_robot':
      return notConfigured('custom robot');
    default:
      return attempt.path satisfies never;
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

function toContent({ repeatMark }: SendContext, attempt: OpenAttempt): OutboundContent {
  const { text, content, unknownCount } = attempt;
  const marked = unknownCount > 0 && attempt.path !== 'custom_robot' ? `${repeatMark}\n\n${text}` : text;
  return { ...content, text: marked };
}

const groupOf = (target: OutboundTarget): string =>
  target.kind === 'reply' ? target.conversation.conversationId : target.kind === 'group' ? target.conversationId : '';

const personOf = (target: OutboundTarget): string =>
  target.kind === 'reply' ? (target.staffId ?? '') : target.kind === 'person' ? target.staffId : '';

const notConfigured = (what: string): SendOutcome => ({
  kind: 'permanent',
  code: 'NOT_CONFIGURED',
  text: `this ${what} is not in steward.yaml any more`,
});

/** The platform is to blame for silence and for what it says is its own trouble; our mistakes say nothing about it. */
function isFault(ended: { ok: SendOutcome } | { error: unknown }): boolean | 'neutral' {
  if ('error' in ended) return true;
  switch (ended.ok.kind) {
    case 'accepted':
      return false;
    case 'unknown':
    case 'retryable':
      return true;
    case 'token':
    case 'permanent':
    case 'invalid':
    case 'session_gone':
      return 'neutral';
    default:
      return ended.ok satisfies never;
  }
}

/** One recipient: what the two lists of an accepted send say about it decides. */
function toAttemptResult(outcome: SendOutcome): AttemptResult {
  const none = { processQueryKey: null, retryAfterMs: null };
  if (outcome.kind !== 'accepted') {
    // A token that is refused twice waits for the people who renew it; the message is not lost meanwhile.
    const kind = outcome.kind === 'token' ? 'retryable' : outcome.kind;
    return { ...none, outcome: kind, code: outcome.code.slice(0, 200), retryAfterMs: outcome.retryAfterMs ?? null };
  }
  if (outcome.invalidStaffIds.length > 0) return { ...none, outcome: 'permanent', code: 'INVALID_STAFF_ID' };
  if (outcome.flowControlledStaffIds.length > 0)
    return { ...none, outcome: 'retryable', code: 'FLOW_CONTROLLED', retryAfterMs: 60_000 };
  return { ...none, outcome: 'accepted', code: null, processQueryKey: outcome.processQueryKey ?? null };
}

const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error ? String(error.code) : 'UNEXPECTED';
