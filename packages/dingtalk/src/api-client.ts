import { createAppCall, postAndClassify } from './app-call.ts';
import { createGuardedAgent, type LookupAll } from './guarded-agent.ts';
import type { RobotApp } from './app-call.ts';
import { createCardCalls } from './card-calls.ts';
import type { CardCalls } from './card-calls.ts';
import { checkSessionWebhook } from './check-session-webhook.ts';
import type { SessionWebhookRule } from './check-session-webhook.ts';
import type { SendDoor } from './classify-response.ts';
import { createPersonCalls } from './person-calls.ts';
import type { PersonCalls } from './person-calls.ts';
import { createRecallCalls } from './recall-calls.ts';
import type { RecallCalls } from './recall-calls.ts';
import { renderOpenApiContent, renderWebhookBody } from './render-content.ts';
import type { Mentions, OutgoingContent } from './render-content.ts';
import type { SendOutcome, SendRefused } from './send-outcome.ts';
import { buildCustomRobotUrl } from './signatures.ts';

/**
 * Every way to say something, to change what was said, and to ask who somebody is. No call rejects; each ends within 12 s,
 * however often a token is asked for or refused.
 */
export type ApiClient = SendCalls & CardCalls & RecallCalls & PersonCalls;

type SendCalls = {
  /** Answers where a message came from, without a token. The address is checked against the rule first, and over https
   * the socket connects to public addresses only. */
  sendBySession(o: {
    sessionWebhook: string;
    rule: SessionWebhookRule;
    content: OutgoingContent;
    mentions?: Mentions;
  }): Promise<SendOutcome>;
  /** Single chats, 1 to 20 people. Accepted does not mean all: look at the two lists of the outcome. */
  sendToUsers(o: { app: RobotApp; staffIds: readonly string[]; content: OutgoingContent }): Promise<SendOutcome>;
  /** A group of the robot's own organisation. There is no idempotency key: an unknown outcome may have been sent. */
  sendToGroup(o: { app: RobotApp; conversationId: string; content: OutgoingContent }): Promise<SendOutcome>;
  /** A custom group robot. The same `msgUuid` again is the same message: an unknown outcome may be repeated. */
  sendByCustomRobot(o: {
    accessToken: string;
    secret: string | null;
    msgUuid: string;
    content: OutgoingContent;
    mentions?: Mentions;
  }): Promise<SendOutcome>;
};

/** The docs say 20 (an error text says 100): the smaller number is right in both readings. */
const maxUsers = 20;

/**
 * A client for one DingTalk. `timeoutMs` is for each POST (the platform's own limit behind its gateway is 3 s),
 * `deadlineMs` for a whole send: token, POST, fresh token, second POST.
 */
export function createApiClient(o: {
  apiUrl: string;
  oapiUrl: string;
  timeoutMs?: number;
  deadlineMs?: number;
  now?: () => number;
  /** How names of reply addresses are resolved; for tests. */
  lookup?: LookupAll;
}): ApiClient {
  const timeoutMs = o.timeoutMs ?? 8_000;
  const deadlineMs = o.deadlineMs ?? 12_000;
  const now = o.now ?? Date.now;
  const guarded = createGuardedAgent(o.lookup);
  const callAsApp = createAppCall({ timeoutMs, deadlineMs });
  const post = async (door: SendDoor, url: string, body: unknown) =>
    (await postAndClassify({ door, url, body, timeoutMs })).outcome;
  const postAsApp = async (app: RobotApp, url: string, body: unknown) =>
    (await callAsApp(app, { door: 'open_api', url, body })).outcome;
  return {
    ...createCardCalls({ apiUrl: o.apiUrl, callAsApp }),
    ...createRecallCalls({ apiUrl: o.apiUrl, callAsApp, deadlineMs }),
    ...createPersonCalls({ oapiUrl: o.oapiUrl, callAsApp, deadlineMs }),
    sendBySession: async ({ sessionWebhook, rule, content, mentions }) => {
      const verdict = checkSessionWebhook(sessionWebhook, rule);
      if (!verdict.ok) return refusedAddress(verdict.reason);
      const body = renderWebhookBody(content, mentions);
      // The rule lets plain http through to the listed hosts of a test robot alone, and those are local ones.
      if (sessionWebhook.startsWith('http:')) return post('session', sessionWebhook, body);
      const call = { door: 'session', url: sessionWebhook, body, timeoutMs, dispatcher: guarded } as const;
      const { outcome } = await postAndClassify(call);
      return 'code' in outcome && outcome.code === 'ADDRESS_REFUSED' ? refusedAddress('address') : outcome;
    },
    sendToUsers: async ({ app, staffIds, content }) => {
      if (staffIds.length === 0 || staffIds.length > maxUsers) return wrongCount(staffIds.length);
      const body = { robotCode: app.robotCode, userIds: staffIds, ...renderOpenApiContent(content) };
      return postAsApp(app, `${o.apiUrl}/v1.0/robot/oToMessages/batchSend`, body);
    },
    sendToGroup: async ({ app, conversationId, content }) => {
      const { robotCode } = app;
      const body = { robotCode, openConversationId: conversationId, ...renderOpenApiContent(content) };
      return postAsApp(app, `${o.apiUrl}/v1.0/robot/groupMessages/send`, body);
    },
    sendByCustomRobot: async ({ accessToken, secret, msgUuid, content, mentions }) => {
      const url = buildCustomRobotUrl({ oapiUrl: o.oapiUrl, accessToken, secret, nowMs: now() });
      return post('custom_robot', url, { ...renderWebhookBody(content, mentions), msgUuid });
    },
  };
}

function refusedAddress(reason: string): SendRefused {
  const text = 'the reply address is not one of DingTalk and was not called';
  return { kind: 'session_gone', code: `SESSION_WEBHOOK_REFUSED/${reason}`, text, scope: 'target' };
}

function wrongCount(count: number): SendRefused {
  return {
    kind: 'invalid',
    code: 'USER_COUNT',
    text: `1 to ${maxUsers} people at a time, not ${count}`,
    scope: 'content',
  };
}
