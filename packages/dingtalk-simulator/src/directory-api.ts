import { requireLegacyApp } from './oauth.ts';
import { oapiError, oapiOk } from './oapi-errors.ts';
import { ok, textField } from './reply.ts';
import type { ApiRequest, ApiRoute, Reply } from './reply.ts';
import type { Simulation } from './simulation.ts';
import { rolesOf } from './world.ts';
import type { SimulatorPerson, SimulatorWorld } from './world.ts';

type Body = Record<string, unknown>;
const ROOT_DEPARTMENT = 1;

/** Who somebody is: the address book of oapi.dingtalk.com (reference section 8). Not counted in the monthly quota. */
export function createDirectoryRoutes(simulation: Simulation): Record<string, ApiRoute> {
  const s = simulation;
  const guarded =
    (route: (body: Body) => Reply): ApiRoute =>
    (request: ApiRequest) => {
      const owner = requireLegacyApp(s, request);
      if ('refusal' in owner) return owner.refusal;
      const { qpsLimit, qpsWindowMs } = s.faults;
      const isWithin = s.limits.take(`qps ${owner.app.appKey} ${request.path}`, qpsLimit, s.scaled(qpsWindowMs));
      return isWithin ? route(request.body) : oapiError('oapi.90018');
    };
  return {
    'POST /topapi/v2/user/get': guarded((body) => ofPerson(s, body, (person) => toPerson(s, person))),
    'POST /topapi/user/getbyunionid': guarded((body) => {
      const person = s.world.people.find(({ unionId }) => unionId === textField(body, 'unionid'));
      return person ? found({ contact_type: 0, userid: person.staffId }) : oapiError('oapi.60121');
    }),
    'POST /topapi/v2/department/listparentbyuser': guarded((body) =>
      ofPerson(s, body, (person) => ({
        parent_list: departmentsOf(person).map((id) => ({ parent_dept_id_list: withParents(s.world, id) })),
      })),
    ),
    'POST /topapi/role/list': guarded(() => found({ hasMore: false, list: [listRoles(s.world)] })),
    'POST /topapi/role/simplelist': guarded((body) => {
      const members = s.world.people.filter((person) => rolesOf(person).some(({ id }) => id === Number(body.role_id)));
      return found({ hasMore: false, list: members.map(({ staffId, name }) => ({ userid: staffId, name })) });
    }),
  };
}

const found = (result: unknown): Reply => ok({ ...oapiOk, result });

function ofPerson(s: Simulation, body: Body, show: (person: SimulatorPerson) => unknown): Reply {
  const staffId = textField(body, 'userid');
  if (staffId === '') return oapiError('oapi.33012');
  const person = s.world.people.find((known) => known.staffId === staffId);
  return person ? found(show(person)) : oapiError('oapi.60121');
}

/** `sample`: the documentation's own sample has booleans as text and one role as an object. */
function toPerson(s: Simulation, person: SimulatorPerson): Body {
  const roles = rolesOf(person).map((role) => ({ ...role, group_name: '默认' }));
  const plain = {
    ...{ userid: person.staffId, unionid: person.unionId, name: person.name, dept_id_list: departmentsOf(person) },
    ...{ role_list: roles, active: person.active ?? true, admin: person.roles?.includes('admin') ?? false },
  };
  if (s.faults.directoryShape === 'plain') return plain;
  return {
    ...plain,
    active: `${plain.active}`,
    admin: `${plain.admin}`,
    role_list: roles.length === 1 ? roles[0] : roles,
  };
}

const departmentsOf = (person: SimulatorPerson): number[] => person.departmentIds ?? [ROOT_DEPARTMENT];

/** A department and everything above it, up to the root. */
function withParents(world: SimulatorWorld, id: number): number[] {
  const path = [id];
  for (let at = id; at !== ROOT_DEPARTMENT;) {
    at = world.departments?.find((department) => department.id === at)?.parentId ?? ROOT_DEPARTMENT;
    if (path.includes(at)) break;
    path.push(at);
  }
  return path;
}

function listRoles(world: SimulatorWorld): Body {
  const roles = new Map(world.people.flatMap(rolesOf).map((role) => [role.id, role]));
  return { groupId: 1, name: '默认', roles: [...roles.values()] };
}
