import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { buildPolicy, readPolicyFiles, type Policy, type PolicyFile, type ToolDefinition } from '@steward/governance';
import { forceRows, moveRequests, openAttacked, type AttackDatabase } from './attacks.test-support.ts';
import { buildTools, createFakeSystem, createTalk, openTestGate, people, policyFolder } from './gate.test-support.ts';
import type { ToolBox } from './gate/gate-context.ts';
import type { TurnContext } from './run-turn.ts';
import { openTestDatabase } from './testing.ts';

let database: AttackDatabase;
beforeAll(async () => {
  database = await openTestDatabase();
});
afterAll(() => database.close());

const { li, han, zhao } = people;
const shipped = readPolicyFiles({ folder: policyFolder });
const definitionsOf = (tools: ToolBox): ToolDefinition[] => [...tools.values()].map(({ definition }) => definition);

/** The shipped policies with a change to the text of one of them. */
const changed = (change: (text: string) => string): PolicyFile[] =>
  shipped.map((file) => ({ ...file, text: change(file.text) }));

/** A gate whose policy files can be edited under it. */
async function openEditable() {
  const system = createFakeSystem();
  const tools = buildTools(system);
  let files = shipped;
  const load = (): Policy => buildPolicy({ files, tools: definitionsOf(tools) });
  const attacked = await openAttacked(database, { system, tools, load });
  return {
    ...attacked,
    edit: async (edited: PolicyFile[]) => {
      expect(edited).not.toEqual(files);
      files = edited;
      await attacked.context.policy.reload();
    },
  };
}

describe('a policy that changes while a request waits', () => {
  it.each<[string, (text: string) => string]>([
    ['a comment', (text) => `// nobody reads this\n${text}`],
    [
      'a looser rule',
      (text) => text.replaceAll('@quorum("2")', '@quorum("1")').replaceAll('@expires("15m")', '@expires("1h")'),
    ],
    ['a rule for something else', (text) => text.replace('"guest"', '"visitor"')],
  ])('leaves it standing after %s', async (_, change) => {
    const gate = await openEditable();
    const code = await gate.ask();
    await gate.edit(changed(change));
    expect((await gate.talk.say(han, `/approve ${code}`))[1]).toContain('restart: done');
    expect(await gate.statuses()).toEqual(['used']);
    // Its text is on record: evidence shows by which rules it was judged.
    const { hash, source } = gate.context.policy.current();
    expect(await database.rows(`select source from audit.policy_text where policy_hash = '${hash}'`)).toEqual([
      { source },
    ]);
  });

  it.each<[string, (text: string) => string, string]>([
    ['more approvers', (text) => text.replaceAll('@quorum("1")', '@quorum("2")'), 'policy_more_approvers'],
    ['other approvers', (text) => text.replaceAll('"approver, sre-lead"', '"sre-lead"'), 'policy_other_approvers'],
    [
      'a reason',
      (text) => text.replaceAll('@quorum("1")', '@quorum("1")\n@reason("required")'),
      'policy_reason_needed',
    ],
    [
      'nothing of that kind',
      (text) => text.replaceAll('resource.effect == "write"', 'resource.effect == "none"'),
      'policy_no_rule',
    ],
    [
      'a forbid',
      (text) =>
        `${text}\n@id("never-${text.length}")\nforbid (principal, action, resource) unless { resource.effect == "read" };\n`,
      'policy_forbidden',
    ],
  ])('makes an approval void when it wants %s, and says so', async (_, change, why) => {
    const gate = await openEditable();
    const code = await gate.ask();
    await gate.edit(changed(change));
    const said = await gate.talk.say(han, `/approve ${code}`);
    expect(said[1]).toContain(why);
    expect(gate.system.effects).toEqual([]);
    expect(await gate.statuses()).toEqual(['void']);
    expect((await gate.audited(/^(approval\.void|call\.ended)/)).toSorted()).toEqual([
      'approval.void void',
      'call.ended void',
    ]);
  });

  it('is a clock that was shortened: what took longer is void', async () => {
    const gate = await openEditable();
    const code = await gate.ask();
    await moveRequests(database, `created_at = created_at - interval '5 minutes'`);
    await gate.edit(changed((text) => text.replaceAll('@expires("15m")', '@expires("2m")')));
    expect((await gate.talk.say(han, `/approve ${code}`))[1]).toContain('policy_too_late');
    expect(gate.system.effects).toEqual([]);
  });

  it('holds for an approved read as for a write', async () => {
    const gate = await openEditable();
    const asking = (text: string) => text.replaceAll('resource.effect == "write"', 'resource.effect == "read"');
    const permitted = 'resource.effect == "read" && context has room';
    const change = (text: string) => asking(text.replace(permitted, 'resource.effect == "none"'));
    await gate.edit(changed(change));
    const code = await gate.ask('/run look service=web');
    await gate.edit(
      changed((text) => `${change(text)}\n@id("never-${text.length}")\nforbid (principal, action, resource);\n`),
    );
    expect((await gate.talk.say(han, `/approve ${code}`))[1]).toContain('policy_forbidden');
    expect(gate.system.effects).toEqual([]);
  });

  it('and does not load changes nothing: the old set judges on', async () => {
    const gate = await openEditable();
    const code = await gate.ask();
    await gate.edit([{ name: 'broken.cedar', text: 'permit (principal' }]);
    expect(gate.context.policy.check()).toEqual({ ok: true, detail: expect.stringContaining('POLICY_INVALID') });
    expect(await gate.audited(/^policy\.refused/)).toEqual(['policy.refused POLICY_INVALID']);
    expect((await gate.talk.say(han, `/approve ${code}`))[1]).toContain('restart: done');
  });
});

describe('a replica whose clock is wrong', () => {
  it.each([-7_200_000, 7_200_000])('by %d ms neither keeps a request open nor closes it', async (shiftMs) => {
    const gate = await openAttacked(database, { now: () => new Date(Date.now() + shiftMs) });
    const inTime = await gate.ask();
    expect((await gate.talk.say(han, `/approve ${inTime}`))[1]).toContain('restart: done');
    const late = await gate.ask('/run restart service=db');
    await moveRequests(database, `approve_by = now() - interval '1 s' where code = '${late}'`);
    expect((await gate.talk.say(han, `/approve ${late}`))[0]).toContain('over');
    expect(await gate.statuses()).toEqual(['used', 'expired']);
    expect(gate.system.effects).toHaveLength(1);
  });

  it.each([-7_200_000, 7_200_000])(
    'by %d ms does not stretch the time in which an approved call may run',
    async (shiftMs) => {
      const gate = await openAttacked(database, { now: () => new Date(Date.now() + shiftMs) });
      const code = await gate.ask();
      await gate.talk.say(zhao, '/freeze');
      await gate.talk.say(han, `/approve ${code}`);
      await moveRequests(database, `run_by = now() - interval '1 s'`);
      await forceRows(database, `update agent_core.tool_grant set run_by = now() - interval '1 s'`);
      await gate.talk.say(han, '/unfreeze');
      expect(gate.system.effects).toEqual([]);
      expect(await database.rows('select from agent_core.tool_attempt')).toHaveLength(0);
    },
  );

  it.each([-7_200_000, 7_200_000])('by %d ms neither keeps broken glass open nor closes it', async (shiftMs) => {
    const gate = await openAttacked(database, { now: () => new Date(Date.now() + shiftMs) });
    await gate.talk.say(li, '/breakglass 10 restart fire');
    expect((await gate.talk.say(li, '/run restart service=web'))[0]).toContain('restart: done');
    await forceRows(
      database,
      `update agent_core.break_glass set opened_at = now() - interval '1 h', until_at = now() - interval '1 s'`,
    );
    expect((await gate.talk.say(li, '/run restart service=db'))[0]).toContain('waiting');
    expect(gate.system.effects).toHaveLength(1);
  });
});

describe('a rolling upgrade with a hundred open approvals', () => {
  const rooms = Array.from({ length: 20 }, (_, at) => `cid-u${at}`);
  let older: TurnContext;
  let newer: TurnContext;
  let system: ReturnType<typeof createFakeSystem>;
  let gate: Awaited<ReturnType<typeof openAttacked>>;

  beforeEach(async () => {
    shared = null;
    system = createFakeSystem();
    gate = await openAttacked(database, { system });
    const [room] = gate.config.rooms;
    const config = {
      ...gate.config,
      rooms: [
        ...gate.config.rooms,
        ...rooms.map((id) => ({ ...room, id, name: `room-${id}`, robot: 'ops', environment: 'test' as const })),
      ],
      governance: { ...gate.config.governance, maxPendingPerRequester: 100 },
    };
    older = await openTestGate(database.db, { system, config });
    for (const [at, id] of rooms.entries())
      for (let n = 0; n < 5; n += 1)
        await talkOf(older).post(li, `/run ${n === 4 ? 'scale' : 'restart'} service=web-${at}-${n}`, { room: id });
    await workAll(older);
    expect(await gate.statuses()).toEqual(Array(100).fill('pending'));
    // The newer version restarts in another way, and its set of tools is another one: so is its policy hash.
    const change = { restart: { request: { method: 'POST', path: '/new' } }, look: { effect: 'write' as const } };
    newer = await openTestGate(database.connect(), { system, config, tools: buildTools(system, change) });
  }, 60_000);

  /** One talk for all replicas, so that each room's numbers go on. */
  let shared: ReturnType<typeof createTalk> | null = null;
  const talkOf = (context: TurnContext) => (shared ??= createTalk(context));
  const workAll = async (context: TurnContext): Promise<void> => {
    const talk = createTalk(context);
    for (let count = 0; count < 500; count += 1) if ((await talk.workOne()) === null) return;
    throw new Error('turns never come to an end');
  };
  /** As the watch over approvals does for turns whose calls are held. */
  const wakeAll = () =>
    database.rows(
      `update agent_core.turn set status = 'queued', next_attempt_at = now(), resumed_at_attempt = attempt where status = 'waiting'`,
    );
  const decideAll = async () => {
    const rows = await database.rows<{ code: string; room: string }>(
      `select code, conversation_id as room from agent_core.approval_request where status = 'pending'`,
    );
    for (const { code, room } of rows) await talkOf(older).post(han, `/approve ${code}`, { room });
  };
  const endings = async () =>
    Object.fromEntries(
      (
        await database.rows<{ what: string; count: number }>(
          `select tool || ' ' || status || ' ' || coalesce(code, '') as what, count(*)::int as count
           from agent_core.tool_call group by 1 order by 1`,
        )
      ).map(({ what, count }) => [what, count]),
    );

  it('loses none, and runs none under another meaning than the one that was approved', async () => {
    await decideAll();
    // The older replica still takes turns: it decides, but it may not run anything any more, and gives nothing up.
    await workAll(older);
    expect(system.effects).toEqual([]);
    expect(await gate.statuses()).toEqual(Array(100).fill('approved'));
    for (let round = 0; round < 2; round += 1) {
      await wakeAll();
      await workAll(older);
    }
    expect(await gate.statuses()).toEqual(Array(100).fill('approved'));
    await wakeAll();
    await workAll(newer);
    expect(await endings()).toEqual({ 'restart void definition_changed': 80, 'scale done ': 20 });
    expect(system.effects.map(({ tool }) => tool)).toEqual(Array(20).fill('scale'));
    // Every room hears how each of its requests came out.
    expect(await database.rows(`select from agent_core.turn where status not in ('done')`)).toHaveLength(0);
  }, 120_000);

  it('calls nothing void that was asked under the newer version and is found by the older one', async () => {
    const room = rooms[0] ?? '';
    await talkOf(older).post(zhao, '/run restart service=new', { room });
    await workAll(newer);
    const [asked] = await database.rows<{ code: string }>(
      `select code from agent_core.approval_request where requester_staff_id = '${zhao}'`,
    );
    await talkOf(older).post(han, `/approve ${asked?.code}`, { room });
    await workAll(older);
    const status = () =>
      database.rows(`select status from agent_core.approval_request where requester_staff_id = '${zhao}'`);
    expect(await status()).toEqual([{ status: 'approved' }]);
    await wakeAll();
    await workAll(newer);
    expect(await status()).toEqual([{ status: 'used' }]);
    expect(system.effects.map(({ args }) => args)).toEqual([{ service: 'new' }]);
  }, 120_000);
});
