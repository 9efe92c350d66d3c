import express, { type ErrorRequestHandler, type Express, type RequestHandler, type Response } from 'express';
import helmet from 'helmet';
import { AppError } from './errors.ts';
import { withinLimit } from './lifecycle.ts';
import type { Logger } from './logger.ts';
import type { Metrics } from './metrics.ts';
import { newId } from './new-id.ts';
import { redact, redactText } from './redact.ts';

/** What the service needs to do its work, by name: ready means every one of them is ok. `detail` is shown redacted. */
export type Readiness = Record<string, { ok: boolean; detail?: string }>;

const READINESS_LIMIT_MS = 2_000;
const RETRY_AFTER_SECONDS = 5;

/**
 * An Express app with helmet, a fresh correlation id for each request (`x-correlation-id` of the answer; one sent by
 * the caller is ignored, since anyone could forge it), a request histogram, and GET /healthz, /readyz, /metrics.
 * The caller adds its routes, then calls `addErrorRoutes`.
 */
export function createHttpApp(options: {
  log: Logger;
  metrics: Metrics;
  readiness: () => Promise<Readiness>;
}): Express {
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.set('query parser', 'simple');
  app.use(helmet());
  app.use(giveCorrelationId());
  app.use(measureRequests(options.metrics));
  app.get('/healthz', (_request, response) => void response.json({ status: 'ok' }));
  app.get('/readyz', answerReadiness(options));
  app.get('/metrics', async (_request, response) => {
    response.type(options.metrics.registry.contentType).send(await options.metrics.registry.metrics());
  });
  return app;
}

/** The id given to this request, for log lines and everything that follows from it. */
export function correlationIdOf(response: Response): string {
  return String(response.locals['correlationId']);
}

function giveCorrelationId(): RequestHandler {
  return (_request, response, next) => {
    const correlationId = newId();
    response.locals['correlationId'] = correlationId;
    response.setHeader('x-correlation-id', correlationId);
    next();
  };
}

function measureRequests(metrics: Metrics): RequestHandler {
  const labels = ['method', 'route', 'status'] as const;
  const seconds = metrics.histogram('steward_http_request_seconds', 'Time from request to answer', labels);
  return (request, response, next) => {
    const startedAt = process.hrtime.bigint();
    response.once('finish', () => {
      // The pattern of the route, never the path: paths come from outside and would make a series each.
      const route: unknown = (request.route as { path?: unknown } | undefined)?.path; // express leaves it untyped
      const known = { method: request.method, route: typeof route === 'string' ? route : 'none' };
      seconds.observe({ ...known, status: response.statusCode }, Number(process.hrtime.bigint() - startedAt) / 1e9);
    });
    next();
  };
}

function answerReadiness({ log, readiness }: { log: Logger; readiness: () => Promise<Readiness> }): RequestHandler {
  // However many ask at once, the dependencies are asked once.
  let inHand: Promise<Readiness> | undefined;
  const ask = async (): Promise<Readiness> => {
    try {
      return await withinLimit(readiness(), READINESS_LIMIT_MS, 'readiness');
    } catch (error) {
      log.warn('readiness.failed', { error });
      return { readiness: { ok: false, detail: 'the check itself failed' } };
    } finally {
      inHand = undefined;
    }
  };
  return async (_request, response) => {
    inHand ??= ask();
    const checks = await inHand;
    const ready = Object.values(checks).every(({ ok }) => ok);
    response.status(ready ? 200 : 503).json(redact({ ready, checks }));
  };
}

/** What a caller may be told about a code. Any other code is 503 if retryable, else 500, with a text that says nothing. */
const STATUS_BY_CODE: Record<string, number> = {
  BODY_MALFORMED: 400,
  NOT_FOUND: 404,
  BODY_TOO_LARGE: 413,
  BODY_UNSUPPORTED: 415,
  OVERLOADED: 503,
};

/**
 * Adds the last routes: 404, and every error as `{ code, text, correlationId }`, never with the caller's own input.
 * `statusByCode` adds the service's own AppError codes; the text of those below 500 is shown, redacted.
 */
export function addErrorRoutes(app: Express, log: Logger, statusByCode: Record<string, number> = {}): void {
  const statuses = new Map(Object.entries({ ...STATUS_BY_CODE, ...statusByCode }));
  app.use((_request, response) => {
    answerError(response, 404, 'NOT_FOUND', 'there is nothing at this address');
  });
  const answerAnyError: ErrorRequestHandler = (error: unknown, request, response, next) => {
    if (response.headersSent) {
      next(error);
      return;
    }
    const refusal = toAppError(error);
    const status = statuses.get(refusal.code) ?? (refusal.retryable ? 503 : 500);
    if (status === 503 || status === 429) response.setHeader('retry-after', RETRY_AFTER_SECONDS);
    if (status < 500) {
      answerError(response, status, refusal.code, refusal.message);
      return;
    }
    const { method, path } = request;
    log.error('http.request_failed', { correlationId: correlationIdOf(response), method, path, status, error });
    answerError(response, status, refusal.code, 'the service could not do this now; the log has the reason');
  };
  app.use(answerAnyError);
}

function answerError(response: Response, status: number, code: string, text: string): void {
  response.status(status).json({ code, text: redactText(text), correlationId: correlationIdOf(response) });
}

/** body-parser and Express mark what the caller did wrong with a `type` and a 4xx `status`; all else is our fault. */
function toAppError(error: unknown): AppError {
  if (error instanceof AppError) return error;
  const { type, status } = Object(error) as { type?: unknown; status?: unknown };
  if (type === 'entity.too.large' || status === 413) return refuse('BODY_TOO_LARGE', 'the body is too large');
  if (type === 'encoding.unsupported' || type === 'charset.unsupported' || status === 415) {
    return refuse('BODY_UNSUPPORTED', 'this encoding or content type is not supported');
  }
  if (typeof status === 'number' && status >= 400 && status < 500) {
    return refuse('BODY_MALFORMED', 'the request cannot be read');
  }
  return new AppError('INTERNAL', 'unexpected failure', { retryable: false, cause: error });
}

function refuse(code: string, text: string): AppError {
  return new AppError(code, text, { retryable: false });
}
