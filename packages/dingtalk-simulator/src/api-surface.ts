import { apiError, findApiFixture, ipBanned } from './api-errors.ts';
import { createCardRoutes } from './card-api.ts';
import { createDirectoryRoutes } from './directory-api.ts';
import { createGatewayRoutes } from './gateway.ts';
import { createOauthRoutes } from './oauth.ts';
import { findOapiFixture } from './oapi-errors.ts';
import type { CallRecord } from './records.ts';
import { createRecallRoutes } from './recall-api.ts';
import type { ApiRequest, ApiRoute, Reply } from './reply.ts';
import { createRobotRoutes } from './robot-api.ts';
import { takeScripted } from './simulation.ts';
import type { Simulation } from './simulation.ts';
import { createWebhookRoutes } from './webhook-api.ts';

export type ApiSurface = {
  /** The answer to one call, recorded. Everything it changes is done when this returns. */
  answer(request: ApiRequest): { reply: Reply; call: CallRecord };
};

/** The paths of api.dingtalk.com and oapi.dingtalk.com on one port. A path it does not know is a 501, on record. */
export function createApiSurface(simulation: Simulation): ApiSurface {
  const routes: Record<string, ApiRoute> = {
    ...createOauthRoutes(simulation),
    ...createGatewayRoutes(simulation),
    ...createRobotRoutes(simulation),
    ...createWebhookRoutes(simulation),
    ...createCardRoutes(simulation),
    ...createRecallRoutes(simulation),
    ...createDirectoryRoutes(simulation),
  };
  const find = ({ method, path }: ApiRequest): ApiRoute | undefined =>
    [`${method} ${path}`, `ANY ${path}`].flatMap((name) => (Object.hasOwn(routes, name) ? [routes[name]] : []))[0];
  return {
    answer: (request) => {
      const reply =
        findBan(simulation, request) ?? findScripted(simulation, request) ?? (find(request) ?? unsupported)(request);
      return { reply, call: recordCall(simulation, request, reply) };
    },
  };
}

const unsupported: ApiRoute = ({ method, path }) => ({
  status: 501,
  body: { code: 'simulator.unsupported', message: `${method} ${path}` },
  outcome: 'unsupported',
});

/** Reference section 6.1: too many calls of one address ban it from every API for a while. */
function findBan(s: Simulation, { remoteIp }: ApiRequest): Reply | undefined {
  const { ipBan, ipBanStatus, ipCallLimit, ipWindowMs, ipBanMs } = s.faults;
  const form = ipBan === 'off' ? 'json' : ipBan;
  if (ipBan !== 'off' || s.limits.isBlocked(`ip ${remoteIp}`)) return ipBanned(form, ipBanStatus);
  if (s.limits.take(`ip ${remoteIp}`, ipCallLimit, s.scaled(ipWindowMs))) return undefined;
  s.limits.block(`ip ${remoteIp}`, s.scaled(ipBanMs));
  return ipBanned(form, ipBanStatus);
}

function findScripted(s: Simulation, { path }: ApiRequest): Reply | undefined {
  const script = takeScripted(s.faults.failNext, path);
  return script && (findApiFixture(script.reply) ?? findOapiFixture(script.reply) ?? apiError('system.error'));
}

/** Puts a call and its answer on record. */
export function recordCall(s: Simulation, request: ApiRequest, { status, outcome, sent }: Reply): CallRecord {
  if (outcome === 'unsupported') s.log.warn('call.unsupported', { method: request.method, path: request.path });
  return s.calls.add({
    ...{ at: s.now(), method: request.method, path: request.path, query: Object.fromEntries(request.query) },
    ...{ body: request.body, status, outcome, ...sent },
  });
}
