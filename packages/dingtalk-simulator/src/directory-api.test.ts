import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createSimulator } from './simulator.ts';
import type { Simulator } from './simulator.ts';
import { authorise, buildTestWorld, call } from './testing.ts';
import { roleIdOf } from './world.ts';

describe('the address book', () => {
  let simulator: Simulator;
  let token: string;
  beforeEach(async () => {
    const world = buildTestWorld();
    simulator = await createSimulator({
      world: {
        ...world,
        people: [
          { staffId: 'li', name: 'Li', unionId: 'union-li', roleIds: [1881], departmentIds: [7, 8], active: false },
          { staffId: 'wang', name: 'Wang', unionId: 'union-wang', roles: ['admin'] },
        ],
        departments: [
          { id: 7, name: 'sre', parentId: 3 },
          { id: 3, name: 'ops', parentId: 1 },
          { id: 8, name: 'loop', parentId: 8 },
        ],
      },
    });
    token = Object.values(await authorise(simulator.url))[0] ?? '';
  });
  afterEach(() => simulator.close());
  const ask = async (path: string, body: object, given = token): Promise<Record<string, unknown>> =>
    (await call(`${simulator.url}/topapi/${path}?access_token=${given}`, 'POST', body)).body;

  it('tells roles, departments and whether somebody is active', async () => {
    expect(await ask('v2/user/get', { userid: 'li' })).toMatchObject({
      errcode: 0,
      result: { userid: 'li', dept_id_list: [7, 8], role_list: [{ id: 1881 }], active: false, admin: false },
    });
    expect(await ask('v2/user/get', { userid: 'wang' })).toMatchObject({
      result: { dept_id_list: [1], role_list: [{ id: roleIdOf('admin'), name: 'admin' }], active: true, admin: true },
    });
    simulator.control.setFaults({ directoryShape: 'sample' });
    expect(await ask('v2/user/get', { userid: 'li' })).toMatchObject({
      result: { role_list: { id: 1881 }, active: 'false' },
    });
  });

  it('tells the departments above, up to the root, even where they go in a circle', async () => {
    expect(await ask('v2/department/listparentbyuser', { userid: 'li' })).toMatchObject({
      result: { parent_list: [{ parent_dept_id_list: [7, 3, 1] }, { parent_dept_id_list: [8] }] },
    });
  });

  it('finds people by union id and by role', async () => {
    expect(await ask('user/getbyunionid', { unionid: 'union-wang' })).toMatchObject({ result: { userid: 'wang' } });
    expect(await ask('role/simplelist', { role_id: 1881 })).toMatchObject({ result: { list: [{ userid: 'li' }] } });
    expect(await ask('role/list', {})).toMatchObject({
      result: { list: [{ roles: [{ id: 1881 }, { id: roleIdOf('admin') }] }] },
    });
  });

  it('refuses in its own way: always 200, an errcode', async () => {
    expect(await ask('v2/user/get', { userid: 'nobody' })).toMatchObject({ errcode: 60121 });
    expect(await ask('v2/user/get', {})).toMatchObject({ errcode: 33012 });
    expect(await ask('user/getbyunionid', { unionid: 'x' })).toMatchObject({ errcode: 60121 });
    expect(await ask('v2/user/get', { userid: 'li' }, 'wrong')).toMatchObject({ errcode: 40014 });
    simulator.control.setFaults({ qpsLimit: 0 });
    expect(await ask('v2/user/get', { userid: 'li' })).toMatchObject({ errcode: 90018 });
  });
});
