import type { BenchServers } from './bench-servers.ts';
import type { BenchProcess } from './bench-process.ts';
import { callbackPath, type BenchWorld } from './bench-world.ts';
import { generateLoad } from './measure-ingress.ts';
import { startService } from './measure-turns.ts';
import { readRssMb } from './proc-figures.ts';

export type MemoryFigures = { events: number; readings: { events: number; rssMb: number }[] };

const everyMs = 20_000;

/** The resident memory of one adapter, read after every 20 s of messages, until it has recorded so many. */
export async function measureMemory(o: {
  servers: BenchServers;
  world: BenchWorld;
  events: number;
  say: (line: string) => void;
}): Promise<MemoryFigures> {
  const { servers, world } = o;
  await servers.drainInbound();
  world.configure('http://127.0.0.1:1');
  const adapter: BenchProcess = await startService(o, 'adapter');
  const readings: MemoryFigures['readings'] = [];
  try {
    for (let events = 0, round = 1; events < o.events; round += 1) {
      const order = { url: adapter.url, path: callbackPath, appSecret: world.appSecret, durationMs: everyMs };
      const load = { connections: 50, conversations: 300, prefix: `memory-${round}` };
      events += (await generateLoad({ ...order, ...load })).answered;
      readings.push({ events, rssMb: readRssMb(adapter.pid) });
      o.say(`${events} events: ${readRssMb(adapter.pid).toFixed(0)} MiB`);
      // Nobody gives receipts here: what is told would be told again for ever.
      await servers.sql('truncate adapter.outbox');
      await servers.drainInbound();
    }
    return { events: readings.at(-1)?.events ?? 0, readings };
  } finally {
    await adapter.stop();
  }
}
