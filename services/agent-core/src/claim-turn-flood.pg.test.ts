import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { setTimeout as delay } from 'node:timers/promises';
import { waitUntil } from '@steward/testkit';
import { claimTurn } from './claim-turn.ts';
import { endTurn } from './end-turn.ts';
import { buildReceived, everyLane, openTestDatabase } from './testing.ts';

const flood = 10_000;
const quietRooms = 200;
const rounds = 3;
const replicas = 2;
const workersEach = 4;
const workers = replicas * workersEach;

let database: Awaited<ReturnType<typeof openTestDatabase>>;
beforeAll(async () => {
  database = await openTestDatabase();
  await database.rows(`
    create table public.seen (n bigserial primary key, what text not null, room text not null, turn_id uuid not null);
    create function public.see() returns trigger language plpgsql security definer as $$
    begin
      insert into public.seen (what, room, turn_id)
      values (case when tg_op = 'INSERT' then 'recorded' else 'claimed' end, new.conversation_id, new.id);
      return new;
    end $$;
    create trigger see_recorded after insert on agent_core.turn for each row execute function public.see();
    create trigger see_claimed after update on agent_core.turn for each row
      when (new.status = 'running' and new.attempt > old.attempt) execute function public.see()`);
});
afterAll(() => database.close());

/** The rows that recording writes for these numbers of the rooms, without the rest of a recording. */
const addTurns = (rooms: string, from: number, to: number) => {
  const { body } = buildReceived();
  return database.rows(`
    with places as (select room from unnest(array[${rooms}]) as room),
    kept as (
      insert into agent_core.conversation (robot_code, conversation_id, kind, recorded_through)
      select 'dingtest', room, 'group', ${to} from places
      on conflict (robot_code, conversation_id) do update set recorded_through = excluded.recorded_through
      returning conversation_id)
    insert into agent_core.turn
      (id, inbound_event_id, robot_code, conversation_id, sequence, lane, status, correlation_id, inbound)
    select gen_random_uuid(), gen_random_uuid(), 'dingtest', conversation_id, n, 'answer', 'queued', gen_random_uuid(),
      '${JSON.stringify(body)}'::jsonb || jsonb_build_object('sequence', n)
    from kept, generate_series(${from}, ${to}) as n`);
};

describe('a flood of 10,000 messages in one room', () => {
  it('overtakes no turn of 200 quiet rooms more often than there are workers, and holds one slot', async () => {
    await addTurns(`'flood'`, 1, flood);
    const total = rounds * quietRooms;
    let served = 0;
    let isOver = false;
    let flooded = 0;
    let floodInHand = 0;
    let mostInHand = 0;
    const now = () => new Date();
    const work = async (db: ReturnType<typeof database.connect>) => {
      while (!isOver) {
        const turn = await claimTurn(db, everyLane);
        if (turn === null) {
          await delay(5);
          continue;
        }
        const isFlood = turn.conversationId === 'flood';
        if (isFlood) mostInHand = Math.max(mostInHand, (floodInHand += 1));
        await delay(2);
        // Before the end commits: from then on another worker may rightly have the next turn.
        if (isFlood) floodInHand -= 1;
        await endTurn({ db, now }, turn, { status: 'done', outcome: 'model', answer: null });
        if (isFlood) flooded += 1;
        else served += 1;
      }
    };
    const working = Array.from({ length: replicas }, () => database.connect(workersEach)).flatMap((db) =>
      Array.from({ length: workersEach }, () => work(db)),
    );
    const rooms = Array.from({ length: quietRooms }, (_, index) => `'quiet ${index}'`).join(',');
    for (let round = 1; round <= rounds; round += 1) {
      await addTurns(rooms, round, round);
      // The flood goes on between the rounds: each one meets it at work.
      const floodedThen = flooded;
      await waitUntil(() => served === round * quietRooms && flooded >= floodedThen + 3, {
        timeoutMs: 60_000,
        what: 'a round to be served, and the flood to go on',
      });
    }
    isOver = true;
    await Promise.all(working);

    const [seen] = await database.rows<{ quiet: number; flooded: number; most: number }>(`
      with quiet as (
        select r.n as recorded, c.n as claimed from public.seen r join public.seen c using (turn_id)
        where r.what = 'recorded' and c.what = 'claimed' and r.room <> 'flood')
      select count(*)::int as quiet,
        (select count(*)::int from public.seen where what = 'claimed' and room = 'flood') as flooded,
        max((select count(*)::int from public.seen f
             where f.what = 'claimed' and f.room = 'flood' and f.n > recorded and f.n < claimed)) as most
      from quiet`);
    expect(seen?.quiet).toBe(total);
    // The flood was worked on all along, or nothing could have been overtaken.
    expect(seen?.flooded).toBeGreaterThan(3 * rounds - 1);
    expect(seen?.most).toBeLessThanOrEqual(workers);
    expect(mostInHand).toBe(1);
  }, 120_000);
});
