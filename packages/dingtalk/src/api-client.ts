import { AppError } from '@steward/service-kit';
import { checkSessionWebhook } from './check-session-webhook.ts';
import type { SessionWebhookRule } from './check-session-webhook.ts';
import { classifyResponse } from './classify-response.ts';
import type { SendDoor } from './classify-response.ts';
import { postJson } from './post-json.ts';
import { renderOpenApiContent, renderWebhookBody } from './render-content.ts';
import type { Mentions, OutgoingContent } from './render-content.ts';
import type { SendOutcome, SendRefused } from './send-outcome.ts';
import { buildCustomRobotUrl } from './signatures.ts';
import type { TokenSource } from './token-source.ts';

/** An app robot as the API knows it. */
export type RobotApp = { robotCode: string; tokens: TokenSource };

/** Every way to say something. No call rejects; each ends within 12 s, however often a token is asked for or refused. */
export type ApiClient = {
  /** Answers where a message came from, without a token. The address is checked against the rule first. */
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
}): ApiClient {
  const timeoutMs = o.timeoutMs ?? 8_000;
  const deadlineMs = o.deadlineMs ?? 12_000;
  const now = o.now ?? Date.now;
  const post = (door: SendDoor, url: string, body: unknown) => postAndClassify({ door, url, body, timeoutMs });
  const postAsApp = (app: RobotApp, url: string, body: unknown) =>
    withToken(app.tokens, AbortSignal.timeout(deadlineMs), (headers, signal) =>
      postAndClassify({ door: 'open_api', url, body, headers, timeoutMs, signal }),
    );
  return {
    sendBySession: async ({ sessionWebhook, rule, content, mentions }) => {
      const verdict = checkSessionWebhook(sessionWebhook, rule);
      if (!verdict.ok) return refusedAddress(verdict.reason);
      return post('session', sessionWebhook, renderWebhookBody(content, mentions));
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

/** A refused token is dropped and the call made once more: what was refused was not sent. */
async function withToken(
  tokens: TokenSource,
  signal: AbortSignal,
  send: (headers: Record<string, string>, signal: AbortSignal) => Promise<SendOutcome>,
): Promise<SendOutcome> {
  try {
    const token = await tokens.get(signal);
    const outcome = await send(tokenHeader(token), signal);
    if (outcome.kind !== 'token') return outcome;
    tokens.invalidate(token);
    return await send(tokenHeader(await tokens.get(signal)), signal);
  } catch (error) {
    return withoutToken(error);
  }
}

async function postAndClassify({
  door,
  ...request
}: { door: SendDoor } & Parameters<typeof postJson>[0]): Promise<SendOutcome> {
  const posted = await postJson(request);
  switch (posted.kind) {
    case 'answered':
      return classifyResponse({ door, httpStatus: posted.httpStatus, body: posted.body });
    case 'not_sent':
      return { kind: 'retryable', code: posted.code, text: 'DingTalk cannot be reached', scope: 'egress' };
    case 'unclear':
      return { kind: 'unknown', code: posted.code, text: 'no answer came: it may have been sent' };
  }
}

function withoutToken(error: unknown): SendRefused {
  if (!(error instanceof AppError)) throw error;
  const kind = error.retryable ? 'retryable' : 'permanent';
  const platformCode = error.details['platformCode'];
  const code = typeof platformCode === 'string' ? `${error.code}/${platformCode}` : error.code;
  return { kind, code, text: error.message, scope: 'app' };
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

function tokenHeader(token: string): Record<string, string> {
  return { 'x-acs-dingtalk-access-token': token };
}
