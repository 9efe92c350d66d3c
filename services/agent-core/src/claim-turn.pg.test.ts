import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { sql } from 'kysely';
import { newId } from '@steward/service-kit';
import { claimTurn, createClaimer, fenceOf, holdOf, nextTurns, renewLeases, type ClaimedTurn } from './claim-turn.ts';
import { endTurn, type TurnResult } from './end-turn.ts';
import { recordInbound } from './record-inbound.ts';
import { buildReceived, everyLane, openTestDatabase, type InboundOptions } from './testing.ts';

let database: Awaited<ReturnType<typeof openTestDatabase>>;
beforeAll(async () => {
  database = await openTestDatabase();
});
beforeEach(() => database.clear());
afterAll(() => database.close());

const now = () => new Date();
const done: TurnResult = {
  status: 'done',
  outcome: 'model',
  answer: { kind: 'markdown', title: 'answer', text: 'the answer' },
};
const record = (o: InboundOptions) => recordInbound({ db: database.db, now }, buildReceived(o));
const claim = () => claimTurn(database.db, everyLane);
const claimed = async (): Promise<ClaimedTurn> => {
  const turn = await claim();
  if (turn === null) throw new Error('nothing was claimed');
  return turn;
};
const end = (turn: ClaimedTurn) => endTurn({ db: database.db, now }, turn, done);
const expireLeases = () =>
  database.rows(`update agent_core.turn set lease_until = now() - interval '1 s' where status = 'running'`);

describe('claiming a turn', () => {
  it('takes a conversation in the order of its numbers, one at a time', async () => {
    for (const sequence of [2, 3, 1]) await record({ sequence });
    for (const sequence of [1, 2, 3]) {
      const turn = await claimed();
      expect(turn).toMatchObject({ sequence, attempt: 1, lane: 'answer' });
      expect(await claim()).toBeNull();
      expect(await end(turn)).toBe(true);
    }
    expect(await claim()).toBeNull();
  });

  it('does not go past a number that has not come', async () => {
    await record({ sequence: 1 });
    await record({ sequence: 3 });
    await end(await claimed());
    expect(await claim()).toBeNull();
    await record({ sequence: 2 });
    expect((await claimed()).sequence).toBe(2);
  });

  it('runs one turn of each conversation, in order, under eight claimers of two processes at once', async () => {
    const rooms = ['a', 'b', 'c', 'd'];
    for (const room of rooms) for (let sequence = 1; sequence <= 10; sequence += 1) await record({ room, sequence });
    const running = new Set<string>();
    const worked = new Map<string, number[]>();
    let most = 0;
    const processes = [1, 2].map(() => {
      const db = database.connect(4);
      return { db, claimNext: createClaimer(db, everyLane) };
    });
    const claimer = async ({ db, claimNext }: (typeof processes)[number]) => {
      for (let idle = 0; idle < 40;) {
        const turn = await claimNext();
        if (turn === null) {
          idle += 1;
          if ([...worked.values()].flat().length === 40) return;
          continue;
        }
        expect(running.has(turn.conversationId)).toBe(false);
        running.add(turn.conversationId);
        most = Math.max(most, running.size);
        worked.set(turn.conversationId, [...(worked.get(turn.conversationId) ?? []), turn.sequence]);
        await renewLeases(db, [turn]);
        // Before the end commits: from then on another claimer may rightly have the next turn.
        running.delete(turn.conversationId);
        expect(await endTurn({ db, now }, turn, done)).toBe(true);
      }
    };
    await Promise.all(Array.from({ length: 4 }, () => processes.map(claimer)).flat());
    for (const room of rooms) expect(worked.get(room)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    expect(most).toBeGreaterThan(1);
    const attempts = await database.rows('select distinct attempt from agent_core.turn');
    expect(attempts).toEqual([{ attempt: 1 }]);
  }, 60_000);

  it('lets a command overtake words, also while words are worked on and others have waited longer', async () => {
    await record({ sequence: 1, text: 'a long question' });
    await record({ sequence: 2, text: 'another one' });
    await claimed();
    await record({ sequence: 3, text: '/help' });
    await record({ room: 'never served', sequence: 1 });
    expect(await claimed()).toMatchObject({ sequence: 3, lane: 'control' });
  });

  it('serves first the conversation that was served longest ago', async () => {
    for (let sequence = 1; sequence <= 5; sequence += 1) await record({ room: 'noisy', sequence });
    await end(await claimed());
    // A room with a long past, whose number is far higher than those of the noisy one.
    await record({ room: 'quiet', sequence: 50 });
    await database.rows(
      `update agent_core.conversation set recorded_through = 50, last_claimed_at = now() - interval '1 h'
       where conversation_id = 'quiet'`,
    );
    expect((await claimed()).conversationId).toBe('quiet');
    expect((await claimed()).conversationId).toBe('noisy');
  });

  it('takes only the lanes that are asked for', async () => {
    await record({ sequence: 1, text: 'a question' });
    await record({ sequence: 2, text: '/help' });
    expect(await claimTurn(database.db, ['approval', 'bulk'])).toBeNull();
    expect(await claimTurn(database.db, ['answer'])).toMatchObject({ sequence: 1 });
    expect(await claimTurn(database.db, ['answer'])).toBeNull();
    expect(await claimTurn(database.db, ['control'])).toMatchObject({ sequence: 2 });
  });

  it('tells how long ago the turn was recorded', async () => {
    await record({ sequence: 1 });
    await database.rows(`update agent_core.turn set created_at = now() - interval '90 s'`);
    const { ageSeconds } = await claimed();
    expect(ageSeconds).toBeGreaterThanOrEqual(90);
    expect(ageSeconds).toBeLessThan(150);
  });

  it('looks at the first turn of each lane only, however much waits in one room', async () => {
    for (const room of ['noisy', 'b', 'c']) await record({ room, sequence: 1 });
    // What is known of the table is always older than a flood: here that nothing is open.
    await database.rows(`update agent_core.turn set status = 'done'`);
    await database.rows('analyze agent_core.turn');
    await database.rows(`update agent_core.turn set status = 'queued'`);
    await database.rows(`
      insert into agent_core.turn
        (id, inbound_event_id, robot_code, conversation_id, sequence, lane, status, correlation_id, inbound)
      select gen_random_uuid(), gen_random_uuid(), robot_code, conversation_id, n, lane,
        case when n <= 3000 then 'done' else 'queued' end, correlation_id, inbound
      from agent_core.turn, generate_series(2, 20000) n where conversation_id = 'noisy'`);
    await database.rows(`update agent_core.conversation set recorded_through = 20000 where conversation_id = 'noisy'`);
    const visited = async () => {
      const plan = sql<{ 'QUERY PLAN': [{ Plan: PlanNode }] }>`
        explain (analyze, buffers off, format json) ${nextTurns(everyLane, 1)} select * from next`;
      const [row] = (await plan.execute(database.db)).rows;
      if (row === undefined) throw new Error('no plan');
      return countVisited(row['QUERY PLAN'][0].Plan);
    };
    expect(await visited()).toBeLessThan(200);
    await database.rows('analyze agent_core.turn');
    expect(await visited()).toBeLessThan(200);
  });

  it('keeps to that with a plan that was made while nothing waited', async () => {
    const one = database.connect(1);
    // The first ones are planned each time, the fifth is prepared, and its plan kept from its sixth time on.
    for (let times = 0; times < 20; times += 1) expect(await claimTurn(one, everyLane)).toBeNull();
    await record({ room: 'pattern', sequence: 1 });
    await database.rows(`
      with rooms as (
        insert into agent_core.conversation (robot_code, conversation_id, kind, recorded_through)
        select robot_code, 'room ' || n, kind, 20 from agent_core.conversation, generate_series(1, 100) n returning conversation_id)
      insert into agent_core.turn
        (id, inbound_event_id, robot_code, conversation_id, sequence, lane, status, correlation_id, inbound)
      select gen_random_uuid(), gen_random_uuid(), t.robot_code, rooms.conversation_id, n, t.lane, 'queued', t.correlation_id, t.inbound
      from agent_core.turn t, rooms, generate_series(1, 20) n`);
    const read = await one.transaction().execute(async (trx) => {
      expect(await claimTurn(trx, everyLane)).not.toBeNull();
      const { rows } = await sql<{ read: number }>`
        select (seq_tup_read + idx_tup_fetch)::int as read from pg_stat_xact_user_tables
        where (schemaname, relname) = ('agent_core', 'turn')`.execute(trx);
      return rows[0]?.read;
    });
    expect(read).toBeLessThan(4 * 101);
  });

  it('finds a turn that somebody holds by its id, however many wait, with plans from before they did', async () => {
    await record({ sequence: 1 });
    const turn = { ...(await claimed()), id: newId() };
    await database.rows(`update agent_core.turn set status = 'done', lease_until = null`);
    const copies = (from: number, to: number, status: string) =>
      database.rows(`
        insert into agent_core.turn
          (id, inbound_event_id, robot_code, conversation_id, sequence, lane, status, correlation_id, inbound)
        select gen_random_uuid(), gen_random_uuid(), robot_code, conversation_id, n, lane, '${status}', correlation_id, inbound
        from agent_core.turn, generate_series(${from}, ${to}) n where sequence = 1`);
    await copies(2, 3_000, 'done');
    await database.rows('vacuum analyze agent_core.turn');
    const one = database.connect(1);
    const look = async (trx: Parameters<ReturnType<typeof fenceOf>>[0]) => {
      await expect(fenceOf(turn)(trx)).rejects.toThrow('another process');
      expect(await renewLeases(trx, [turn])).toEqual(new Set());
      expect(await endTurn({ db: trx, now }, turn, done)).toBe(false);
    };
    for (let times = 0; times < 20; times += 1) await one.transaction().execute(look);
    await copies(3_001, 6_000, 'queued');
    const read = await one.transaction().execute(async (trx) => {
      await look(trx);
      const { rows } = await sql<{ read: number }>`
        select (seq_tup_read + idx_tup_fetch)::int as read from pg_stat_xact_user_tables
        where (schemaname, relname) = ('agent_core', 'turn')`.execute(trx);
      return rows[0]?.read;
    });
    expect(read).toBeLessThan(10);
  });

  it('leaves a turn alone until its next attempt is due, and what follows it too', async () => {
    await record({ sequence: 1 });
    await record({ sequence: 2 });
    await database.rows(`update agent_core.turn set next_attempt_at = now() + interval '1 h' where sequence = 1`);
    expect(await claim()).toBeNull();
  });
});

describe('a lease that ran out', () => {
  it('gives the turn to another attempt, and takes from the old one every way to change it', async () => {
    await record({ sequence: 1 });
    const old = await claimed();
    await expireLeases();
    const taken = await claimed();
    expect(taken).toMatchObject({ id: old.id, attempt: 2 });
    expect(await renewLeases(database.db, [old])).toEqual(new Set());
    const before = await traces();
    expect(await end(old)).toBe(false);
    expect(await traces()).toEqual(before);
    expect(await renewLeases(database.db, [old, taken])).toEqual(new Set([holdOf(taken)]));
    expect(await end(taken)).toBe(true);
    expect(await end(taken)).toBe(false);
  });

  it('is taken over by exactly one of many', async () => {
    await record({ sequence: 1 });
    await claimed();
    await expireLeases();
    const takers = await Promise.all(Array.from({ length: 8 }, () => claim()));
    expect(takers.filter((turn) => turn !== null)).toMatchObject([{ attempt: 2 }]);
  });
});

describe('slots that ask together', () => {
  const askTogether = (count: number) => {
    const claimNext = createClaimer(database.db, everyLane);
    return Promise.all(Array.from({ length: count }, claimNext));
  };
  const roomsOf = (turns: readonly (ClaimedTurn | null)[]) => turns.map((turn) => turn?.conversationId ?? null).sort();

  it('get a turn each, of as many conversations, those served longest ago first', async () => {
    for (const room of ['a', 'b', 'c', 'd']) for (const sequence of [1, 2]) await record({ room, sequence });
    await database.rows(
      `update agent_core.conversation set last_claimed_at = now() - case conversation_id when 'd' then interval '1 h' else interval '1 min' end`,
    );
    // The first is worked on at once, the other two share a claim.
    const first = await askTogether(3);
    expect(first[0]).toMatchObject({ conversationId: 'd' });
    expect(new Set(roomsOf(first)).size).toBe(3);
    expect(roomsOf(await askTogether(3)).filter((room) => room !== null)).toHaveLength(1);
    expect(await database.rows(`select count(*)::int as count from agent_core.turn where status = 'running'`)).toEqual([
      { count: 4 },
    ]);
  });

  it('take several over at once, each audited for itself', async () => {
    for (const room of ['a', 'b', 'c']) await record({ room, sequence: 1 });
    await askTogether(3);
    await expireLeases();
    const taken = await askTogether(3);
    expect(roomsOf(taken)).toEqual(['a', 'b', 'c']);
    expect(taken).toMatchObject([{ isTakenOver: true }, { isTakenOver: true }, { isTakenOver: true }]);
    const ids = taken.map((turn) => turn?.id).sort();
    expect(
      await database.rows(
        `select subject_id from audit.entry where kind = 'turn.taken_over' and subject_id in ('${ids.join(`','`)}') order by 1`,
      ),
    ).toEqual(ids.map((subject_id) => ({ subject_id })));
  });
});

describe('taking a turn over', () => {
  const takeovers = () =>
    database.rows<{ outcome: string; service: string; correlation_id: string; detail: Record<string, number> }>(
      `select outcome, service, correlation_id, detail from audit.entry where kind = 'turn.taken_over'
       and subject_id in (select id::text from agent_core.turn)`,
    );

  it('is on record with who waited and how long the lease was over, and nothing else is', async () => {
    await record({ sequence: 1 });
    const first = await claimed();
    expect(first.isTakenOver).toBe(false);
    expect(await takeovers()).toEqual([]);
    await expireLeases();
    const second = await claimed();
    expect(second.isTakenOver).toBe(true);
    const [entry, ...more] = await takeovers();
    expect(more).toEqual([]);
    expect(entry).toMatchObject({
      outcome: 'lease_ended',
      service: 'agent-core',
      correlation_id: first.correlationId,
      detail: { attempt: 2, sequence: 1, lane: 'answer' },
    });
    expect(entry?.detail.overdueMs).toBeGreaterThanOrEqual(1_000);
  });

  it('renews all turns of a process at once, an ended lease too while nobody has taken it, and never another attempt', async () => {
    for (const room of ['a', 'b', 'c']) await record({ room, sequence: 1 });
    const mine = [await claimed(), await claimed(), await claimed()];
    await expireLeases();
    const [a, b, c] = mine;
    if (a === undefined || b === undefined || c === undefined) throw new Error('three were claimed');
    await database.rows(`update agent_core.turn set attempt = 2 where id = '${c.id}'`);
    expect(await renewLeases(database.db, mine)).toEqual(new Set([holdOf(a), holdOf(b)]));
    const kept = await database.rows(
      'select id from agent_core.turn where lease_until > now() order by conversation_id',
    );
    expect(kept).toEqual(
      [a, b].sort((x, y) => (x.conversationId < y.conversationId ? -1 : 1)).map(({ id }) => ({ id })),
    );
  });

  it('does not wait for a turn that is locked, and does not take it for lost', async () => {
    await record({ room: 'a', sequence: 1 });
    await record({ room: 'b', sequence: 1 });
    const mine = [await claimed(), await claimed()];
    await database.db.transaction().execute(async (trx) => {
      await trx
        .updateTable('turn')
        .set({ outcome: 'in a transaction' })
        .where('id', '=', mine[0]?.id ?? '')
        .execute();
      expect(await renewLeases(database.connect(1), mine)).toEqual(new Set(mine.map(holdOf)));
    });
  });

  it('waits for a transaction under the fence, and the fence refuses whoever comes after the takeover', async () => {
    await record({ sequence: 1 });
    const old = await claimed();
    await expireLeases();
    await database.db.transaction().execute(async (trx) => {
      await fenceOf(old)(trx);
      expect(await claimTurn(database.connect(1), everyLane)).toBeNull();
    });
    expect(await claimed()).toMatchObject({ id: old.id, attempt: 2 });
    await expect(database.db.transaction().execute(fenceOf(old))).rejects.toMatchObject({ code: 'TURN_LOST' });
  });
});

describe('a number that was skipped and comes late', () => {
  const skipTo = (through: number) =>
    database.rows(`update agent_core.conversation set recorded_through = ${through}, gap_since = null`);

  it('waits for the running turn of its lane and stops no other conversation meanwhile', async () => {
    await record({ room: 'late', sequence: 2 });
    await skipTo(2);
    const running = await claimed();
    await record({ room: 'late', sequence: 1 });
    await database.rows(`update agent_core.conversation set last_claimed_at = '-infinity'`);
    await record({ room: 'other', sequence: 1 });
    await database.rows(`update agent_core.conversation set last_claimed_at = now() where conversation_id = 'other'`);
    expect((await claimed()).conversationId).toBe('other');
    expect(await claim()).toBeNull();
    await end(running);
    expect(await claimed()).toMatchObject({ conversationId: 'late', sequence: 1 });
  });

  it('does not lock its lane when the turn before it crashed', async () => {
    await record({ sequence: 2 });
    await skipTo(2);
    const crashed = await claimed();
    await record({ sequence: 1 });
    await expireLeases();
    const taken = await claimed();
    expect(taken).toMatchObject({ id: crashed.id, attempt: 2 });
    await end(taken);
    expect((await claimed()).sequence).toBe(1);
  });
});

/** Of a plan in JSON as Postgres explains it; rows are per loop. */
type PlanNode = {
  'Actual Rows': number;
  'Actual Loops': number;
  'Rows Removed by Filter'?: number;
  Plans?: PlanNode[];
};
const countVisited = (node: PlanNode): number =>
  (node['Actual Rows'] + (node['Rows Removed by Filter'] ?? 0)) * node['Actual Loops'] +
  (node.Plans ?? []).reduce((sum, child) => sum + countVisited(child), 0);

const traces = async () => [
  await database.rows('select * from agent_core.turn order by id'),
  await database.rows('select * from agent_core.transcript order by turn_id, speaker'),
  await database.rows('select * from agent_core.outbox order by id'),
  await database.rows('select * from agent_core.outbound_tail'),
  await database.rows(`select id from audit.entry where kind = 'turn.ended' order by id`),
];
