import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { waitUntil } from '@steward/testkit';
import { claimTurn, type ClaimedTurn } from './claim-turn.ts';
import { createLeases, heartbeatMs } from './hold-leases.ts';
import { recordInbound } from './record-inbound.ts';
import { buildReceived, everyLane, openTestDatabase, silentLog } from './testing.ts';

let database: Awaited<ReturnType<typeof openTestDatabase>>;
let releases: (() => void)[] = [];
beforeAll(async () => {
  database = await openTestDatabase();
});
beforeEach(() => database.clear());
afterEach(() => {
  for (const release of releases) release();
  releases = [];
});
afterAll(() => database.close());

const claimIn = async (room: string): Promise<ClaimedTurn> => {
  await recordInbound({ db: database.db, now: () => new Date() }, buildReceived({ room }));
  const turn = await claimTurn(database.db, everyLane);
  if (turn === null) throw new Error('nothing was claimed');
  return turn;
};
const hold = (leases: ReturnType<typeof createLeases>, turn: ClaimedTurn): AbortSignal => {
  const { signal, release } = leases.hold(turn);
  releases.push(release);
  return signal;
};
const setLease = (turn: ClaimedTurn, seconds: number) =>
  database.rows(`update agent_core.turn set lease_until = now() + interval '${seconds} s' where id = '${turn.id}'`);
const ends = async (turn: ClaimedTurn) =>
  (
    await database.rows<{ seconds: number }>(
      `select extract(epoch from lease_until - now())::float8 as seconds from agent_core.turn where id = '${turn.id}'`,
    )
  )[0]?.seconds ?? NaN;
const wait = { timeoutMs: 10_000 };

describe('holding leases', () => {
  it('renews them all by one statement a beat, and aborts the work on a turn that is gone', async () => {
    const [kept, gone] = [await claimIn('a'), await claimIn('b')];
    const leases = createLeases({ db: database.db, log: silentLog });
    const [keptSignal, goneSignal] = [hold(leases, kept), hold(leases, gone)];
    await setLease(kept, 0);
    await database.rows(`update agent_core.turn set attempt = attempt + 1 where id = '${gone.id}'`);
    await waitUntil(() => goneSignal.aborted, { ...wait, what: 'the work on the lost turn to be aborted' });
    expect(keptSignal.aborted).toBe(false);
    expect(await ends(kept)).toBeGreaterThan(2);
  });

  it('says first that it is there after a pause, before it looks for work that is its own', async () => {
    const turn = await claimIn('a');
    let nowMs = 0;
    const leases = createLeases({ db: database.db, log: silentLog, clockMs: () => nowMs });
    const signal = hold(leases, turn);
    await setLease(turn, -10);
    nowMs = heartbeatMs;
    await leases.catchUp(); // not late
    expect(await ends(turn)).toBeLessThan(0);
    nowMs = 10_000;
    await leases.catchUp();
    expect(await ends(turn)).toBeGreaterThan(2);
    expect(await claimTurn(database.db, everyLane)).toBeNull();
    expect(signal.aborted).toBe(false);
  });

  it('looks for no work while it cannot say that it is there, and loses nothing by it', async () => {
    const turn = await claimIn('a');
    let nowMs = 0;
    const leases = createLeases({ db: database.db, log: silentLog, clockMs: () => nowMs });
    const signal = hold(leases, turn);
    await database.rows('alter table agent_core.turn rename to away');
    nowMs = 10_000;
    await expect(leases.catchUp()).rejects.toThrow('does not exist');
    await database.rows('alter table agent_core.away rename to turn');
    expect(signal.aborted).toBe(false);
  });

  it('lets go of what is over: no later beat brings it back, or calls it lost', async () => {
    const turn = await claimIn('a');
    let nowMs = 0;
    const leases = createLeases({ db: database.db, log: silentLog, clockMs: () => nowMs });
    const { signal, release } = leases.hold(turn);
    release();
    nowMs = 10_000;
    await setLease(turn, -10);
    await leases.catchUp();
    expect(await ends(turn)).toBeLessThan(0);
    expect(signal.aborted).toBe(false);
  });
});
