import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { buildAttackConfig, forceRows, openAttacked, type AttackDatabase } from '../attacks.test-support.ts';
import { approvalsRoom, createTalk, people } from '../gate.test-support.ts';
import { openTestDatabase } from '../testing.ts';

let database: AttackDatabase;
let gate: Awaited<ReturnType<typeof openAttacked>>;
const { li, han, zhao } = people;
beforeAll(async () => {
  database = await openTestDatabase();
});
beforeEach(async () => {
  gate = await openAttacked(database);
});
afterAll(() => database.close());

const say = async (who: string, text: string, where = {}) => (await gate.talk.say(who, text, where))[0] ?? '';
const glasses = () =>
  database.rows('select tool, reviewed_by_staff_id as reviewer from agent_core.break_glass order by opened_at');

describe('/breakglass', () => {
  it.each([
    ['nothing', '/breakglass'],
    ['no reason', '/breakglass 10 restart'],
    ['a reason of spaces', '/breakglass 10 restart    '],
    ['no minutes', '/breakglass restart the site is down'],
    ['none of them', '/breakglass 0 restart the site is down'],
    ['more than are allowed', '/breakglass 31 restart the site is down'],
    ['an hour in other words', '/breakglass 1e1 restart the site is down'],
    ['less than none', '/breakglass -5 restart the site is down'],
  ])('with %s opens nothing and shows how it is typed', async (_, text) => {
    expect(await say(li, text)).toContain('Like this');
    expect(await glasses()).toEqual([]);
  });

  it('knows only tools of this environment', async () => {
    expect(await say(li, '/breakglass 10 elsewhere fire')).toContain('no tool');
    expect(await say(li, '/breakglass 10 nothing fire')).toContain('no tool');
    expect(await glasses()).toEqual([]);
  });

  it('is refused without the role, on record, whoever it says it is', async () => {
    expect(await say(han, '/breakglass 10 restart fire', { requester: { nick: 'Li Lei' } })).toContain('roles ops');
    expect(await say(li, '/breakglass 10 restart fire', { requester: { corpId: 'corp-2' } })).toContain('roles ops');
    expect(await say(li, '/breakglass 10 restart fire', { requester: { staffId: null } })).toContain('roles ops');
    expect(await glasses()).toEqual([]);
    expect(await gate.audited(/^glass\./)).toEqual(Array(3).fill('glass.refused no_role'));
  });

  it('tells the approvers with the reason as one quoted line', async () => {
    await say(li, '/breakglass 10 restart fire\n### Approval 7F3K: fine\n[approve](http://x)');
    const told = (await gate.told()).filter(({ target }) => target['conversationId'] === approvalsRoom);
    expect(told).toHaveLength(1);
    const text = String(told[0]?.content['text']);
    expect(text).toContain('⚠ Li Lei broke glass in ops-room for restart');
    expect(text.split('\n')).toHaveLength(1);
    expect(text).not.toMatch(/[[\]#]/);
  });

  it('is opened by one of two who try at once, for the whole environment', async () => {
    const both = { breakGlassRoles: ['ops', 'approver'] };
    gate = await openAttacked(database, { config: buildAttackConfig({ governance: both }) });
    await gate.talk.post(li, '/breakglass 10 restart one');
    await gate.talk.post(han, '/breakglass 10 scale two', { room: 'cid-2' });
    await Promise.all([gate.talk.workAll(), gate.talk.workAll()]);
    expect(await glasses()).toHaveLength(1);
    expect((await gate.audited(/^glass\./)).toSorted()).toEqual(['glass.broken open', 'glass.refused unreviewed']);
  });
});

describe('broken glass', () => {
  beforeEach(async () => {
    await say(li, '/breakglass 10 restart the site is down');
  });

  it('serves its breaker, for its tool, in its place, each call under a grant of its own', async () => {
    expect(await say(li, '/run restart service=web')).toContain('restart: done');
    expect(await say(li, '/run restart service=db')).toContain('restart: done');
    expect(await say(zhao, '/run restart service=web')).toContain('waiting');
    expect(await say(li, '/run scale service=web')).toContain('waiting');
    expect(await say(li, '/run restart service=web', { room: 'cid-2' })).toContain('waiting');
    expect(await say(li, '/run restart service=web', { room: 'cid-3', robotCode: 'dingother' })).toContain('waiting');
    expect(gate.system.effects.map(({ args }) => args)).toEqual([{ service: 'web' }, { service: 'db' }]);
    const grants = await database.rows<{ digest: string }>(
      `select encode(digest, 'hex') as digest from agent_core.tool_grant where break_glass_id is not null`,
    );
    expect(new Set(grants.map(({ digest }) => digest)).size).toBe(2);
    expect(await gate.audited(/^grant\./)).toEqual(Array(2).fill('grant.taken break_glass'));
  });

  it('does not end as expired what another replica has begun since it was loaded', async () => {
    const { policy } = gate.context;
    // The other replica comes between the loading of the call here and its attempt.
    const begin = async () => {
      await database.rows(`update agent_core.tool_grant set consumed_at = now() where consumed_at is null`);
      await database.rows(
        `insert into agent_core.tool_attempt (id, tool_call_id, number, grant_id, turn_attempt, idempotency_key)
         select gen_random_uuid(), g.tool_call_id, 1, g.id, t.attempt, 'key' from agent_core.tool_grant g
         join agent_core.tool_call c on c.id = g.tool_call_id join agent_core.turn t on t.id = c.turn_id
         where not exists (select from agent_core.tool_attempt a where a.tool_call_id = c.id)`,
      );
      await database.rows(`update agent_core.tool_call set status = 'running' where status = 'ready'`);
      await policy.assertActive();
    };
    const late = createTalk({ ...gate.context, policy: { ...policy, assertActive: begin } });
    await gate.talk.post(li, '/run restart service=web');
    expect(await late.workOne()).toMatchObject({ outcome: { status: 'waiting', isHeld: true } });
    expect(await database.rows('select status from agent_core.tool_call')).toEqual([{ status: 'running' }]);
    expect(gate.system.effects).toEqual([]);
  });

  it('does not open what the policy forbids', async () => {
    gate = await openAttacked(database, { isAudited: () => Promise.resolve(false) });
    await say(li, '/breakglass 10 wipe fire');
    expect(await say(li, '/run wipe service=web')).toContain('forbids');
    expect(gate.system.effects).toEqual([]);
  });

  it('does not run while the environment is frozen', async () => {
    await say(zhao, '/freeze');
    await say(li, '/run restart service=web');
    expect(gate.system.effects).toEqual([]);
  });

  it('is over after its minutes, and still waits for review', async () => {
    await forceRows(
      database,
      `update agent_core.break_glass set opened_at = now() - interval '1 h', until_at = now() - interval '1 s'`,
    );
    expect(await say(li, '/run restart service=web')).toContain('waiting');
    expect(await say(li, '/breakglass 10 restart again')).toContain('Not before');
    expect(await say(zhao, '/review')).toContain('0 calls');
  });
});

describe('/review', () => {
  beforeEach(async () => {
    await say(li, '/breakglass 10 restart the site is down');
  });

  it('is for another person with the role, and ends the glass at once', async () => {
    expect(await say(han, '/review fine')).toContain('roles sre-lead');
    expect(await say(zhao, '/review looked at it')).toBe('Signed off.');
    expect(await glasses()).toEqual([{ tool: 'restart', reviewer: zhao }]);
    expect(await say(li, '/run restart service=web')).toContain('waiting');
    expect(await say(zhao, '/review again')).toContain('Nothing waits');
    expect(await gate.audited(/^glass\./)).toEqual([
      'glass.broken open',
      'glass.refused no_role',
      'glass.reviewed signed_off',
    ]);
  });

  it('is not for whoever broke it, role or not', async () => {
    const governance = { reviewRoles: ['ops', 'sre-lead'] };
    gate = await openAttacked(database, { config: buildAttackConfig({ governance }) });
    await say(li, '/breakglass 10 restart the site is down');
    expect(await say(li, '/review all good')).toContain('another person');
    expect(await say(li, '/review all good', { room: 'cid-3', robotCode: 'dingother' })).toContain('another person');
    expect(await glasses()).toEqual([{ tool: 'restart', reviewer: null }]);
    expect(await gate.audited(/^glass\.refused/)).toEqual(Array(2).fill('glass.refused requester'));
  });

  it('of another environment is another review', async () => {
    const production = { robotCode: 'dingprod', room: 'cid-prod', environment: 'production' as const };
    expect(await say(zhao, '/review fine', production)).toContain('Nothing waits');
    expect(await glasses()).toEqual([{ tool: 'restart', reviewer: null }]);
  });
});
