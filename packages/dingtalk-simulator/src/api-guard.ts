import { apiError } from './api-errors.ts';
import { requireApp } from './oauth.ts';
import type { ApiRequest, ApiRoute, Reply } from './reply.ts';
import type { Simulation } from './simulation.ts';

/** Lets a call of the new API through that has a good token and is within the limits of its app. */
export function createGuard(
  simulation: Simulation,
): (route: (request: ApiRequest, appKey: string) => Reply) => ApiRoute {
  return (route) => (request) => {
    const owner = requireApp(simulation, request);
    if ('refusal' in owner) return owner.refusal;
    return findQuotaRefusal(simulation, owner.app.appKey, request.path) ?? route(request, owner.app.appKey);
  };
}

/** Limits of one app on one path (reference section 6.1). A call refused for its rate does not use up the month. */
function findQuotaRefusal(s: Simulation, appKey: string, path: string): Reply | undefined {
  const { faults } = s;
  if (!s.limits.take(`qps ${appKey} ${path}`, faults.qpsLimit, s.scaled(faults.qpsWindowMs))) {
    return apiError('Forbidden.AccessDenied.QpsLimitForAppkeyAndApi');
  }
  if (!s.limits.spend('api calls of the month', faults.monthlyApiCalls)) {
    return apiError('Forbidden.AccessDenied.ApiCountLimitForOrg');
  }
  return undefined;
}
