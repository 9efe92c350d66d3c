import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { waitUntil } from '@steward/testkit';
import { forceRows, moveRequests, openAttacked, type AttackDatabase } from '../attacks.test-support.ts';
import { people } from '../gate.test-support.ts';
import { openTestDatabase } from '../testing.ts';
import { createApprovalWatch, expireRequests } from './watch-approvals.ts';

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

/** Lets the watch look until there is nothing left for it to do. */
async function watch(isOver: () => Promise<boolean>, what: string): Promise<void> {
  const loop = createApprovalWatch(gate.context, () => undefined);
  loop.start();
  await waitUntil(isOver, { timeoutMs: 10_000, what });
  await loop.stop();
}
const calls = () =>
  database.rows<{ status: string; code: string | null }>(
    'select status, code from agent_core.tool_call order by created_at',
  );
const turns = async () =>
  (
    await database.rows<{ status: string }>(
      `select status from agent_core.turn where lane = 'answer' order by created_at`,
    )
  ).map(({ status }) => status);
const reminders = async () =>
  (await gate.told()).filter(({ target }) => target['kind'] === 'person').map(({ target }) => target['staffId']);

describe('a request whose time is over', () => {
  it('is denied when nobody decided: call, room and audit log say so, once', async () => {
    await gate.ask();
    await moveRequests(database, `approve_by = now() - interval '1 s'`);
    const counts = await Promise.all([expireRequests(gate.context), expireRequests(gate.context)]);
    expect(counts.toSorted()).toEqual([0, 1]);
    expect(await gate.statuses()).toEqual(['expired']);
    expect(await calls()).toEqual([{ status: 'expired', code: 'approve_by' }]);
    expect((await gate.talk.workAll())[0]).toMatchObject({
      answer: { text: expect.stringContaining('nobody decided') },
    });
    expect(await gate.audited(/^approval\.expired/)).toEqual(['approval.expired expired']);
    const said = (await gate.told()).map(({ content }) => String(content['text']));
    expect(said.filter((text) => text.includes('expired: nobody decided'))).toHaveLength(1);
  });

  it('is denied when what was approved did not run in time, and its grant opens nothing any more', async () => {
    const code = await gate.ask();
    await gate.talk.say(zhao, '/freeze');
    await gate.talk.say(han, `/approve ${code}`);
    await moveRequests(database, `run_by = now() - interval '1 s'`);
    await forceRows(database, `update agent_core.tool_grant set run_by = now() - interval '1 s'`);
    expect(await expireRequests(gate.context)).toBe(1);
    expect(await calls()).toEqual([{ status: 'expired', code: 'run_by' }]);
    await gate.talk.say(han, '/unfreeze');
    expect(gate.system.effects).toEqual([]);
    expect((await gate.audited(/^approval\./)).at(-1)).toBe('approval.expired expired');
  });

  it('is left alone a moment before, and when it has begun', async () => {
    const code = await gate.ask();
    expect(await expireRequests(gate.context)).toBe(0);
    await gate.talk.say(han, `/approve ${code}`);
    await moveRequests(database, `approve_by = now() - interval '1 h', run_by = now() - interval '1 h'`);
    expect(await expireRequests(gate.context)).toBe(0);
    expect(await gate.statuses()).toEqual(['used']);
  });

  it('is cancelled when the turn that waits for it is over', async () => {
    await gate.ask();
    await database.rows(`update agent_core.turn set status = 'failed', ended_at = now() where lane = 'answer'`);
    expect(await expireRequests(gate.context)).toBe(1);
    expect(await gate.statuses()).toEqual(['cancelled']);
    expect(await calls()).toEqual([{ status: 'cancelled', code: 'turn_over' }]);
  });
});

describe('half of the time', () => {
  const pastHalf = () => moveRequests(database, `remind_at = now() - interval '1 s'`);

  it('reminds those who may decide in their single chats, once', async () => {
    await gate.ask();
    await pastHalf();
    await watch(async () => (await reminders()).length > 0, 'a reminder');
    await watch(async () => (await gate.audited(/^approval\.reminded/)).length > 0, 'its entry');
    expect((await reminders()).toSorted()).toEqual([han, zhao]);
    expect(await gate.audited(/^approval\.reminded/)).toEqual(['approval.reminded told']);
    expect(await database.rows('select from agent_core.approval_request where remind_at is not null')).toHaveLength(0);
  });

  it('does not remind the requester, nor anybody by two replicas', async () => {
    await gate.ask('/run restart service=web', zhao);
    await pastHalf();
    const loops = [gate.context, { ...gate.context, db: database.connect() }].map((context) =>
      createApprovalWatch(context, () => undefined),
    );
    for (const loop of loops) loop.start();
    await waitUntil(async () => (await gate.audited(/^approval\.reminded/)).length > 0, {
      timeoutMs: 10_000,
      what: 'a reminder',
    });
    for (const loop of loops) await loop.stop();
    expect(await reminders()).toEqual([han]);
  });

  it('reminds only those of two who have not voted', async () => {
    const config = {
      ...gate.config,
      people: gate.config.people.map((person) => (person.staffId === li ? { ...person, roles: ['approver'] } : person)),
    };
    gate = await openAttacked(database, { config });
    const code = await gate.ask('/run wipe service=web', people.han);
    expect(await gate.talk.say(zhao, `/approve ${code} agreed`)).toEqual([expect.stringContaining('1 of 2')]);
    await pastHalf();
    await watch(async () => (await reminders()).length > 0, 'a reminder');
    expect(await reminders()).toEqual([li]);
  });

  it('reminds nobody of what is decided', async () => {
    const code = await gate.ask();
    await gate.talk.say(han, `/deny ${code} no`);
    expect(await database.rows('select from agent_core.approval_request where remind_at is not null')).toHaveLength(0);
  });
});

describe('what was left behind', () => {
  /** A write that began in a process that is gone, in a turn that was given up. */
  async function abandon(tool: string, openedAgo: string): Promise<void> {
    const code = await gate.ask(`/run ${tool} service=web`);
    gate.system.script.push(() => new Promise(() => undefined));
    await gate.talk.post(han, `/approve ${code}`);
    await gate.talk.workOne();
    void gate.talk.workOne();
    await waitUntil(() => gate.system.effects.length === 1, { timeoutMs: 5_000, what: 'the call to begin' });
    await database.rows(
      `update agent_core.turn set status = 'failed', lease_until = null, ended_at = now() where status = 'running'`,
    );
    await forceRows(database, `update agent_core.tool_attempt set opened_at = now() - interval '${openedAgo}'`);
  }

  it('an attempt whose turn is over becomes unknown, and the approvers hear of it', async () => {
    await abandon('restart', '331 seconds');
    await watch(async () => (await calls())[0]?.status === 'unknown', 'the call to end');
    expect(await calls()).toEqual([{ status: 'unknown', code: 'TURN_OVER' }]);
    expect(await database.rows('select outcome, code from agent_core.tool_attempt')).toEqual([
      { outcome: 'unknown', code: 'TURN_OVER' },
    ]);
    const said = (await gate.told()).map(({ content }) => String(content['text']));
    // In the approvals room and, since no turn is left to answer, in the room where it was asked.
    expect(said.filter((text) => text.includes('nobody knows whether it happened'))).toHaveLength(2);
    expect(gate.system.effects).toHaveLength(1);
  });

  it('an attempt that may still be going on is not touched', async () => {
    await abandon('restart', '329 seconds');
    await gate.ask('/run scale service=web');
    await moveRequests(database, `remind_at = now() - interval '1 s' where status = 'pending'`);
    // What the same round does afterwards shows that it has looked.
    await watch(async () => (await gate.audited(/^approval\.reminded/)).length > 0, 'the round');
    expect((await calls())[0]).toEqual({ status: 'running', code: null });
  });

  it('a turn whose wake-up was lost goes on, and one that waits for people does not', async () => {
    const code = await gate.ask();
    await gate.ask('/run scale service=web');
    await gate.talk.post(han, `/approve ${code}`);
    await gate.talk.workOne();
    await database.rows(`update agent_core.turn set status = 'waiting' where status = 'queued' and lane = 'answer'`);
    expect(await turns()).toEqual(['waiting', 'waiting']);
    await watch(async () => (await turns())[0] === 'queued', 'the turn to be woken');
    expect(await turns()).toEqual(['queued', 'waiting']);
    await gate.talk.workAll();
    expect(gate.system.effects).toHaveLength(1);
    expect(await turns()).toEqual(['done', 'waiting']);
  });
});
