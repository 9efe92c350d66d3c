import type { ServiceName } from './bench-process.ts';
import type { BenchServers } from './bench-servers.ts';
import type { BenchWorld } from './bench-world.ts';
import { services, startService } from './measure-turns.ts';
import { readRssMb } from './proc-figures.ts';
import { median } from './statistics.ts';

/** Medians over the starts: from the spawn of the process to 200 on /readyz, and resident memory right then. */
export type StartFigures = Record<ServiceName, { readyMs: number; rssMb: number }>;

/** Starts and stops each service several times, one at a time, against servers that are up and migrated. */
export async function measureStarts(o: {
  servers: BenchServers;
  world: BenchWorld;
  starts: number;
}): Promise<StartFigures> {
  const figures: Partial<StartFigures> = {};
  for (const service of services) {
    const readyMs: number[] = [];
    const rssMb: number[] = [];
    for (let start = 0; start < o.starts; start += 1) {
      const running = await startService(o, service);
      readyMs.push(running.readyMs);
      rssMb.push(readRssMb(running.pid));
      await running.stop();
    }
    figures[service] = { readyMs: median(readyMs), rssMb: median(rssMb) };
  }
  return figures as StartFigures; // the loop above fills every service
}
