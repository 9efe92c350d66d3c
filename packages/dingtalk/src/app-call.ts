import { AppError } from '@steward/service-kit';
import { classifyResponse } from './classify-response.ts';
import type { SendDoor } from './classify-response.ts';
import { postJson } from './post-json.ts';
import type { SendOutcome, SendRefused } from './send-outcome.ts';
import type { TokenSource } from './token-source.ts';

/** An app robot as the API knows it. */
export type RobotApp = { robotCode: string; tokens: TokenSource };

/** How a call ended, and what was answered: the decoded body, or undefined when no answer came. */
export type Called = { outcome: SendOutcome; body: unknown };

/** One call: where, what, and by which door its answer is read. `query`: the legacy API wants the token in the address. */
export type AppCallOptions = {
  door: SendDoor;
  method?: 'POST' | 'PUT';
  url: string;
  body: unknown;
  tokenIn?: 'header' | 'query';
  /** The deadline of a whole that has several calls; without it the call has its own. */
  signal?: AbortSignal;
};
export type AppCall = (app: RobotApp, o: AppCallOptions) => Promise<Called>;

/**
 * Calls in the name of an app. A refused token is dropped and the call made once more: what was refused was not done. Never
 * rejects; `timeoutMs` is for each request, `deadlineMs` for the whole: token, request, fresh token, second request.
 */
export function createAppCall({ timeoutMs, deadlineMs }: { timeoutMs: number; deadlineMs: number }): AppCall {
  return async ({ tokens }, { tokenIn, ...call }) => {
    const signal = call.signal ?? AbortSignal.timeout(deadlineMs);
    const callWith = (token: string) =>
      postAndClassify({
        ...call,
        ...(tokenIn === 'query'
          ? { url: `${call.url}?access_token=${encodeURIComponent(token)}` }
          : { headers: { 'x-acs-dingtalk-access-token': token } }),
        timeoutMs,
        signal,
      });
    try {
      const token = await tokens.get(signal);
      const called = await callWith(token);
      if (called.outcome.kind !== 'token') return called;
      tokens.invalidate(token);
      return await callWith(await tokens.get(signal));
    } catch (error) {
      return { outcome: withoutToken(error), body: undefined };
    }
  };
}

/** One request and what its answer means. Never rejects. */
export async function postAndClassify({
  door,
  ...request
}: { door: SendDoor } & Parameters<typeof postJson>[0]): Promise<Called> {
  const posted = await postJson(request);
  switch (posted.kind) {
    case 'answered': {
      const { httpStatus, body, retryAfterMs } = posted;
      const outcome = classifyResponse({ door, httpStatus, body });
      if (outcome.kind !== 'retryable' || retryAfterMs === null) return { outcome, body };
      return { outcome: { ...outcome, retryAfterMs: Math.max(retryAfterMs, outcome.retryAfterMs ?? 0) }, body };
    }
    case 'not_sent': {
      const text = 'DingTalk cannot be reached';
      return { outcome: { kind: 'retryable', code: posted.code, text, scope: 'egress' }, body: undefined };
    }
    case 'unclear': {
      const text = 'no answer came: it may have been sent';
      return { outcome: { kind: 'unknown', code: posted.code, text }, body: undefined };
    }
  }
}

function withoutToken(error: unknown): SendRefused {
  if (!(error instanceof AppError)) throw error;
  const kind = error.retryable ? 'retryable' : 'permanent';
  const platformCode = error.details['platformCode'];
  const code = typeof platformCode === 'string' ? `${error.code}/${platformCode}` : error.code;
  return { kind, code, text: error.message, scope: 'app' };
}
