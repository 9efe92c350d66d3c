// `make bench`: measures what docs/benchmarks.md promises, on servers of its own, and writes the figures there.
//   node test/bench/main.ts [--rounds 5] [--round-ms 5000] [--messages 2000] [--starts 5]
//     [--only ingress|relay|turns|saturation|starts|gate|audit|fairness|ledger|memory] [--no-write] [--cpu-prof folder]
import { parseArgs } from 'node:util';
import { provisionServers, type Servers } from '@steward/testkit';
import { createBenchServers, type BenchServers } from './bench-servers.ts';
import { createBenchWorld, type BenchWorld } from './bench-world.ts';
import { describeMachine, readServerFacts, watchNoise, type ServerFacts } from './machine.ts';
import { measureAudit } from './measure-audit.ts';
import { measureFairness } from './measure-fairness.ts';
import { measureGate } from './measure-gate.ts';
import { measureIngress } from './measure-ingress.ts';
import { measureLedger } from './measure-ledger.ts';
import { measureMemory } from './measure-memory.ts';
import { measureRelay } from './measure-relay.ts';
import { measureSaturation } from './measure-saturation.ts';
import { measureStarts } from './measure-starts.ts';
import { measureTurns } from './measure-turns.ts';
import { renderReport, writeReport, type Figures } from './report.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    'round-ms': { type: 'string', default: '5000' },
    messages: { type: 'string', default: '2000' },
    starts: { type: 'string', default: '5' },
    only: { type: 'string' },
    /** Of the ledger that is measured with `--only ledger`. */
    rows: { type: 'string', default: '10000000' },
    /** Of a second, in `turns`. */
    rate: { type: 'string', default: '50' },
    /** As many reach the adapter with `--only memory`. */
    events: { type: 'string', default: '1000000' },
    'cpu-prof': { type: 'string' },
    'no-write': { type: 'boolean', default: false },
  },
});
const say = (line: string) => console.error(`  ${line}`);
const interrupted = new Promise<never>((_resolve, reject) => {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.once(signal, () => reject(new Error(`${signal}: stopped before the end`)));
});
interrupted.catch(() => undefined);

try {
  const provisioned = await provisionServers({ say, durable: true });
  try {
    Object.assign(process.env, provisioned.env);
    await Promise.race([bench(provisioned), interrupted]);
  } finally {
    await provisioned.stop();
  }
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
}
process.exit();

async function bench(provisioned: Servers): Promise<void> {
  const world = createBenchWorld({ rooms: 300, profileFolder: values['cpu-prof'] });
  const noise = watchNoise();
  try {
    // Nobody is asked there while doors and starts are measured.
    world.configure('http://127.0.0.1:1');
    const figures = await measure(provisioned, world);
    const machine = { ...describeMachine(), ...figures.facts, ...noise.stop() };
    const report = renderReport({ ...figures, machine });
    console.log(report);
    if (values.only === undefined && !values['no-write']) await writeReport(report);
    const { lost, duplicated } = figures.turns ?? { lost: 0, duplicated: 0 };
    if (lost + duplicated + (figures.saturation?.lost ?? 0) > 0)
      throw new Error(`${lost} messages were lost, ${duplicated} answered twice`);
  } finally {
    world.remove();
  }
}

/** Each part on a database and a vhost of its own. */
async function measure(
  provisioned: Servers,
  world: BenchWorld,
): Promise<Omit<Figures, 'machine'> & { facts: ServerFacts }> {
  const isChosen = (part: string) => values.only === undefined || values.only === part;
  const common = { provisioned, world, say };
  const onFresh = async <T>(title: string, work: (servers: BenchServers) => Promise<T>): Promise<T> => {
    say(title);
    const servers = await createBenchServers();
    const result = await work(servers);
    await servers.drop();
    return result;
  };
  const facts = await onFresh('versions and settings', readServerFacts);
  const rounds = { rounds: Number(values.rounds), roundMs: Number(values['round-ms']) };
  const ingress = isChosen('ingress')
    ? await onFresh('signed webhooks to durable 200', (servers) => measureIngress({ ...common, ...rounds, servers }))
    : null;
  const starts = isChosen('starts')
    ? await onFresh('start to ready', (servers) => measureStarts({ ...common, servers, starts: Number(values.starts) }))
    : null;
  const relay = isChosen('relay')
    ? await onFresh('outbox rows to confirmed messages', (servers) =>
        measureRelay({ servers, say, rounds: rounds.rounds }),
      )
    : null;
  const pings = { messages: Number(values.messages), perSecond: Number(values.rate), conversations: 100 };
  const turns = isChosen('turns')
    ? await onFresh('message to send', (servers) => measureTurns({ ...common, ...pings, servers }))
    : null;
  const saturation = isChosen('saturation')
    ? await onFresh('all services at their limit, and beyond', (servers) =>
        measureSaturation({ servers, world, say, rounds: rounds.rounds }),
      )
    : null;
  const gate = isChosen('gate')
    ? await onFresh('what the gate costs a call', (servers) => measureGate({ servers, say, rounds: rounds.rounds }))
    : null;
  const audit = isChosen('audit')
    ? await onFresh('audit entries while they are sealed', (servers) => measureAudit({ ...common, ...rounds, servers }))
    : null;
  const fairness = isChosen('fairness')
    ? await onFresh('quiet rooms under a flood', (servers) =>
        measureFairness({ servers, world, say, rounds: rounds.rounds }),
      )
    : null;
  // Minutes of writing rows: only when it is asked for.
  const ledger =
    values.only === 'ledger'
      ? await onFresh('an almost empty ledger', (empty) =>
          onFresh('and one with many rows', (full) =>
            measureLedger({ empty, full, rows: Number(values.rows), ...rounds, say }),
          ),
        )
      : null;
  const memory =
    values.only === 'memory'
      ? await onFresh('memory over many events', (servers) =>
          measureMemory({ servers, world, say, events: Number(values.events) }),
        )
      : null;
  return { facts, ingress, relay, turns, saturation, starts, gate, audit, fairness, ledger, memory };
}
