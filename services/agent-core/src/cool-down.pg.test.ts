import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { claimTurn, type ClaimedTurn } from './claim-turn.ts';
import { endTurn } from './end-turn.ts';
import { buildTurnContext } from './gate.test-support.ts';
import { recordInbound } from './record-inbound.ts';
import { runTurn, type TurnOutcome } from './run-turn.ts';
import { buildConfig, buildReceived, everyLane, openTestDatabase, type InboundOptions } from './testing.ts';

let database: Awaited<ReturnType<typeof openTestDatabase>>;
let isBroken = true;
let sequence = 0;
beforeAll(async () => {
  database = await openTestDatabase();
});
beforeEach(async () => {
  isBroken = true;
  sequence = 0;
  await database.clear();
});
afterAll(() => database.close());

const now = () => new Date();
const context = () =>
  buildTurnContext(
    database.db,
    {
      now,
      askModel: () =>
        isBroken
          ? Promise.reject(new Error('a defect'))
          : Promise.resolve({ text: 'fine', calls: [], model: 'm', promptHash: 'h' }),
    },
    buildConfig(),
  );
const record = (o: InboundOptions = {}) =>
  recordInbound({ db: database.db, now }, buildReceived({ text: 'a question', ...o, sequence: (sequence += 1) }));
const claim = () => claimTurn(database.db, everyLane);
/** Works on what is due, each turn at its last try; what was said of each, null for silence. */
const workAll = async (): Promise<(string | null)[]> => {
  const said: (string | null)[] = [];
  for (let turn = await claim(); turn !== null; turn = await claim()) said.push(await workOn(turn));
  return said;
};
const workOn = async (turn: ClaimedTurn): Promise<string | null> => {
  const lastTry = { ...turn, resumedAtAttempt: turn.attempt - 5 };
  const outcome: TurnOutcome = await runTurn(context(), lastTry, new AbortController().signal);
  if (outcome.status === 'waiting') throw new Error('the turn waits');
  await endTurn({ db: database.db, now }, turn, outcome);
  return outcome.answer?.text ?? null;
};
const coolSeconds = async () =>
  (
    await database.rows<{ seconds: number | null }>(
      'select round(extract(epoch from cool_until - now()))::int as seconds from agent_core.conversation',
    )
  )[0]?.seconds ?? null;
const passSeconds = (seconds: number) =>
  database.rows(
    `update agent_core.conversation set cool_until = cool_until - interval '${seconds} s',
       error_told_at = error_told_at - interval '${seconds} s'`,
  );

describe('a room in which turns fail', () => {
  it('hears the same error once, and that it cools down; what waits goes on later, and nothing is lost', async () => {
    for (let n = 0; n < 5; n += 1) await record();
    const said = await workAll();
    expect(said).toEqual([
      expect.stringContaining('Something went wrong'),
      null,
      expect.stringMatching(/Something went wrong[^]*1 more times[^]*pause for 10 s/),
    ]);
    expect(await claim()).toBeNull();
    expect(await coolSeconds()).toBe(10);
    const ended = () =>
      database.rows(`select detail -> 'isSaid' as said, detail ->> 'code' as code from audit.entry where kind = 'turn.ended'
        and subject_id in (select id::text from agent_core.turn) order by transaction_id`);
    expect(await ended()).toEqual([true, false, true].map((isSaid) => ({ said: isSaid, code: 'Error' })));

    await passSeconds(11);
    expect(await workAll()).toEqual([null]);
    expect(await coolSeconds()).toBe(20);
    isBroken = false;
    await passSeconds(21);
    expect(await workAll()).toEqual(['fine']);
    // One that works out ends it.
    expect(await database.rows('select failures, cool_until from agent_core.conversation')).toEqual([
      { failures: 0, cool_until: null },
    ]);
  });

  it('takes commands meanwhile, which mend nothing, and costs no other room anything', async () => {
    for (let n = 0; n < 4; n += 1) await record();
    await workAll();
    await record({ text: '/ping' });
    expect(await workAll()).toEqual([expect.stringContaining('pong')]);
    expect(await coolSeconds()).toBe(10);
    isBroken = false;
    await recordInbound({ db: database.db, now }, buildReceived({ text: 'elsewhere', room: 'cid-2' }));
    expect(await claim()).toMatchObject({ conversationId: 'cid-2' });
    expect(await claim()).toBeNull();
  });

  it('has no cool-down from failures with a success in between', async () => {
    for (const broken of [true, true, false, true, true]) {
      isBroken = broken;
      await record();
      await workAll();
    }
    expect(await coolSeconds()).toBeNull();
  });
});
