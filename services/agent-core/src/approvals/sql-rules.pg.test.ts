import { randomBytes } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { sql } from 'kysely';
import { openTestDatabase } from '../testing.ts';
import { createRows, han, in60, li, outcomeOf, past, zhao } from './sql-rules.test-support.ts';

let database: Awaited<ReturnType<typeof openTestDatabase>>;
let rows: ReturnType<typeof createRows>;
beforeAll(async () => {
  database = await openTestDatabase();
  rows = createRows(database.db);
  // By its rights the service cannot even try most of this. The rules stand behind them, and hold without.
  await database.rows(
    `grant update on agent_core.approval_request, agent_core.tool_call, agent_core.tool_grant, agent_core.tool_attempt,
       agent_core.break_glass, agent_core.freeze to steward_agent_core`,
  );
});
afterEach(async () => {
  await database.clear();
  await database.rows(`update agent_core.freeze set frozen = false, changed_by = 'the test' where frozen`);
});
afterAll(() => database.close());

/** Lines by what is tried: the sentence, the rule that refuses (or `accepted`), and the statement. */
type Line = [string, string, () => Promise<unknown>];
const state = (text: string) => sql.raw(text).execute(database.db);

const judge = (lines: readonly Line[]) =>
  it.each(lines)('%s: %s', async (_sentence, rule, statement) => {
    expect(await outcomeOf(statement())).toBe(rule);
  });

type Over = Record<string, unknown>;
const votes = (over: Over, voteOver: Over) => async () => rows.vote((await rows.request(over)).id, voteOver);

describe('a vote, by straight SQL of the service', () => {
  judge([
    ['of another person who holds the role', 'accepted', votes({}, {})],
    ['of the requester', 'vote_of_requester', votes({}, { ...li })],
    ['of the requester, where the policy makes an exception', 'accepted', votes({ self_approval: true }, { ...li })],
    ['of the requester against it', 'accepted', votes({}, { ...li, decision: 'deny' })],
    ['of somebody of another organisation', 'vote_of_another_corp', votes({}, { corp_id: 'corp-2' })],
    [
      'of the requester’s twin in another organisation',
      'vote_of_another_corp',
      votes({}, { ...li, corp_id: 'corp-2' }),
    ],
    ['without a role', 'vote_without_role', votes({}, { roles: '[]' })],
    ['with a role that is not asked for', 'vote_without_role', votes({}, { roles: '["ops"]' })],
    ['against it without a role', 'vote_without_role', votes({}, { roles: '["ops"]', decision: 'deny' })],
    ['after the time to decide', 'vote_after_expiry', votes({ approve_by: past() }, {})],
    ['that sets its own clock back', 'vote_after_expiry', votes({ approve_by: past() }, { voted_at: new Date(0) })],
    ['without the reason that is asked for', 'vote_without_reason', votes({ reason_required: true }, { reason: '  ' })],
    ['with the reason that is asked for', 'accepted', votes({ reason_required: true }, { reason: 'agreed' })],
    ['of somebody who was not shown all of it', 'vote_unseen', votes({ too_large: true }, {})],
    ['neither for nor against', 'approval_vote_decision_check', votes({}, { decision: 'perhaps' })],
    ['by an unknown door', 'approval_vote_door_check', votes({}, { door: 'window' })],
  ]);

  it('counts where the request was shown, in a single chat with its robot, and by a signature', async () => {
    const { id } = await rows.request({ quorum: 4 });
    const shown = { robot_code: 'dingtest', conversation_id: 'cid-shown' };
    await rows.insert('approval_place', { request_id: id, ...shown, kind: 'room' });
    const none = { robot_code: null, conversation_id: null, conversation_kind: null };
    const elsewhere = { ...shown, conversation_id: 'cid-elsewhere', conversation_kind: 'group' };
    const otherRobot = { robot_code: 'dingother', conversation_kind: 'single' };
    for (const place of [
      none,
      elsewhere,
      otherRobot,
      { ...shown, robot_code: 'dingother', conversation_kind: 'group' },
    ])
      expect(await outcomeOf(rows.vote(id, place))).toBe('vote_in_wrong_place');
    expect(await outcomeOf(rows.vote(id, { ...shown, conversation_kind: 'group' }))).toBe('accepted');
    expect(await outcomeOf(rows.vote(id, { ...zhao, ...none, door: 'cli' }))).toBe('accepted');
  });

  it('counts once for each person, whichever way', async () => {
    const { id } = await rows.request({ quorum: 2 });
    await rows.vote(id);
    expect(await outcomeOf(rows.vote(id))).toBe('approval_vote_pkey');
    expect(await outcomeOf(rows.vote(id, { decision: 'deny' }))).toBe('approval_vote_pkey');
  });

  it('counts of somebody who was shown all of it', async () => {
    const { id } = await rows.request({ too_large: true });
    await rows.insert('approval_shown', { request_id: id, ...zhao });
    expect(await outcomeOf(rows.vote(id))).toBe('vote_unseen');
    expect(await outcomeOf(rows.vote(id, zhao))).toBe('accepted');
  });

  it('is refused on a request that is closed, and is never changed or taken back', async () => {
    const { id } = await rows.approved();
    expect(await outcomeOf(rows.vote(id, { ...zhao, decision: 'deny' }))).toBe('vote_on_closed_request');
    const denied = state(`update agent_core.approval_vote set decision = 'deny'`);
    expect(await outcomeOf(denied)).toBe('42501');
    expect(await outcomeOf(state(`delete from agent_core.approval_vote`))).toBe('42501');
  });
});

describe('a request, by straight SQL of the service', () => {
  const change = (over: Over) => async () => {
    const { id } = await rows.request();
    await rows.update('approval_request', id, over);
  };
  const decided = { decided_at: new Date(), ended_at: new Date() };
  judge([
    ['is pending when it is born', 'accepted', () => rows.request()],
    [
      'is not born approved',
      'request_born_decided',
      () => rows.request({ status: 'approved', decided_at: new Date(), run_by: in60() }),
    ],
    ['is not born used', 'request_born_decided', () => rows.request({ status: 'used', ...decided })],
    ['asks for somebody', 'approval_request_quorum_check', () => rows.request({ quorum: 0 })],
    ['has a whole digest', 'approval_request_digest_check', () => rows.request({ digest: randomBytes(31) })],
    ['keeps its digest', 'request_is_fixed', change({ digest: randomBytes(32) })],
    ['keeps what it shows', 'request_is_fixed', change({ card: '{"arguments":{"service":"db"}}' })],
    ['keeps its quorum', 'request_is_fixed', change({ quorum: 2 })],
    ['keeps its approvers', 'request_is_fixed', change({ approver_groups: '[["ops"]]' })],
    ['keeps its requester', 'request_is_fixed', change({ requester_staff_id: 'staff-9' })],
    ['makes no exception later', 'request_is_fixed', change({ self_approval: true })],
    ['keeps its time to decide', 'request_is_fixed', change({ approve_by: new Date(Date.now() + 3_600_000) })],
    ['sets no time to run by itself', 'request_is_fixed', change({ run_by: in60() })],
    ['is not used unapproved', 'request_moves_forward', change({ status: 'used', ...decided })],
    ['is not denied without a denial', 'denial_without_vote', change({ status: 'denied', ...decided })],
    ['expires', 'accepted', change({ status: 'expired', ...decided })],
    ['is not approved without a vote', 'approval_without_quorum', async () => rows.approve((await rows.request()).id)],
  ]);

  it('is not approved by too few, by one person of two groups, or by somebody who has left', async () => {
    const two = await rows.request({ quorum: 2 });
    await rows.vote(two.id);
    expect(await outcomeOf(rows.approve(two.id))).toBe('approval_without_quorum');
    const groups = await rows.request({ approver_groups: '[["approver"],["sre-lead"]]' });
    await rows.vote(groups.id);
    expect(await outcomeOf(rows.approve(groups.id))).toBe('approval_without_quorum');
    await rows.insert('directory_person', { ...zhao, robot_code: 'dingtest', state: 'left' });
    const left = await rows.request();
    await rows.vote(left.id, zhao);
    expect(await outcomeOf(rows.approve(left.id))).toBe('approval_without_quorum');
    await rows.vote(left.id, han);
    expect(await outcomeOf(rows.approve(left.id))).toBe('accepted');
  });

  it('is not approved after its time, nor for longer than it asked', async () => {
    const soon = await rows.request({ approve_by: new Date(Date.now() + 300) });
    await rows.vote(soon.id);
    await database.rows(`select pg_sleep(0.4)`);
    expect(await outcomeOf(rows.approve(soon.id))).toBe('approval_after_expiry');
    const long = await rows.request({ run_within_seconds: 30 });
    await rows.vote(long.id);
    expect(await outcomeOf(rows.approve(long.id))).toBe('approval_runs_too_late');
    expect(await outcomeOf(rows.approve(long.id, { run_by: null }))).toMatch(/^approval_request_check/);
  });

  it('never moves back, and never from approved to denied', async () => {
    const { id } = await rows.approved();
    const back = { status: 'pending', decided_at: null };
    expect(await outcomeOf(rows.update('approval_request', id, back))).toBe('request_moves_forward');
    const deny = { status: 'denied', ended_at: new Date() };
    expect(await outcomeOf(rows.update('approval_request', id, deny))).toBe('request_moves_forward');
    expect(await outcomeOf(rows.update('approval_request', id, { run_by: past() }))).toBe('request_is_fixed');
    await rows.update('approval_request', id, { status: 'cancelled', ended_at: new Date() });
    const again = { status: 'approved', ended_at: null };
    expect(await outcomeOf(rows.update('approval_request', id, again))).toBe('request_moves_forward');
  });

  it('is one for each call, each open code and each open identity', async () => {
    const first = await rows.request();
    const { identity, code, tool_call_id } = first;
    expect(await outcomeOf(rows.request({ identity }))).toBe('approval_request_identity');
    expect(await outcomeOf(rows.request({ code }))).toBe('approval_request_code');
    expect(await outcomeOf(rows.request({ tool_call_id }))).toBe('approval_request_tool_call_id_key');
    await rows.update('approval_request', first.id, { status: 'expired', ...decided });
    expect(await outcomeOf(rows.request({ identity }))).toBe('accepted');
  });
});

describe('a grant, by straight SQL of the service', () => {
  judge([
    ['follows an approval', 'accepted', async () => rows.grant(await rows.approved())],
    [
      'does not follow a request that waits',
      'grant_without_approval',
      async () => rows.grant(await rows.request(), { run_by: in60() }),
    ],
    [
      'has the digest of its request',
      'grant_without_approval',
      async () => rows.grant(await rows.approved(), { digest: randomBytes(32) }),
    ],
    [
      'runs no longer than its request',
      'grant_without_approval',
      async () => rows.grant(await rows.approved(), { run_by: new Date(Date.now() + 3_600_000) }),
    ],
    [
      'is for the call that was approved',
      'grant_without_approval',
      async () => rows.grant(await rows.approved(), { tool_call_id: (await rows.call()).id }),
    ],
    [
      'is for a call that was asked about',
      'grant_for_unasked_call',
      async () => rows.grant(await rows.approved({}, { verdict: 'deny', status: 'refused', ended_at: new Date() })),
    ],
    [
      'allows at most three attempts',
      'tool_grant_max_attempts_check',
      async () => rows.grant(await rows.approved(), { max_attempts: 4 }),
    ],
    [
      'follows something',
      'tool_grant_check',
      async () => rows.grant(await rows.approved(), { approval_request_id: null }),
    ],
  ]);

  it('is one for each call, never changed, and consumed once', async () => {
    const row = await rows.approved();
    const given = await rows.grant(row);
    expect(await outcomeOf(rows.grant(row))).toMatch(/^tool_grant_(tool_call|approval_request)_id_key$/);
    for (const over of [{ run_by: past() }, { digest: randomBytes(32) }, { max_attempts: 3 }])
      expect(await outcomeOf(rows.update('tool_grant', given.id, over))).toBe('grant_is_fixed');
    await rows.update('tool_grant', given.id, { consumed_at: new Date() });
    for (const over of [{ consumed_at: new Date() }, { consumed_at: null }])
      expect(await outcomeOf(rows.update('tool_grant', given.id, over))).toBe('grant_is_fixed');
    expect(await outcomeOf(state(`delete from agent_core.tool_grant`))).toBe('42501');
  });

  it('under broken glass is for this tool, this person, this place, and while it is open', async () => {
    const call = await rows.call();
    const place = { conversation_id: call['conversation_id'] };
    const take = async (over: Over, grantOver: Over = {}) => {
      const { id, until_at } = await rows.glass({ ...place, ...over });
      const run_by = until_at;
      const taken = { id: null, tool_call_id: call.id, digest: randomBytes(32), run_by };
      const given = { approval_request_id: null, break_glass_id: id, ...grantOver };
      const outcome = await outcomeOf(rows.grant(taken, given));
      await rows.update('break_glass', id, {
        reviewed_at: new Date(),
        reviewed_by_staff_id: 'x',
        reviewed_by_corp_id: 'y',
      });
      return outcome;
    };
    const none = 'grant_without_break_glass';
    expect(await take({ tool: 'wipe' })).toBe(none);
    expect(await take({ ...han })).toBe(none);
    expect(await take({ conversation_id: 'cid-elsewhere' })).toBe(none);
    expect(await take({ environment: 'production' })).toBe(none);
    expect(await take({ opened_at: new Date(Date.now() - 120_000), until_at: past() })).toBe(none);
    expect(await take({}, { run_by: new Date(Date.now() + 3_600_000) })).toBe(none);
    expect(await take({})).toBe('accepted');
    expect(await outcomeOf(rows.insert('tool_grant', { id: call.id }))).not.toBe('accepted');
  });
});

describe('an attempt, by straight SQL of the service', () => {
  const attempts =
    (o: Parameters<typeof rows.ready>[0], over: Over = {}) =>
    async () => {
      const { callId, grantId } = await rows.ready(o);
      await rows.attempt(callId, grantId, over);
    };
  const allowed = { verdict: 'allow', status: 'ready' };
  judge([
    ['has a grant that was just consumed', 'accepted', attempts({})],
    ['without any grant', 'attempt_without_grant', async () => rows.attempt((await rows.ready()).callId, null)],
    [
      'with the grant of another call',
      'attempt_without_grant',
      async () => rows.attempt((await rows.ready()).callId, (await rows.ready()).grantId),
    ],
    ['with a grant that is not consumed', 'attempt_without_consuming', attempts({ consumed: false })],
    ['after its time to run', 'attempt_after_run_by', attempts({ runBy: past() })],
    [
      'after its time to run, its own clock set back',
      'attempt_after_run_by',
      attempts({ runBy: past() }, { opened_at: new Date(0) }),
    ],
    ['of more than the grant allows', 'attempt_of_used_grant', attempts({}, { number: 2 })],
    [
      'of a denied call',
      'attempt_of_denied_call',
      async () => {
        const { id } = await rows.call({ verdict: 'deny', status: 'refused', ended_at: new Date() });
        await rows.attempt(id, null);
      },
    ],
    ['of an allowed call needs no grant', 'accepted', async () => rows.attempt((await rows.call(allowed)).id, null)],
  ]);

  it('of a used grant is refused, and of a repeatable call after the third', async () => {
    const once = await rows.ready();
    await rows.attempt(once.callId, once.grantId);
    expect(await outcomeOf(rows.attempt(once.callId, once.grantId))).toBe('tool_attempt_tool_call_id_number_key');
    expect(await outcomeOf(rows.attempt(once.callId, once.grantId, { number: 2 }))).toBe('attempt_of_used_grant');
    const thrice = await rows.ready({ grantOver: { max_attempts: 3 } });
    for (const number of [1, 2, 3]) await rows.attempt(thrice.callId, thrice.grantId, { number });
    expect(await outcomeOf(rows.attempt(thrice.callId, thrice.grantId, { number: 4 }))).toBe('attempt_too_many');
  });

  it('is closed once, keeps what it was of, and is never deleted', async () => {
    const { callId, grantId } = await rows.ready();
    await rows.attempt(callId, grantId, { id: callId });
    for (const over of [{ number: 2 }, { grant_id: null }, { opened_at: new Date() }])
      expect(await outcomeOf(rows.update('tool_attempt', callId, over))).toBe('attempt_is_fixed');
    await rows.update('tool_attempt', callId, { outcome: 'unknown', closed_at: new Date() });
    const better = { outcome: 'done', closed_at: new Date() };
    expect(await outcomeOf(rows.update('tool_attempt', callId, better))).toBe('attempt_is_closed');
    expect(await outcomeOf(state(`delete from agent_core.tool_attempt`))).toBe('42501');
  });

  it('of a call that has ended, of a request that has closed, or under glass that was signed off is refused', async () => {
    const over = await rows.ready();
    await rows.update('tool_call', over.callId, { status: 'cancelled', ended_at: new Date() });
    expect(await outcomeOf(rows.attempt(over.callId, over.grantId))).toBe('attempt_of_ended_call');
    const closed = await rows.ready();
    await rows.update('approval_request', closed.requestId, { status: 'cancelled', ended_at: new Date() });
    expect(await outcomeOf(rows.attempt(closed.callId, closed.grantId))).toBe('attempt_of_closed_request');
    const call = await rows.call();
    const glass = await rows.glass({ conversation_id: call['conversation_id'] });
    const given = { id: null, tool_call_id: call.id, digest: randomBytes(32), run_by: glass.until_at };
    const grant = await rows.grant(given, { approval_request_id: null, break_glass_id: glass.id });
    await rows.update('tool_grant', grant.id, { consumed_at: new Date() });
    const review = { reviewed_at: new Date(), reviewed_by_corp_id: han.corp_id, reviewed_by_staff_id: han.staff_id };
    await rows.update('break_glass', glass.id, review);
    expect(await outcomeOf(rows.attempt(call.id, grant.id))).toBe('attempt_of_reviewed_glass');
  });

  it('of a read is refused after the third', async () => {
    const { id } = await rows.call({ ...allowed, effect: 'read' });
    for (const number of [1, 2, 3]) await rows.attempt(id, null, { number });
    expect(await outcomeOf(rows.attempt(id, null, { number: 4 }))).toBe('attempt_too_many');
  });

  it('of anything but a read is refused while frozen, even with a grant', async () => {
    const held = await rows.ready();
    const write = await rows.call(allowed);
    const undeclared = await rows.call({ ...allowed, effect: null });
    const read = await rows.call({ ...allowed, effect: 'read' });
    await state(
      `update agent_core.freeze set frozen = true, changed_by = 'person corp-1 staff-3' where environment = 'test'`,
    );
    expect(await outcomeOf(rows.attempt(held.callId, held.grantId))).toBe('attempt_while_frozen');
    for (const { id } of [write, undeclared])
      expect(await outcomeOf(rows.attempt(id, null))).toBe('attempt_while_frozen');
    expect(await outcomeOf(rows.attempt(read.id, null))).toBe('accepted');
  });
});

describe('a call, by straight SQL of the service', () => {
  const change = (over: Over) => async () => rows.update('tool_call', (await rows.call()).id, { ...over });
  judge([
    ['keeps its arguments', 'call_is_fixed', change({ arguments: '{"service":"db"}' })],
    ['keeps its tool', 'call_is_fixed', change({ tool: 'wipe' })],
    ['keeps its definition', 'call_is_fixed', change({ definition_hash: 'e' })],
    ['keeps its effect', 'call_is_fixed', change({ effect: 'read' })],
    ['keeps its verdict', 'call_is_fixed', change({ verdict: 'allow' })],
    ['keeps its requester', 'call_is_fixed', change({ requester_staff_id: 'staff-9' })],
    ['runs', 'accepted', change({ status: 'running' })],
    ['is denied only with a verdict that denies', 'tool_call_check', () => rows.call({ verdict: 'deny' })],
  ]);

  it('ends once, and is one for each place of a turn', async () => {
    const { id, turn_id } = await rows.call();
    await rows.update('tool_call', id, { status: 'denied', ended_at: new Date() });
    expect(await outcomeOf(rows.update('tool_call', id, { status: 'done' }))).toBe('call_has_ended');
    const ready = { status: 'ready', ended_at: null };
    expect(await outcomeOf(rows.update('tool_call', id, ready))).toBe('call_has_ended');
    expect(await outcomeOf(rows.call({ turn_id }))).toBe('tool_call_turn_id_step_position_key');
  });
});

describe('the switch and the glass, by straight SQL of the service', () => {
  const freeze = (frozen: boolean, by: string | null) => () =>
    state(
      `update agent_core.freeze set frozen = ${frozen}, changed_by = ${by === null ? 'null' : `'${by}'`} where environment = 'test'`,
    );

  it('opens again only by another person than the one who froze', async () => {
    expect(await outcomeOf(freeze(true, null)())).toBe('freeze_check');
    await freeze(true, 'a')();
    expect(await outcomeOf(freeze(false, 'a')())).toBe('freeze_needs_another_person');
    expect(await outcomeOf(state(`update agent_core.freeze set frozen = false`))).toBe('freeze_needs_another_person');
    expect(await outcomeOf(freeze(true, 'b')())).toBe('freeze_needs_another_person');
    expect(await outcomeOf(freeze(false, 'b')())).toBe('accepted');
    expect(await outcomeOf(state(`delete from agent_core.freeze`))).toBe('42501');
  });

  it('is signed off by another person, and until then nobody of the environment breaks it again', async () => {
    const { id } = await rows.glass();
    expect(await outcomeOf(rows.glass({ ...han }))).toBe('break_glass_unreviewed');
    expect(await outcomeOf(rows.glass({ environment: 'production' }))).toBe('accepted');
    const review = (who: { corp_id: string; staff_id: string }) =>
      rows.update('break_glass', id, {
        reviewed_at: new Date(),
        reviewed_by_corp_id: who.corp_id,
        reviewed_by_staff_id: who.staff_id,
      });
    expect(await outcomeOf(review(li))).toMatch(/^break_glass_check/);
    expect(await outcomeOf(rows.update('break_glass', id, { reviewed_at: new Date() }))).toMatch(/^break_glass_check/);
    for (const over of [{ tool: 'wipe' }, { until_at: new Date(Date.now() + 120_000) }, { ...han }])
      expect(await outcomeOf(rows.update('break_glass', id, over))).toBe('glass_is_fixed');
    expect(await outcomeOf(review(han))).toBe('accepted');
    expect(await outcomeOf(review(zhao))).toBe('glass_is_fixed');
    expect(await outcomeOf(rows.glass())).toBe('accepted');
    const hours = { environment: 'production', until_at: new Date(Date.now() + 2 * 3_600_000) };
    expect(await outcomeOf(rows.glass(hours))).toMatch(/^break_glass_(check|unreviewed)/);
  });

  it.each([
    'tool_call',
    'approval_request',
    'approval_place',
    'approval_shown',
    'break_glass',
    'card_click',
    'active_policy',
  ])('nothing of %s is deleted', async (table) => {
    expect(await outcomeOf(state(`delete from agent_core.${table}`))).toBe('42501');
    expect(await outcomeOf(state(`truncate agent_core.${table}`))).toBe('42501');
  });
});
