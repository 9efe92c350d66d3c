import { AppError, registerSecret } from '@steward/service-kit';
import { z } from 'zod';
import { classifyResponse } from './classify-response.ts';
import { postJson } from './post-json.ts';

/** The access token of one app. Never share one between apps: messages would leave as another robot. */
export type TokenSource = {
  /**
   * A token that is valid for a while. Rejects AppError DINGTALK_TOKEN_REFUSED (not retryable: credentials,
   * permission) or DINGTALK_TOKEN_UNAVAILABLE (retryable); `details.platformCode` says what was answered.
   * The end of `signal` ends this caller's wait with the latter; others go on waiting for the same request.
   */
  get(signal?: AbortSignal): Promise<string>;
  /** Drops this token if it is still the cached one, so that late failures of an old token cost no refresh. */
  invalidate(token: string): void;
};

/** The docs advise to refresh ten minutes before the end; asking again while valid returns the same token, extended. */
const refreshEarlyMs = 600_000;
/** After a failed early refresh the valid token is used on, and the gateway left alone for this long. */
const retryEarlyMs = 30_000;

const answerSchema = z.object({ accessToken: z.string().min(1), expireIn: z.coerce.number().positive() });

/** Caches the token of one app in this process and lets at most one request for it run at a time. */
export function createTokenSource(o: {
  apiUrl: string;
  appKey: string;
  appSecret: string;
  timeoutMs?: number;
  now?: () => number;
}): TokenSource {
  const now = o.now ?? Date.now;
  let cached: { token: string; expiresAtMs: number; refreshAtMs: number } | null = null;
  let running: Promise<string> | null = null;

  const refresh = async (): Promise<string> => {
    const askedAtMs = now();
    const { accessToken: token, expireIn } = await requestToken({ ...o, timeoutMs: o.timeoutMs ?? 5_000 });
    registerSecret(token, { rotating: true });
    const expiresAtMs = askedAtMs + expireIn * 1_000;
    // A token that lives shorter than the margin is still good for half its life.
    const refreshAtMs = Math.max(expiresAtMs - refreshEarlyMs, askedAtMs + (expireIn * 1_000) / 2);
    cached = { token, expiresAtMs, refreshAtMs };
    return token;
  };

  const refreshOnce = (): Promise<string> => (running ??= refresh().finally(() => (running = null)));

  const getFresh = async (): Promise<string> => {
    const held = cached;
    if (held !== null && now() < held.refreshAtMs) return held.token;
    try {
      return await refreshOnce();
    } catch (error) {
      if (held === null || now() >= held.expiresAtMs || cached !== held) throw error;
      held.refreshAtMs = now() + retryEarlyMs;
      return held.token;
    }
  };

  return {
    get: (signal) => (signal ? untilAborted(signal, getFresh()) : getFresh()),
    invalidate: (token) => {
      if (cached?.token === token) cached = null;
    },
  };
}

function untilAborted(signal: AbortSignal, asked: Promise<string>): Promise<string> {
  return new Promise((resolve, reject) => {
    const giveUp = () => {
      reject(unavailable('TIMEOUT'));
    };
    signal.addEventListener('abort', giveUp, { once: true });
    if (signal.aborted) giveUp();
    void asked.then(resolve, reject).finally(() => {
      signal.removeEventListener('abort', giveUp);
    });
  });
}

async function requestToken(o: { apiUrl: string; appKey: string; appSecret: string; timeoutMs: number }) {
  const posted = await postJson({
    url: `${o.apiUrl}/v1.0/oauth2/accessToken`,
    body: { appKey: o.appKey, appSecret: o.appSecret },
    timeoutMs: o.timeoutMs,
  });
  if (posted.kind !== 'answered') throw unavailable(posted.code);
  const answer = answerSchema.safeParse(posted.body);
  if (answer.success) return answer.data;
  const outcome = classifyResponse({ door: 'open_api', httpStatus: posted.httpStatus, body: posted.body });
  if (outcome.kind === 'accepted') throw unavailable('UNREADABLE_ANSWER');
  if (outcome.kind === 'retryable' || outcome.kind === 'unknown') throw unavailable(outcome.code);
  throw new AppError('DINGTALK_TOKEN_REFUSED', `DingTalk gives no access token: ${outcome.text}`, {
    retryable: false,
    details: { platformCode: outcome.code },
  });
}

function unavailable(platformCode: string): AppError {
  const text = 'DingTalk could not be asked for an access token';
  return new AppError('DINGTALK_TOKEN_UNAVAILABLE', text, { retryable: true, details: { platformCode } });
}
