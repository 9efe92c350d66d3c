import { isError, redact, redactText } from './redact.ts';

type AppErrorOptions = { retryable: boolean; cause?: unknown; details?: Record<string, unknown> };

/**
 * An error that answers the one question a caller has: is it worth trying again?
 * `code` is UPPER_SNAKE and stable; `text` is for people and holds neither secrets nor foreign input.
 */
export class AppError extends Error {
  override readonly name = 'AppError';
  readonly code: string;
  readonly retryable: boolean;
  readonly details: Record<string, unknown>;

  constructor(code: string, text: string, options: AppErrorOptions) {
    super(text, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.retryable = options.retryable;
    this.details = options.details ?? {};
  }
}

/** Whether trying again can help. Only an AppError can say no: an unknown failure is assumed to pass. */
export function isRetryable(error: unknown): boolean {
  return error instanceof AppError ? error.retryable : true;
}

/**
 * Whether a database refused the row itself: SQLSTATE class 22 (data exception) or 23 (constraint). The same row again
 * is refused again, unless a race was lost.
 */
export function isRowRefused(error: unknown): boolean {
  return isError(error) && 'code' in error && /^2[23][0-9A-Z]{3}$/.test(String(error.code));
}

/** Whether it is an AppError of this code. */
export function isAppErrorCode(error: unknown, code: string): error is AppError {
  return error instanceof AppError && error.code === code;
}

/** What `describeError` tells: plain, redacted values, safe for a log line, a row, or an audit entry. */
export type ErrorDescription = {
  code: string;
  text: string;
  retryable: boolean;
  details?: unknown;
  stack?: unknown;
  cause?: unknown;
};

/** Describes anything that was thrown. Redacted, bounded in size, and never throws itself. */
export function describeError(error: unknown): ErrorDescription {
  const retryable = isRetryable(error);
  if (!isError(error)) return { code: 'UNKNOWN', text: describeThrown(error), retryable };
  try {
    const { code, details, stack, cause } = error as Error & { code?: unknown; details?: unknown };
    const shown = typeof code === 'string' || typeof code === 'number' ? String(code) : error.name;
    const description: ErrorDescription = { code: redactText(shown), text: redactText(error.message), retryable };
    if (details !== undefined && JSON.stringify(redact(details)) !== '{}') description.details = redact(details);
    if (stack !== undefined) description.stack = redactText(stack);
    if (cause !== undefined) description.cause = redact(cause);
    return description;
  } catch {
    return { code: 'UNKNOWN', text: 'an error that cannot be read', retryable };
  }
}

function describeThrown(thrown: unknown): string {
  if (thrown === undefined) return 'nothing was thrown';
  const plain = redact(thrown);
  return typeof plain === 'string' ? plain : JSON.stringify(plain);
}
