import { createSimulator, type Simulator } from '@steward/dingtalk-simulator';
import { waitUntil } from '@steward/testkit';
import { pause, type BenchProcess } from './bench-process.ts';
import type { BenchServers } from './bench-servers.ts';
import { robot, roomId, type BenchWorld } from './bench-world.ts';
import { services, startService } from './measure-turns.ts';
import { median } from './statistics.ts';

export type SaturationRound = {
  peakPerSecond: number;
  goodputPerSecond: number;
  /** Messages that the doors did not take during the overload. */
  refused: number;
  recoveredMs: number;
};
export type SaturationFigures = {
  rounds: SaturationRound[];
  factor: number;
  peakPerSecond: number;
  /** Median of goodput / peak of each round. */
  ratio: number;
  lost: number;
};

const rooms = 300;
/** As many messages are under way at once while the peak is measured: more than all services work on at a time. */
const inHand = 100;
const factor = 3;
const roundMs = 10_000;
const limitMs = 180_000;

/**
 * What all three services carry, and what is left of it under three times as much: the peak is measured in a closed loop, the
 * overload by the clock, whatever becomes of what was said before. The generator and the simulator share the machine.
 */
export async function measureSaturation(o: {
  servers: BenchServers;
  world: BenchWorld;
  rounds: number;
  say: (line: string) => void;
}): Promise<SaturationFigures> {
  const { world, servers } = o;
  const simulator = await createSimulator({ world: world.simulated('http://127.0.0.1:1') });
  // What a door refuses is lost for the platform here: it would otherwise come again in a later round.
  simulator.control.setFaults({ qpsLimit: null, ipCallLimit: null, robotRetryMs: [] });
  world.configure(simulator.url);
  const running: BenchProcess[] = [];
  try {
    for (const service of services) running.push(await startService(o, service));
    simulator.control.setWorld({ apps: world.simulated(running[0]?.url ?? '').apps });
    const crowd = createCrowd(simulator, servers);
    await crowd.closedLoop(roundMs / 2); // warm up
    await crowd.settle();
    const rounds: SaturationRound[] = [];
    for (let number = 1; number <= o.rounds; number += 1) {
      const peakPerSecond = await crowd.closedLoop(roundMs);
      await crowd.settle();
      const overload = await crowd.openLoop(factor * peakPerSecond, roundMs);
      const startedAt = performance.now();
      await crowd.settle();
      const round = { peakPerSecond, ...overload, recoveredMs: performance.now() - startedAt };
      rounds.push(round);
      o.say(
        `round ${number}: ${round.peakPerSecond.toFixed(0)} turns/s, ${round.goodputPerSecond.toFixed(0)}/s under ${factor} times as much (${round.refused} refused), all worked off ${Math.round(round.recoveredMs)} ms later`,
      );
    }
    return {
      ...{ rounds, factor, lost: await crowd.lost() },
      peakPerSecond: median(rounds.map((round) => round.peakPerSecond)),
      ratio: median(rounds.map((round) => round.goodputPerSecond / round.peakPerSecond)),
    };
  } finally {
    await Promise.all(running.map((each) => each.stop()));
    await simulator.close();
  }
}

/** People in all rooms who say /ping. */
function createCrowd(simulator: Simulator, { sql }: BenchServers) {
  let said = 0;
  let accepted = 0;
  let refused = 0;
  const say = async () => {
    const number = (said += 1);
    const words = { robot: robot.code, room: roomId(number % rooms), text: '/ping', msgId: `saturation-${number}` };
    const { delivered } = await simulator.control.say(words);
    if (delivered[0]?.outcome === 'acked') accepted += 1;
    else refused += 1;
  };
  /** Answers that the simulated platform took: asked of it, because a count in the database costs more with every message. */
  let [heard, seen] = [0, 0];
  const answered = async () => {
    const lines = await simulator.control.messages({ from: 'robot', since: seen });
    heard += lines.length;
    seen = lines.at(-1)?.n ?? seen;
    return heard;
  };
  /** Says whatever `due` asks for until the time is over; resolves with the answers in a second. */
  const run = async (forMs: number, due: (elapsedMs: number) => Promise<number>): Promise<number> => {
    const [startedAt, before] = [performance.now(), await answered()];
    const open = new Set<Promise<void>>();
    for (let elapsedMs = 0; elapsedMs < forMs; elapsedMs = performance.now() - startedAt) {
      for (let left = await due(elapsedMs); left > 0; left -= 1) {
        const one: Promise<void> = say().finally(() => open.delete(one));
        open.add(one);
      }
      await pause(10);
    }
    const perSecond = (1_000 * ((await answered()) - before)) / (performance.now() - startedAt);
    await Promise.all(open);
    return perSecond;
  };
  return {
    closedLoop: (forMs: number) => run(forMs, async () => inHand - (said - refused - (await answered()))),
    openLoop: async (perSecond: number, forMs: number) => {
      const [saidBefore, refusedBefore] = [said, refused];
      const due = (elapsedMs: number) => Promise.resolve((elapsedMs * perSecond) / 1_000 - (said - saidBefore));
      const goodputPerSecond = await run(forMs, due);
      return { goodputPerSecond, refused: refused - refusedBefore };
    },
    settle: () =>
      waitUntil(async () => (await answered()) >= accepted, { timeoutMs: limitMs, everyMs: 50, what: 'every answer' }),
    lost: async () => {
      const [row] = await sql<{ count: number }>(
        `select count(*)::int as count from outbound_sender.outbound_message where status = 'accepted'`,
      );
      return accepted - (row?.count ?? 0);
    },
  };
}
