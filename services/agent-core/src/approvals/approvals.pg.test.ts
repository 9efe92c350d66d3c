import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { createLogger, registerSecret } from '@steward/service-kit';
import {
  approvalsRoom,
  buildGateConfig,
  buildTools,
  createFakeSystem,
  createTalk,
  newestCode,
  openTestGate,
  people,
  type FakeSystem,
} from '../gate.test-support.ts';
import type { TurnContext } from '../run-turn.ts';
import { openTestDatabase } from '../testing.ts';
import { expireRequests } from './watch-approvals.ts';

let database: Awaited<ReturnType<typeof openTestDatabase>>;
let system: FakeSystem;
let context: TurnContext;
let talk: ReturnType<typeof createTalk>;
beforeAll(async () => {
  database = await openTestDatabase();
});
beforeEach(async () => {
  await database.clear();
  system = createFakeSystem();
  context = await openTestGate(database.db, { system });
  talk = createTalk(context);
});
afterAll(() => database.close());

const status = async () =>
  (await database.rows<{ status: string }>('select status from agent_core.approval_request order by created_at')).map(
    (row) => row.status,
  );
const audited = async () =>
  (
    await database.rows<{ what: string }>(
      `select kind || ' ' || outcome as what from audit.entry where kind ~ '^(call|approval|attempt|grant|freeze|glass)' order by transaction_id, id`,
    )
  ).map(({ what }) => what);
const { li, han, zhao, wang } = people;

describe('a read', () => {
  it('runs at once, and its verdict, attempt and result are audited', async () => {
    const [text] = await talk.say(li, '/run look service=web');
    expect(text).toContain('look: done');
    expect(system.effects).toHaveLength(1);
    expect(await audited()).toEqual(
      expect.arrayContaining(['call.judged allow', 'attempt.opened opened', 'call.ended done']),
    );
  });

  it('is refused with its reason: no such tool, arguments that do not fit, a tool of the other environment', async () => {
    expect(await talk.say(li, '/run nothing service=web')).toEqual([expect.stringContaining('no such tool')]);
    expect(await talk.say(li, '/run look')).toEqual([expect.stringContaining('service')]);
    expect(await talk.say(li, '/run elsewhere service=web')).toEqual([expect.stringContaining('no such tool')]);
    expect(system.effects).toEqual([]);
  });
});

describe('a write', () => {
  it('waits for another person, runs once as asked, and says who approved', async () => {
    const [waiting] = await talk.say(li, '/run restart service=web');
    const code = await newestCode(context.db);
    expect(waiting).toBe(`waiting: restart: waiting for ${code}`);
    expect(system.effects).toEqual([]);
    const said = await talk.say(han, `/approve ${code.toLowerCase()} looks fine`);
    expect(said[0]).toContain('approved');
    expect(said[1]).toBe('✅ restart: done, approved by Han Meimei\n- ok: true');
    expect(system.effects).toMatchObject([{ tool: 'restart', args: { service: 'web' } }]);
    expect(await status()).toEqual(['used']);
  });

  it('is never approved by its requester, by a guest or by a stranger, and each refusal is audited', async () => {
    await talk.say(li, '/run restart service=web');
    const code = await newestCode(context.db);
    expect(await talk.say(li, `/approve ${code}`)).toEqual([expect.stringContaining('role')]);
    expect(await talk.say(wang, `/approve ${code}`)).toEqual([expect.stringContaining('role')]);
    expect(await talk.say('nobody', `/approve ${code}`)).toEqual([expect.stringContaining('role')]);
    expect(await status()).toEqual(['pending']);
    expect((await audited()).filter((what) => what.startsWith('approval.refused'))).toHaveLength(3);
  });

  it('is not approved by a requester who holds the role', async () => {
    await talk.say(han, '/run restart service=web');
    const code = await newestCode(context.db);
    expect(await talk.say(han, `/approve ${code}`)).toEqual([expect.stringContaining('another person')]);
    expect(system.effects).toEqual([]);
  });

  it('decides in plain Chinese words, and neither a question nor a quotation decides anything', async () => {
    await talk.say(li, '/run restart service=web');
    const code = await newestCode(context.db);
    expect(await talk.say(han, `/approve ${code} 可以吗？`)).toEqual([expect.stringContaining('question')]);
    const said = await talk.say(han, `同意 ${code}`, { room: approvalsRoom });
    expect(said[0]).toContain('approved');
    await talk.say(li, '/run restart service=db');
    const next = await newestCode(context.db);
    // Nobody vouches for a quotation: it shows what it is about, and the answer has the code to approve by.
    const content = { kind: 'text' as const, text: '批准', quotedText: `… /approve ${next} · /deny`, attachments: 0 };
    expect((await talk.say(zhao, '', { content }))[0]).toContain(`/approve ${next}`);
    expect(system.effects).toHaveLength(1);
    expect(await status()).toEqual(['used', 'pending']);
  });

  it('ends with the first denial, which needs a reason', async () => {
    await talk.say(li, '/run restart service=web');
    const code = await newestCode(context.db);
    expect(await talk.say(han, `/deny ${code}`)).toEqual([expect.stringContaining('reason')]);
    const said = await talk.say(han, `/deny ${code} not today`);
    expect(said[1]).toBe('restart: denied by Han Meimei: not today');
    // What somebody wrote is personal: it is erasable, so it is not in the part of the log that stays.
    expect(await database.rows(`select from audit.entry where detail::text like '%not today%'`)).toHaveLength(0);
    expect(await talk.say(zhao, `/approve ${code}`)).toEqual([expect.stringContaining('closed: denied by Han Meimei')]);
    expect(system.effects).toEqual([]);
  });

  it('is denied for whatever reason, and no word of it is taken for a word of Steward', async () => {
    for (const reason of ['unknown', 'failed', 'run_by']) {
      await talk.say(li, '/run restart service=web');
      const said = await talk.say(han, `/deny ${await newestCode(context.db)} ${reason}`);
      expect(said[1]).toBe(`restart: denied by Han Meimei: ${reason}`);
    }
    const told = await database.rows(
      `select from agent_core.outbox where message::text ~ 'nobody knows|in time|it failed'`,
    );
    expect(told).toEqual([]);
  });

  it('counts a decision only where it was shown, or in a single chat with the same robot', async () => {
    await talk.say(li, '/run restart service=web');
    const code = await newestCode(context.db);
    expect(await talk.say(han, `/approve ${code}`, { room: 'cid-2' })).toEqual([expect.stringContaining('counts in')]);
    const other = { room: 'cid-3', robotCode: 'dingother' };
    expect(await talk.say(han, `/approve ${code}`, other)).toEqual([expect.stringContaining('counts in')]);
    const chat = { room: 'single-han', kind: 'single' as const, requester: { corpId: null } };
    expect((await talk.say(han, `/approve ${code}`, chat))[0]).toContain('approved');
  });

  it('does not count a decision of somebody whom the platform does not vouch for', async () => {
    await talk.say(li, '/run restart service=web');
    const code = await newestCode(context.db);
    for (const requester of [{ staffId: null }, { corpId: 'corp-2' }, { corpId: null }])
      expect(await talk.say(han, `/approve ${code}`, { requester })).toEqual([expect.stringContaining('vouch')]);
    expect(await status()).toEqual(['pending']);
  });

  it('expires: nobody decided, or it did not run in time', async () => {
    await talk.say(li, '/run restart service=web');
    await database.rows(`alter table agent_core.approval_request disable trigger request_is_checked`);
    await database.rows(`update agent_core.approval_request set approve_by = now() - interval '1 s'`);
    await database.rows(`alter table agent_core.approval_request enable trigger request_is_checked`);
    const code = await newestCode(context.db);
    expect(await talk.say(han, `/approve ${code}`)).toEqual([
      expect.stringContaining('over'),
      expect.stringContaining('nobody decided'),
    ]);
    expect(await status()).toEqual(['expired']);
    expect(await expireRequests(context)).toBe(0);
  });

  it('is void when the tool, the preview or the policy changed after it was asked', async () => {
    await talk.say(li, '/run restart service=web');
    system.preview = { version: '2' };
    expect((await talk.say(han, `/approve ${await newestCode(context.db)}`))[1]).toContain('preview_changed');
    await talk.say(li, '/run restart service=web');
    const code = await newestCode(context.db);
    const changed = await openTestGate(database.db, {
      tools: buildTools(system, { restart: { description: 'does something else' } }),
    });
    const elsewhere = createTalk(changed);
    // The sequence of the room goes on where the other replica left it.
    await talk.post(han, `/approve ${code}`);
    const outcomes = await elsewhere.workAll();
    expect(JSON.stringify(outcomes)).toContain('definition_changed');
    expect(system.effects).toEqual([]);
    expect(await status()).toEqual(['void', 'void']);
  });

  it('asks for the same thing once: the second time it is shown', async () => {
    await talk.say(li, '/run restart service=web');
    const code = await newestCode(context.db);
    expect(await talk.say(li, '/run restart service=web')).toEqual([expect.stringContaining(code)]);
    expect(await status()).toEqual(['pending']);
  });

  it('is refused at once when nobody could approve it', async () => {
    const config = buildGateConfig();
    const alone = { ...config, people: config.people.filter(({ staffId }) => staffId === li) };
    const lonely = createTalk(await openTestGate(database.db, { system, config: alone }));
    expect(await lonely.say(li, '/run restart service=web')).toEqual([expect.stringContaining('nobody could approve')]);
  });

  it('is approved by a deputy while the approver is away, and not a day longer', async () => {
    const day = (offset: number) => new Date(Date.now() + offset * 86_400_000).toISOString();
    const deputies = (to: string) => [{ corpId: 'corp-1', absent: han, deputy: li, from: day(-2), to }];
    const gateWith = (to: string) =>
      openTestGate(database.db, { system, config: buildGateConfig({ deputies: deputies(to) }) });
    const [over, today] = [createTalk(await gateWith(day(-1))), createTalk(await gateWith(day(1)))];
    await talk.say(zhao, '/run restart service=web');
    const code = await newestCode(context.db);
    await talk.post(li, `/approve ${code}`);
    expect(JSON.stringify(await over.workAll())).toContain('do not hold a role');
    await talk.post(li, `/approve ${code}`);
    expect(JSON.stringify(await today.workAll())).toContain('approved by Li Lei');
  });

  it('is logged with its arguments redacted when tool calls are logged, and not otherwise', async () => {
    const lines: string[] = [];
    const log = createLogger({ service: 'test', write: (line) => lines.push(line) });
    const loud = createTalk(await openTestGate(database.db, { system, log, logToolCalls: true }));
    registerSecret('hunter2-and-more');
    await loud.say(li, '/run look service=hunter2-and-more');
    const [called] = lines.filter((line) => line.includes('"tool.called"')).map((line) => JSON.parse(line) as object);
    expect(called).toMatchObject({ tool: 'look', effect: 'read', verdict: 'allow', attempt: 1, outcome: 'done' });
    expect(called).toHaveProperty('durationMs');
    expect(called).toHaveProperty('arguments.service');
    expect(JSON.stringify(lines)).not.toContain('hunter2');
    lines.length = 0;
    const quiet = createTalk(await openTestGate(database.db, { system, log }));
    await quiet.say(li, '/run look service=web', { room: 'cid-2' });
    expect(JSON.stringify(lines)).not.toContain('tool.called');
  });

  it('is cancelled by its requester alone', async () => {
    await talk.say(li, '/run restart service=web');
    const code = await newestCode(context.db);
    expect(await talk.say(han, `/cancel ${code}`)).toEqual([expect.stringContaining('somebody else')]);
    expect(await talk.say(li, `/cancel ${code}`)).toEqual([
      expect.stringContaining('cancelled'),
      'restart: cancelled by the requester',
    ]);
  });
});

describe('a destructive call', () => {
  it('needs two people with reasons, and a sealed audit log', async () => {
    await talk.say(li, '/run wipe service=web');
    const code = await newestCode(context.db);
    expect(await talk.say(han, `/approve ${code}`)).toEqual([expect.stringContaining('reason')]);
    expect(await talk.say(han, `/approve ${code} agreed`)).toEqual([expect.stringContaining('1 of 2')]);
    expect(await talk.say(han, `/approve ${code} again`)).toEqual([expect.stringContaining('already')]);
    expect(system.effects).toEqual([]);
    expect((await talk.say(zhao, `/approve ${code} me too`))[1]).toContain('approved by Han Meimei, Zhao Min');
    expect(system.effects).toHaveLength(1);
    const unsealed = createTalk(await openTestGate(database.db, { system, isAudited: () => Promise.resolve(false) }));
    await talk.post(li, '/run wipe service=db');
    expect(JSON.stringify(await unsealed.workAll())).toContain('forbids');
  });

  it('shows what does not fit a card in whole, and counts only who has seen it', async () => {
    await talk.say(li, `/run wipe service="${'x'.repeat(3_000)}"`);
    const code = await newestCode(context.db);
    expect(await talk.say(han, `/approve ${code} fine`)).toEqual([expect.stringContaining('/show')]);
    const [shown = ''] = await talk.say(han, `/show ${code}`);
    expect(shown.replace(/[\s↳]/g, '')).toContain('x'.repeat(3_000));
    expect(await talk.say(han, `/approve ${code} fine`)).toEqual([expect.stringContaining('1 of 2')]);
  });
});

describe('the kill switch', () => {
  it('holds approved calls, lets reads through, and is opened by another person', async () => {
    await talk.say(li, '/run restart service=web');
    const code = await newestCode(context.db);
    expect(await talk.say(li, '/freeze')).toEqual([expect.stringContaining('roles')]);
    expect(await talk.say(zhao, '/freeze looking into it')).toEqual([expect.stringContaining('frozen')]);
    const said = await talk.say(han, `/approve ${code}`);
    expect(said).toEqual([expect.stringContaining('approved'), `waiting: restart: waiting for ${code}`]);
    expect(system.effects).toEqual([]);
    expect((await talk.say(li, '/run look service=web'))[0]).toContain('done');
    expect(await talk.say(zhao, '/unfreeze')).toEqual([expect.stringContaining('another person')]);
    const thawed = await talk.say(han, '/unfreeze');
    expect(thawed).toEqual([expect.stringContaining('held: 1'), expect.stringContaining('restart: done')]);
    expect(system.effects.map(({ tool }) => tool)).toEqual(['look', 'restart']);
  });

  it('is not alone in holding a call: one whose rate is spent leaves its lane to others too', async () => {
    for (const service of ['one', 'two']) {
      await talk.say(li, `/run say service=${service}`);
      await talk.say(han, `/approve ${await newestCode(context.db)}`);
    }
    expect(await database.rows(`select from agent_core.tool_attempt`)).toHaveLength(1);
    for (let n = 0; n < 3; n += 1) expect((await talk.say(li, '/run look service=web'))[0]).toContain('done');
  });
});

describe('break-glass', () => {
  it('lets one person act on one tool here, tells the approvers, and must be signed off by another', async () => {
    expect(await talk.say(han, '/breakglass 10 restart fire')).toEqual([expect.stringContaining('roles')]);
    expect(await talk.say(li, '/breakglass 10 restart the site is down')).toEqual([
      expect.stringContaining('Glass broken'),
    ]);
    expect((await talk.say(li, '/run restart service=web'))[0]).toContain('restart: done');
    expect((await talk.say(li, '/run wipe service=web'))[0]).toContain('waiting');
    expect(await talk.say(li, '/breakglass 10 wipe again')).toEqual([expect.stringContaining('Not before')]);
    expect(await talk.say(li, '/review done')).toEqual([expect.stringContaining('roles')]);
    expect(await talk.say(zhao, '/review')).toEqual([expect.stringContaining('1 calls')]);
    expect(await talk.say(zhao, '/review saw it')).toEqual(['Signed off.']);
    expect((await talk.say(li, '/run restart service=web'))[0]).toContain('waiting');
    const told = await database.rows<{ message: { body: { target: unknown } } }>(
      `select message from agent_core.outbox where message -> 'body' -> 'content' ->> 'text' like '%broke glass%'`,
    );
    expect(told[0]?.message.body.target).toMatchObject({ conversationId: approvalsRoom });
  });

  it('is told to those who may sign it off where there is no approvals room', async () => {
    const lonely = await openTestGate(database.db, { system, config: buildGateConfig({ approvalsRooms: [] }) });
    const { say } = createTalk(lonely);
    expect(await say(li, '/breakglass 10 restart fire')).toEqual([expect.stringContaining('Glass broken')]);
    const told = await database.rows<{ target: object }>(
      `select message -> 'body' -> 'target' as target from agent_core.outbox
       where message -> 'body' -> 'content' ->> 'text' like '%broke glass%'`,
    );
    expect(told).toEqual([{ target: { kind: 'person', robotCode: 'dingtest', staffId: zhao } }]);
  });
});

describe('a crash', () => {
  it('in the middle of a write leaves it unknown, tells the approvers, and never repeats it', async () => {
    await talk.say(li, '/run restart service=web');
    system.script.push(() => new Promise(() => undefined));
    await talk.post(han, `/approve ${await newestCode(context.db)}`);
    await talk.workOne();
    void talk.workOne();
    const { waitUntil } = await import('@steward/testkit');
    await waitUntil(() => system.effects.length === 1, { timeoutMs: 5_000, what: 'the call to begin' });
    await database.rows(`update agent_core.turn set lease_until = now() - interval '1 s' where status = 'running'`);
    const outcomes = await talk.workAll();
    expect(JSON.stringify(outcomes)).toContain('nobody knows whether it happened');
    expect(system.effects).toHaveLength(1);
    expect(await database.rows('select status, code from agent_core.tool_call')).toEqual([
      { status: 'unknown', code: 'PROCESS_DIED' },
    ]);
    expect(await database.rows('select outcome from agent_core.tool_attempt')).toEqual([{ outcome: 'unknown' }]);
  });

  it('repeats a repeatable write under the same key, at most three times', async () => {
    await talk.say(li, '/run scale service=web');
    for (let n = 0; n < 3; n += 1) system.script.push(() => ({ kind: 'unknown', code: 'TIMEOUT' }));
    const said = await talk.say(han, `/approve ${await newestCode(context.db)}`);
    expect(said[1]).toContain('nobody knows');
    expect(system.effects).toHaveLength(3);
    expect(new Set(system.effects.map(({ key }) => key)).size).toBe(1);
  });

  it('never says that nothing was changed when an earlier attempt is unknown', async () => {
    await talk.say(li, '/run scale service=web');
    system.script.push(
      () => ({ kind: 'unknown', code: 'TIMEOUT' }),
      () => ({ kind: 'failed', code: 'HTTP_409', text: 'done already' }),
    );
    const said = await talk.say(han, `/approve ${await newestCode(context.db)}`);
    expect(said[1]).toContain('nobody knows');
    expect(system.effects).toHaveLength(2);
    expect(await database.rows('select status, code from agent_core.tool_call')).toEqual([
      { status: 'unknown', code: 'HTTP_409' },
    ]);
  });
});
