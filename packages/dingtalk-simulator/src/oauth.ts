import { apiError } from './api-errors.ts';
import { oapiError, oapiOk } from './oapi-errors.ts';
import { ok, textField } from './reply.ts';
import type { ApiRequest, ApiRoute, Reply } from './reply.ts';
import { findAppByKey } from './simulation.ts';
import type { Simulation } from './simulation.ts';
import type { SimulatorApp } from './world.ts';

/**
 * Access tokens, new and legacy call (reference section 4): the same token while it is valid, its end moved by each
 * fetch; a new one after that. Tokens of either call are good on both hosts.
 */
export function createOauthRoutes(simulation: Simulation): Record<string, ApiRoute> {
  return {
    'POST /v1.0/oauth2/accessToken': ({ body }) => {
      const issued = issueToken(simulation, textField(body, 'appKey'), textField(body, 'appSecret'));
      return issued === undefined
        ? apiError('invalidClientIdOrSecret')
        : ok({ accessToken: issued.token, expireIn: issued.seconds });
    },
    'GET /gettoken': ({ query }) => {
      const issued = issueToken(simulation, query.get('appkey') ?? '', query.get('appsecret') ?? '');
      return issued === undefined
        ? oapiError('oapi.40089')
        : ok({ ...oapiOk, access_token: issued.token, expires_in: issued.seconds });
    },
  };
}

function issueToken(s: Simulation, appKey: string, secret: string): { token: string; seconds: number } | undefined {
  const app = findAppByKey(s.world, appKey);
  if (app?.appSecret !== secret) return undefined;
  const ttlMs = s.scaled(s.faults.tokenTtlMs);
  const current = s.tokens.keyOf((owner) => owner === appKey);
  if (current !== undefined) s.tokens.extend(current, ttlMs);
  return { token: current ?? s.tokens.issue(appKey, ttlMs), seconds: Math.floor(ttlMs / 1000) };
}

/** The app whose token came with the call, or the refusal of the new API. */
export function requireApp(simulation: Simulation, request: ApiRequest): { app: SimulatorApp } | { refusal: Reply } {
  const token = simulation.tokens.find(request.header('x-acs-dingtalk-access-token') ?? '');
  const app = token && !token.isExpired ? findAppByKey(simulation.world, token.value) : undefined;
  return app ? { app } : { refusal: apiError('InvalidAuthentication') };
}

/** The app whose token came in the query, or the refusal of the legacy API. */
export function requireLegacyApp(s: Simulation, request: ApiRequest): { app: SimulatorApp } | { refusal: Reply } {
  const given = request.query.get('access_token') ?? '';
  if (given === '') return { refusal: oapiError('oapi.41001') };
  const token = s.tokens.find(given);
  if (token?.isExpired) return { refusal: oapiError('oapi.42001') };
  const app = token && findAppByKey(s.world, token.value);
  return app ? { app } : { refusal: oapiError('oapi.40014') };
}
