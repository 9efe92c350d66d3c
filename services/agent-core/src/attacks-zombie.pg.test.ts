import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, jest } from '@jest/globals';
import type { AppError } from '@steward/service-kit';
import type { AskModel } from './ask-model.ts';
import { openAttacked, buildAttackConfig, type AttackDatabase } from './attacks.test-support.ts';
import { claimTurn, fenceOf, leaseSeconds, type ClaimedTurn } from './claim-turn.ts';
import { endTurn } from './end-turn.ts';
import { people } from './gate.test-support.ts';
import { runTurn, type TurnContext, type TurnOutcome } from './run-turn.ts';
import { everyLane, openTestDatabase } from './testing.ts';
import { putAside } from './wake-turn.ts';

let database: AttackDatabase;
let attacked: Awaited<ReturnType<typeof openAttacked>>;
const { li, han, zhao } = people;
beforeAll(async () => {
  database = await openTestDatabase();
});
beforeEach(async () => {
  const config = buildAttackConfig({
    governance: {
      freezeRoles: ['approver', 'sre-lead'],
      breakGlassRoles: ['approver'],
      reviewRoles: ['sre-lead'],
    },
  });
  attacked = await openAttacked(database, { config });
});
afterEach(() => {
  jest.restoreAllMocks();
});
afterAll(() => database.close());

const claim = async (): Promise<ClaimedTurn> => {
  const turn = await claimTurn(database.db, everyLane);
  if (turn === null) throw new Error('nothing was claimed');
  return turn;
};
const expireLeases = () =>
  database.rows(`update agent_core.turn set lease_until = now() - interval '1 s' where status = 'running'`);

/** Every row of agent-core, and how long the audit log is. */
const everything = async () => {
  const tables = await database.rows<{ name: string }>(
    `select table_name as name from information_schema.tables where table_schema = 'agent_core' order by 1`,
  );
  const rows = await Promise.all(
    tables.map(async ({ name }) => [name, await database.rows(`select * from agent_core.${name} t order by t::text`)]),
  );
  return [...rows, await database.rows('select count(*) from audit.entry')];
};

/** A process that was paused right after it had claimed the turn, and wakes up when another one has it. */
async function wakeZombie(over: Partial<TurnContext> = {}): Promise<TurnOutcome | { code: string }> {
  const old = await claim();
  await expireLeases();
  expect(await claim()).toMatchObject({ id: old.id, attempt: old.attempt + 1 });
  const before = await everything();
  const context = { ...attacked.context, ...over, fence: fenceOf(old) };
  const outcome = await runTurn(context, old, new AbortController().signal).catch(
    (error: unknown) => error as AppError,
  );
  if ('status' in outcome) {
    // What it made of the turn is nobody's: neither an answer nor a line of its own.
    if (outcome.status === 'waiting')
      expect(await database.db.transaction().execute((trx) => putAside(trx, old, outcome))).toBe(false);
    else expect(await endTurn(context, old, outcome)).toBe(false);
  }
  expect(await everything()).toEqual(before);
  expect(attacked.system.effects).toEqual([]);
  return outcome;
}

describe('a process that was paused while another took its turn over', () => {
  it.each([
    ['a read', li, '/run look service=web'],
    ['a write that asks for approval', li, '/run restart service=web'],
    ['freeze', han, '/freeze because'],
    ['a refused freeze', li, '/freeze because'],
    ['unfreeze', han, '/unfreeze because'],
    ['break-glass', han, '/breakglass 5 restart because'],
    ['a refused break-glass', li, '/breakglass 5 restart because'],
    ['a code that nobody knows', zhao, '/approve 2222'],
    ['help', li, '/help'],
  ])('writes nothing: %s', async (_name, who, text) => {
    if (text.startsWith('/unfreeze')) {
      await attacked.talk.say(zhao, '/freeze because');
    }
    await attacked.talk.post(who, text);
    await wakeZombie();
  });

  it.each([
    ['approve', han, (code: string) => `/approve ${code}`],
    ['deny', han, (code: string) => `/deny ${code} because`],
    ['show', han, (code: string) => `/show ${code}`],
    ['cancel', li, (code: string) => `/cancel ${code}`],
    ['stop', li, () => '/stop'],
  ])('decides nothing: %s', async (_name, who, toText) => {
    const code = await attacked.ask();
    await attacked.talk.post(who, toText(code), { room: who === li ? 'cid-1' : 'cid-approvals' });
    const result = await wakeZombie();
    expect(result).toMatchObject({ code: 'TURN_LOST' });
    expect(await attacked.statuses()).toEqual(['pending']);
  });

  it('commits no step of the model, and calls nothing that the model proposed', async () => {
    const askModel: AskModel = () =>
      Promise.resolve({
        text: '',
        calls: [{ id: 'c1', tool: 'look', arguments: { service: 'web' }, rawArguments: '{"service":"web"}' }],
        model: 'm',
        promptHash: 'h',
      });
    await attacked.talk.post(li, 'please look');
    expect(await wakeZombie({ askModel })).toMatchObject({ code: 'TURN_LOST' });
  });

  it('runs no call that was approved meanwhile, and uses up no grant', async () => {
    const code = await attacked.ask();
    await attacked.talk.post(han, `/approve ${code}`, { room: 'cid-approvals' });
    await attacked.talk.workOne(); // the decision; the turn that asked is due again
    expect(await attacked.statuses()).toEqual(['approved']);
    await wakeZombie();
    expect(await attacked.statuses()).toEqual(['approved']);
  });
});

describe('a process that was paused between writing an attempt down and making the call', () => {
  it('does not make the call when more than a lease has passed, and says that it had no effect', async () => {
    await attacked.talk.post(li, '/run look service=web');
    const turn = await claim();
    // The clock jumps with each look at it: no two looks are within one lease.
    let nowMs = 0;
    jest.spyOn(performance, 'now').mockImplementation(() => (nowMs += leaseSeconds * 1_000 + 1));
    const outcome = await runTurn({ ...attacked.context, fence: fenceOf(turn) }, turn, new AbortController().signal);
    expect(outcome.status).not.toBe('waiting');
    expect(attacked.system.effects).toEqual([]);
    expect(await database.rows('select outcome, code from agent_core.tool_attempt')).toEqual([
      { outcome: 'failed', code: 'LEASE_ENDED' },
    ]);
  });

  it('makes the call as always when it was not paused', async () => {
    await attacked.talk.say(li, '/run look service=web');
    expect(attacked.system.effects).toHaveLength(1);
  });
});

describe('a turn whose lease was lost while its call was under way', () => {
  it('is unknown to whoever took it over, and what really came of it changes nothing any more', async () => {
    const code = await attacked.ask();
    await attacked.talk.post(han, `/approve ${code}`, { room: 'cid-approvals' });
    await attacked.talk.workOne();
    const old = await claim();
    let answer: () => void = () => undefined;
    const begun = new Promise<void>((begin) => {
      const gate = new Promise<void>((resolve) => (answer = resolve));
      attacked.system.script.push(async () => {
        begin();
        await gate;
        return { kind: 'done', output: 'restarted' };
      });
    });
    const zombie = runTurn({ ...attacked.context, fence: fenceOf(old) }, old, new AbortController().signal);
    await begun;
    await expireLeases();
    const taken = await claim();
    expect(taken).toMatchObject({ id: old.id, attempt: old.attempt + 1, isTakenOver: true });
    const outcome = await runTurn({ ...attacked.context, fence: fenceOf(taken) }, taken, new AbortController().signal);
    if (outcome.status === 'waiting') throw new Error('the turn waits');
    expect(await endTurn(attacked.context, taken, outcome)).toBe(true);
    const attempts = () => database.rows('select outcome, code from agent_core.tool_attempt');
    expect(await attempts()).toEqual([{ outcome: 'unknown', code: 'PROCESS_DIED' }]);
    answer();
    await zombie.catch(() => undefined);
    expect(await attempts()).toEqual([{ outcome: 'unknown', code: 'PROCESS_DIED' }]);
    expect(await attacked.audited(/^attempt\.|^turn\.taken/)).toEqual([
      'attempt.opened opened',
      'turn.taken_over lease_ended',
      'attempt.closed unknown',
    ]);
  });
});
