import type { BusMessage } from '@steward/contracts';
import { createLogger, newId } from '@steward/service-kit';
import { createRabbitBus } from '@steward/bus';
import { waitUntil } from '@steward/testkit';
import { buildReceived } from '../../services/agent-core/src/testing.ts';
import { pause, type BenchProcess } from './bench-process.ts';
import type { BenchServers } from './bench-servers.ts';
import { robot, roomId, type BenchWorld } from './bench-world.ts';
import { startService } from './measure-turns.ts';
import { median, percentile } from './statistics.ts';

export type FairnessRound = { calmP95Ms: number; floodP95Ms: number; floodWorked: number };
export type FairnessFigures = {
  rounds: FairnessRound[];
  quietRooms: number;
  perSecond: number;
  flood: number;
  calmP95Ms: number;
  floodP95Ms: number;
  /** The median over the rounds of flood / calm: each round is its own yardstick. */
  ratio: number;
};

const quietRooms = 200;
const flood = 10_000;
/** Far below what agent-core can do, so that what is measured is whose turn comes first and not a machine that is full. */
const perSecond = 25;
const messagesEach = quietRooms;
const floodRoom = roomId(quietRooms);
const limitMs = 60_000;

/**
 * How long 200 quiet rooms wait, from the recording of a message to the claim of its turn, with and without 10,000 turns of one
 * room before them: agent-core as it runs in production, everything else left out. The flood lies in the rows that recording
 * writes; quiet rooms speak over the bus, by the clock.
 */
export async function measureFairness(o: {
  servers: BenchServers;
  world: BenchWorld;
  rounds: number;
  say: (line: string) => void;
}): Promise<FairnessFigures> {
  const { servers, world } = o;
  world.configure('http://127.0.0.1:1');
  const log = createLogger({ service: 'bench', level: 'error' });
  const bus = await createRabbitBus({ url: servers.vhost.url, service: 'adapter', log });
  let agentCore: BenchProcess | undefined;
  try {
    agentCore = await startService({ servers, world }, 'agent-core');
    const talk = createTalk(servers, (message) => bus.publish([message]));
    await talk(); // warm up
    const rounds: FairnessRound[] = [];
    for (let number = 1; number <= o.rounds; number += 1) {
      const calmP95Ms = await talk();
      await startFlood(servers, number);
      const floodP95Ms = await talk();
      const floodWorked = await endFlood(servers);
      rounds.push({ calmP95Ms, floodP95Ms, floodWorked });
      o.say(
        `round ${number}: p95 ${calmP95Ms.toFixed(1)} ms calm, ${floodP95Ms.toFixed(1)} ms under flood (${floodWorked} of it worked on meanwhile)`,
      );
    }
    return {
      ...{ rounds, quietRooms, perSecond, flood },
      calmP95Ms: median(rounds.map((round) => round.calmP95Ms)),
      floodP95Ms: median(rounds.map((round) => round.floodP95Ms)),
      ratio: median(rounds.map((round) => round.floodP95Ms / round.calmP95Ms)),
    };
  } finally {
    await agentCore?.stop();
    await bus.close();
  }
}

/** Says one message in each quiet room by the clock; resolves with the p95 of their waits in ms. */
function createTalk({ sql }: BenchServers, publish: (message: BusMessage) => Promise<unknown>): () => Promise<number> {
  let sequence = 0;
  return async () => {
    sequence += 1;
    const ids: string[] = [];
    const startAt = Date.now() + 100;
    for (let number = 0; number < messagesEach; number += 1) {
      const early = startAt + (number * 1_000) / perSecond - Date.now();
      if (early > 0) await pause(early);
      const message = buildMessage(roomId(number), sequence);
      ids.push(`'${message.body.inboundEventId}'`);
      void publish(message);
    }
    const waits = await waitUntil(
      async () => {
        const rows = await sql<{ ms: number }>(
          // One message in each room: the last claim of its conversation is its own.
          `select extract(epoch from c.last_claimed_at - t.created_at)::float8 * 1000 as ms
           from agent_core.turn t join agent_core.conversation c using (robot_code, conversation_id)
           where t.inbound_event_id in (${ids.join(',')}) and t.ended_at is not null`,
        );
        return rows.length === messagesEach ? rows.map(({ ms }) => ms) : null;
      },
      { timeoutMs: limitMs, what: 'every quiet room to be answered', everyMs: 250 },
    );
    return percentile(waits, 0.95);
  };
}

/** Words, in their slots, that need no model: a command that nobody knows. */
function buildMessage(room: string, sequence: number) {
  const requester = { staffId: 'bench-person', corpId: robot.corpId, nick: 'Li' };
  return buildReceived({ robotCode: robot.code, room, sequence, text: '/nothing', requester });
}

async function startFlood({ sql }: BenchServers, round: number): Promise<void> {
  const { body } = buildMessage(floodRoom, 1);
  const [from, to] = [(round - 1) * flood + 1, round * flood];
  await sql(`
    with place as (
      insert into agent_core.conversation (robot_code, conversation_id, kind, recorded_through)
      values ('${robot.code}', '${floodRoom}', 'group', ${to})
      on conflict (robot_code, conversation_id) do update set recorded_through = excluded.recorded_through
      returning robot_code, conversation_id)
    insert into agent_core.turn
      (id, inbound_event_id, robot_code, conversation_id, sequence, lane, status, correlation_id, inbound)
    select gen_random_uuid(), gen_random_uuid(), robot_code, conversation_id, n, 'answer', 'queued', '${newId()}',
      '${JSON.stringify(body)}'::jsonb || jsonb_build_object('sequence', n)
    from place, generate_series(${from}, ${to}) n`);
}

/** Takes what is left of the flood away; resolves with how much of it was worked on. */
async function endFlood({ sql }: BenchServers): Promise<number> {
  const left = await sql<{ id: string }>(
    `update agent_core.turn set status = 'done', outcome = 'bench', ended_at = now()
     where conversation_id = '${floodRoom}' and status = 'queued' returning id`,
  );
  await waitUntil(
    async () => {
      const [row] = await sql<{ open: number }>(
        `select count(*)::int as open from agent_core.turn where status in ('queued', 'running')`,
      );
      return row?.open === 0;
    },
    { timeoutMs: limitMs, what: 'the flood to end' },
  );
  return flood - left.length;
}
