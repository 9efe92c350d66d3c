import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { expireRequests } from './approvals/watch-approvals.ts';
import { buildAttackConfig, moveRequests, openAttacked, type AttackDatabase } from './attacks.test-support.ts';
import { createTalk, people } from './gate.test-support.ts';
import { openTestDatabase } from './testing.ts';

let database: AttackDatabase;
let attacked: Awaited<ReturnType<typeof openAttacked>>;
const { li, han, zhao } = people;
beforeAll(async () => {
  database = await openTestDatabase();
});
beforeEach(async () => {
  attacked = await openAttacked(database);
});
afterAll(() => database.close());

const count = async (text: string) =>
  (await database.rows<{ count: number }>(`select count(*)::int as count ${text}`))[0]?.count;
const pending = (where = 'true') => count(`from agent_core.approval_request where status = 'pending' and ${where}`);

/** As if the caps had been far higher yesterday: open requests of many people in many rooms, with their waiting turns. */
async function seed(total: number): Promise<void> {
  await database.rows(`
    with n as (
      select i, gen_random_uuid() as turn_id, gen_random_uuid() as call_id, gen_random_uuid() as request_id,
        'cid-flood-' || (i % 500) as room, 'flooder-' || (i % 1000) as who
      from generate_series(1, ${total}) as i
    ), rooms as (
      insert into agent_core.conversation (robot_code, conversation_id, kind)
      select distinct 'dingtest', room, 'group' from n
    ), turns as (
      insert into agent_core.turn (id, inbound_event_id, robot_code, conversation_id, sequence, lane, status, correlation_id, inbound)
      select turn_id, gen_random_uuid(), 'dingtest', room, i, 'answer', 'waiting', gen_random_uuid(), '{}' from n
    ), calls as (
      insert into agent_core.tool_call (id, turn_id, step, position, proposed_by, tool, effect, arguments, environment,
        robot_code, conversation_id, correlation_id, requester_staff_id, requester_corp_id, verdict, verdict_reason, status)
      select call_id, turn_id, 0, 0, 'person', 'restart', 'write', '{}', 'test', 'dingtest', room, gen_random_uuid(), who,
        'corp-1', 'ask', 'needs_approval', 'waiting' from n
    ), requests as (
      insert into agent_core.approval_request (id, tool_call_id, code, digest, identity, environment, robot_code,
        conversation_id, correlation_id, requester_staff_id, requester_corp_id, approver_groups, quorum, deny_quorum,
        reason_required, self_approval, policy_hash, policy_ids, card, too_large, approve_by, run_within_seconds)
      select request_id, call_id, 'seed' || i, sha256(i::text::bytea), sha256(('i' || i)::bytea), 'test', 'dingtest', room,
        gen_random_uuid(), who, 'corp-1', '[["approver"]]', 1, 1, false, false, 'hash', '[]',
        jsonb_build_object('tool', 'restart', 'description', '', 'effect', 'write', 'environment', 'test', 'room', room,
          'requesterName', who, 'requesterStaffId', who, 'arguments', '{}'::jsonb, 'preview', null),
        false, now() + interval '1 hour', 600 from n
    )
    insert into agent_core.approval_place (request_id, robot_code, conversation_id, kind)
    select request_id, 'dingtest', room, 'room' from n
    union all select request_id, 'dingtest', 'cid-approvals', 'approvals_room' from n`);
}

describe('somebody who asks for more than people can decide', () => {
  it('has no more open than the cap, whoever else asks; nothing but refusals comes of the rest', async () => {
    for (let n = 0; n < 60; n += 1) await attacked.talk.post(li, `/run restart service=web-${n}`);
    await workEverything();
    expect(await pending()).toBe(5);
    expect(await count(`from agent_core.tool_call where code = 'too_many_of_requester'`)).toBe(55);
    // One line in the room and one in the approvals room for each that waits: the flood does not reach the approvers.
    const shown = (await attacked.told()).filter(({ content }) => String(content['text']).startsWith('### Approval'));
    expect(shown).toHaveLength(10);
    expect((await attacked.talk.say(zhao, '/run restart service=web-0'))[0]).toMatch(/^waiting/);
  });

  it('shares a room’s cap with everybody in it, and other rooms are not affected', async () => {
    const governance = { maxPendingPerRoom: 3 };
    attacked = await openAttacked(database, { config: buildAttackConfig({ governance }) });
    for (let n = 0; n < 10; n += 1) await attacked.talk.post(`guest-${n}`, `/run restart service=web-${n}`);
    await workEverything();
    expect(await pending()).toBe(3);
    expect(await count(`from agent_core.tool_call where code = 'too_many_of_room'`)).toBe(7);
    expect((await attacked.talk.say(li, '/run restart service=web', { room: 'cid-2' }))[0]).toMatch(/^waiting/);
  });

  it('is counted over all rooms, and by all replicas at once', async () => {
    const replicas = [attacked.context, { ...attacked.context, db: database.connect() }];
    const rooms = ['cid-1', 'cid-2', 'cid-approvals'];
    for (let n = 0; n < 24; n += 1)
      await attacked.talk.post(li, `/run restart service=web-${n}`, { room: rooms[n % rooms.length] ?? 'cid-1' });
    await Promise.all(replicas.map((context) => workEverything(createTalk(context))));
    expect(await pending()).toBe(5);
    expect(attacked.system.effects).toEqual([]);
  });

  it('asks for the very same a hundred times and is shown the one that waits', async () => {
    const code = await attacked.ask();
    for (let n = 0; n < 100; n += 1) await attacked.talk.post(li, '/run restart service=web');
    const texts = await workEverything();
    expect(new Set(texts)).toEqual(new Set([`restart: refused, the same is asked already: ${code} (/show ${code})`]));
    expect(await pending()).toBe(1);
  }, 60_000);
});

describe('ten thousand open requests', () => {
  beforeEach(() => seed(10_000), 60_000);

  it('stop nobody else from asking, deciding and running', async () => {
    const code = await attacked.ask();
    expect((await attacked.talk.say(han, `/approve ${code}`))[1]).toContain('restart: done');
    expect(attacked.system.effects).toHaveLength(1);
    expect(await pending()).toBe(10_000);
  });

  it('let no more be opened where the cap is reached already', async () => {
    expect(await attacked.talk.say('flooder-7', '/run restart service=web')).toEqual([
      expect.stringContaining('too many of your requests'),
    ]);
    expect(await pending()).toBe(10_000);
  });

  it('are listed in a bounded answer', async () => {
    const [listed = ''] = await attacked.talk.say(han, '/pending', { room: 'cid-approvals' });
    expect(listed.split('\n')).toHaveLength(50);
  });

  it('expire in bounded rounds, none is forgotten, and each wakes its turn', async () => {
    await moveRequests(database, `approve_by = now() - interval '1 s' where code <= 'seed1200'`);
    const due = (await pending(`approve_by < now()`)) ?? 0;
    expect(due).toBeGreaterThan(200);
    const rounds: number[] = [];
    for (let ended = -1; ended !== 0;) {
      ended = await expireRequests(attacked.context);
      rounds.push(ended);
    }
    expect(Math.max(...rounds)).toBeLessThanOrEqual(150);
    expect(rounds.reduce((sum, ended) => sum + ended, 0)).toBe(due);
    expect(await pending()).toBe(10_000 - due);
    expect(await count(`from agent_core.turn where status = 'queued'`)).toBe(due);
  });

  it('are found by their indexes: no statement of an approval reads them all', async () => {
    await database.rows('analyze agent_core.approval_request; analyze agent_core.approval_place');
    const plan = async (text: string) => JSON.stringify(await database.rows(`explain (costs off) ${text}`));
    for (const text of [
      `select * from agent_core.approval_request where status = 'pending' and approve_by <= now() limit 50`,
      `select * from agent_core.approval_request where code = 'seed77' order by created_at desc limit 1`,
      `select * from agent_core.approval_request where id = '0197b7f2-0000-7000-8000-000000000000'`,
    ])
      expect(await plan(text)).not.toContain('Seq Scan on approval_request');
  });
});

/** Works until nothing is due, however much that is; what came of it, in words. */
async function workEverything(talk = attacked.talk): Promise<string[]> {
  const texts: string[] = [];
  for (;;) {
    const worked = await talk.workOne();
    if (worked === null) return texts;
    const { outcome } = worked;
    texts.push(outcome.status === 'waiting' ? outcome.line : (outcome.answer?.text ?? ''));
  }
}
