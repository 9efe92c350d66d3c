import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { format } from 'prettier';
import { root } from './bench-process.ts';
import type { Machine } from './machine.ts';
import type { AuditFigures } from './measure-audit.ts';
import type { FairnessFigures } from './measure-fairness.ts';
import type { GateFigures } from './measure-gate.ts';
import { variants, type IngressFigures } from './measure-ingress.ts';
import type { LedgerFigures } from './measure-ledger.ts';
import type { MemoryFigures } from './measure-memory.ts';
import type { RelayFigures } from './measure-relay.ts';
import type { SaturationFigures } from './measure-saturation.ts';
import type { StartFigures } from './measure-starts.ts';
import { services, type TurnFigures } from './measure-turns.ts';
import { spread } from './statistics.ts';

const begin = '<!-- figures of `make bench`: begin -->';
const end = '<!-- figures of `make bench`: end -->';
const file = path.join(root, 'docs/benchmarks.md');

/** Goals: the ratio to no I/O is 0.75, and 0.70 with the audit entry in the transaction, which it has. */
const goals = {
  toNoIo: 0.7,
  toNaive: 1.5,
  readyMs: 3_000,
  rssMb: 150,
  sealedP99: 1.1,
  sealedWithinSeconds: 5,
  floodRatio: 1.25,
  relayedPerSecond: 5_000,
  turnsPerSecond: 300,
  goodput: 0.9,
};
/** Above either, somebody else was working on the machine, and the figures say less. */
const noisy = { load: 1, stolen: 0.05 };

/** What was measured; null for a part that was left out. */
export type Figures = {
  machine: Machine;
  ingress: IngressFigures | null;
  relay: RelayFigures | null;
  saturation: SaturationFigures | null;
  memory: MemoryFigures | null;
  turns: TurnFigures | null;
  starts: StartFigures | null;
  gate: GateFigures | null;
  audit: AuditFigures | null;
  fairness: FairnessFigures | null;
  ledger: LedgerFigures | null;
};

/** The figures of one run as Markdown. Pure. */
export function renderReport(o: Figures): string {
  const { ingress, relay, turns, saturation, starts, gate, audit, fairness, ledger, memory } = o;
  const parts = [
    ingress && renderIngress(ingress),
    relay && renderRelay(relay),
    turns && renderTurns(turns),
    saturation && renderSaturation(saturation),
    starts && renderStarts(starts, turns),
    gate && renderGate(gate),
    audit && renderAudit(audit),
    fairness && renderFairness(fairness),
    ledger && renderLedger(ledger),
    memory && renderMemory(memory),
  ];
  return [renderMachine(o), ...parts.filter((part) => part !== null)].join('\n\n');
}

/** Puts the figures between the two marks of docs/benchmarks.md. Rejects when the marks are not there. */
export async function writeReport(report: string): Promise<void> {
  const text = await readFile(file, 'utf8');
  const [from, to] = [text.indexOf(begin), text.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`docs/benchmarks.md has lost its marks: ${begin} … ${end}`);
  const whole = `${text.slice(0, from + begin.length)}\n\n${report}\n\n${text.slice(to)}`;
  await writeFile(file, await format(whole, { parser: 'markdown', printWidth: 120 }));
}

function renderMachine({ machine: m, ingress }: Figures): string {
  const yardstick = ingress && spread(ingress.rounds.map((round) => round['no I/O'].perSecond));
  const isNoisy = m.loadBefore > noisy.load || m.stolenShare > noisy.stolen;
  return [
    `Measured ${m.date} on ${m.cores} × ${m.cpu}, ${m.memoryGb} GB; Node ${m.node.slice(1)}, PostgreSQL ${m.postgres}`,
    `(${m.durability}), RabbitMQ ${m.rabbitmq}. Servers, services and load generator share the machine.`,
    `Load average before the run ${m.loadBefore.toFixed(2)}, CPU time taken by the host ${percent(m.stolenShare)}.`,
    ...(yardstick === null ? [] : [`Rounds of the same program were up to ${percent(yardstick)} apart.`]),
    isNoisy ? '**The machine was noisy: other work ran beside the bench.**' : 'Nothing else ran.',
  ].join('\n');
}

function renderIngress({ figures, rounds, connections, toNoIo, toNaive, awayToNoIo, recorded, cpuMs }: IngressFigures) {
  const names = {
    adapter: 'adapter: ledger row, outbox row and audit entry committed',
    'broker away': 'adapter while its broker is away: the same commits, nothing published',
    'no I/O': 'the same app without I/O',
    naive: 'the same app, one transaction with an INSERT and one confirm for each request',
  };
  const rows = variants.map((variant) => {
    const { perSecond, p50Ms, p99Ms, spread: apart } = figures[variant];
    return [names[variant], Math.round(perSecond), p50Ms.toFixed(1), p99Ms.toFixed(1), percent(apart)];
  });
  const ratios = rounds.map((round) => (round.adapter.perSecond / round['no I/O'].perSecond).toFixed(2));
  const programs = Object.keys(cpuMs.adapter);
  const cpuRows = programs.map((name) => [name, ...variants.map((variant) => renderMs(cpuMs[variant][name], 2))]);
  return [
    '### Signed webhooks to durable 200',
    `Closed loop, ${connections} connections, ${rounds.length} rounds, medians.`,
    table(['', 'req/s', 'p50 ms', 'p99 ms', 'spread'], rows),
    table(
      ['ratio (median of the rounds)', 'measured', 'goal', ''],
      [
        [
          'adapter / no I/O',
          toNoIo.toFixed(2),
          `≥ ${goals.toNoIo} (audit entry included)`,
          verdict(toNoIo >= goals.toNoIo),
        ],
        ['adapter with its broker away / no I/O', awayToNoIo.toFixed(2), '', ''],
        ['adapter / naive', toNaive.toFixed(2), `≥ ${goals.toNaive}`, verdict(toNaive >= goals.toNaive)],
      ],
    ),
    table(['CPU ms for one request', ...variants], cpuRows),
    `Adapter / no I/O by round: ${ratios.join(', ')}.  ${recorded} messages were answered 200, and as many are in the ledger.`,
  ].join('\n\n');
}

function renderRelay(r: RelayFigures): string {
  return [
    '### Outbox rows to confirmed messages',
    `${r.rounds.length} rounds of ${r.rows} rows each, medians; the yardstick publishes the same messages in the same batches, without a database.`,
    table(
      ['', 'measured', 'goal', ''],
      [
        [
          'confirmed/s',
          Math.round(r.perSecond),
          `≥ ${goals.relayedPerSecond}`,
          verdict(r.perSecond >= goals.relayedPerSecond),
        ],
        ['relay / publishing alone', r.ratio.toFixed(2), '', ''],
      ],
    ),
  ].join('\n\n');
}

function renderSaturation(s: SaturationFigures): string {
  const rows = s.rounds.map((round, at) => [
    at + 1,
    Math.round(round.peakPerSecond),
    Math.round(round.goodputPerSecond),
    (round.goodputPerSecond / round.peakPerSecond).toFixed(2),
    round.refused,
    Math.round(round.recoveredMs),
  ]);
  return [
    '### All services at their limit, and beyond',
    `\`/ping\` in 300 rooms: as fast as they are answered (peak), then ${s.factor} times as many by the clock. The generator and the simulated platform take their share of the same cores. ${s.lost} acknowledged messages were lost.`,
    table(['round', 'peak turns/s', 'goodput/s', 'ratio', 'refused by the doors', 'worked off after ms'], rows),
    table(
      ['', 'measured', 'goal', ''],
      [
        [
          'turns/s',
          Math.round(s.peakPerSecond),
          `≥ ${goals.turnsPerSecond}`,
          verdict(s.peakPerSecond >= goals.turnsPerSecond),
        ],
        ['goodput / peak', s.ratio.toFixed(2), `≥ ${goals.goodput}`, verdict(s.ratio >= goals.goodput)],
      ],
    ),
  ].join('\n\n');
}

function renderMemory(m: MemoryFigures): string {
  return [
    '### Memory over many events',
    `RSS of one adapter while it records ${m.events} messages.`,
    table(
      ['events', 'MiB'],
      m.readings.map(({ events, rssMb }) => [events, Math.round(rssMb)]),
    ),
  ].join('\n\n');
}

function renderTurns(t: TurnFigures): string {
  const total = Object.values(t.cpuSeconds).every((seconds) => seconds !== null)
    ? Object.values(t.cpuSeconds).reduce<number>((sum, seconds) => sum + (seconds ?? 0), 0)
    : null;
  const cpu = [...Object.entries(t.cpuSeconds), ['all together', total] as const];
  return [
    '### Message to send, all three services',
    `${t.messages} \`/ping\` messages, ${t.perSecond} a second by the clock (open loop), ${t.conversations} group rooms; from the moment a message is due to the moment the simulated platform takes the answer.`,
    table(
      ['p50 ms', 'p95 ms', 'p99 ms', 'max ms', 'lost', 'duplicated'],
      [[...[t.p50Ms, t.p95Ms, t.p99Ms, t.maxMs].map((ms) => Math.round(ms)), t.lost, t.duplicated]],
    ),
    table(
      ['CPU for one turn', 'ms'],
      cpu.map(([name, seconds]) => [name, renderMs(seconds && seconds * 1_000, 1)]),
    ),
    table(
      ['statements for one turn', ''],
      [
        ...Object.entries(t.statements),
        ['all together', Object.values(t.statements).reduce((sum, made) => sum + made, 0)] as const,
      ].map(([name, made]) => [name, made.toFixed(1)]),
    ),
    'Both include what each program does anyway during that time; BEGIN and COMMIT count as statements.',
  ].join('\n\n');
}

function renderStarts(starts: StartFigures, turns: TurnFigures | null): string {
  const rows = services.map((service) => {
    const { readyMs, rssMb } = starts[service];
    const after = turns?.rssMb[service] ?? Number.NaN;
    const good = readyMs <= goals.readyMs && rssMb <= goals.rssMb && after <= goals.rssMb;
    return [service, Math.round(readyMs), Math.round(rssMb), Math.round(after), verdict(good)];
  });
  return [
    '### Start and memory',
    `Medians of the starts, from spawning the process to 200 on /readyz. Goals: ≤ ${goals.readyMs} ms, ≤ ${goals.rssMb} MiB.`,
    table(['', 'ready ms', 'RSS MiB when ready', 'RSS MiB after the messages above', ''], rows),
  ].join('\n\n');
}

function renderGate(g: GateFigures): string {
  return [
    '### A call through the gate',
    `${g.rounds.length} rounds of ${g.callsEach} calls each, one after the other, of a tool that does nothing; medians. A read is three transactions, verdict, attempt and result, each with its audit entry; a write up to its request is one more row, its places and the messages to them.`,
    table(
      ['', 'ms'],
      [
        ['the verdict alone (two questions to Cedar)', g.judgeMs.toFixed(2)],
        ['yardstick: one transaction that inserts one row', g.commitMs.toFixed(2)],
        ['a read, from proposal to result', g.readMs.toFixed(1)],
        ['the same, p99', g.readP99Ms.toFixed(1)],
        ['a write, from proposal to request', g.askMs.toFixed(1)],
        ['a read in yardsticks', g.readInCommits.toFixed(1)],
      ],
    ),
  ].join('\n\n');
}

function renderAudit(a: AuditFigures): string {
  const rows = a.rounds.map(({ unsealed, sealed, oldestUnsealedSeconds }, at) => [
    at + 1,
    unsealed.p99Ms.toFixed(1),
    sealed.p99Ms.toFixed(1),
    (sealed.p99Ms / unsealed.p99Ms).toFixed(2),
    oldestUnsealedSeconds.toFixed(1),
  ]);
  return [
    '### Audit entries while they are sealed',
    `${a.perSecond} entries a second by the clock, ${a.entriesEach} in a statement, without a sealer and with one in each round.`,
    table(['round', 'p99 ms without', 'p99 ms sealing', 'ratio', 'sealed within s'], rows),
    table(
      ['', 'measured', 'goal', ''],
      [
        [
          'p99 while sealing / without',
          a.p99Ratio.toFixed(2),
          `≤ ${goals.sealedP99}`,
          verdict(a.p99Ratio <= goals.sealedP99),
        ],
        [
          'sealed within',
          `${a.sealedWithinSeconds.toFixed(1)} s`,
          `≤ ${goals.sealedWithinSeconds} s`,
          verdict(a.sealedWithinSeconds <= goals.sealedWithinSeconds),
        ],
      ],
    ),
  ].join('\n\n');
}

function renderFairness(f: FairnessFigures): string {
  const rows = f.rounds.map(({ calmP95Ms, floodP95Ms, floodWorked }, at) => [
    at + 1,
    calmP95Ms.toFixed(1),
    floodP95Ms.toFixed(1),
    (floodP95Ms / calmP95Ms).toFixed(2),
    floodWorked,
  ]);
  return [
    '### Quiet rooms under a flood',
    `${f.perSecond} messages a second over ${f.quietRooms} rooms, by the clock, one agent-core; in each round once in calm and once with ${f.flood} turns of another room before them. From the recording of a message to the claim of its turn.`,
    table(['round', 'p95 ms calm', 'p95 ms under flood', 'ratio', 'of the flood worked on'], rows),
    table(
      ['', 'measured', 'goal', ''],
      [['p95 under flood / calm', f.ratio.toFixed(2), `≤ ${goals.floodRatio}`, verdict(f.ratio <= goals.floodRatio)]],
    ),
  ].join('\n\n');
}

function renderLedger(l: LedgerFigures): string {
  const rows = l.rounds.map(({ empty, full, retiring, retired }, at) => [
    at + 1,
    ...[empty, full, retiring].map(({ p50Ms, p99Ms }) => `${p50Ms.toFixed(1)} / ${p99Ms.toFixed(1)}`),
    Math.round(empty.perSecond),
    Math.round(full.perSecond),
    retired,
  ]);
  return [
    '### The ledger with many rows',
    `The recorder alone, ${l.lanes} messages in hand, one in five a redelivery: on an almost empty ledger, on one with ${l.rows} rows, and on the same while rows older than 30 days are deleted. ${l.refused} redeliveries of rows of the full ledger were refused, ${l.accepted} were not.`,
    table(
      [
        'round',
        'p50 / p99 ms almost empty',
        'full',
        'full, deleting',
        'messages/s almost empty',
        'full',
        'rows deleted',
      ],
      rows,
    ),
    table(
      ['ratio (median of the rounds)', 'measured'],
      [
        ['p99 full / almost empty', l.p99Ratio.toFixed(2)],
        ['p99 full while deleting / almost empty', l.retiringP99Ratio.toFixed(2)],
      ],
    ),
  ].join('\n\n');
}

function table(head: string[], rows: readonly (readonly (string | number)[])[]): string {
  const line = (cells: readonly (string | number)[]) => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

const renderMs = (ms: number | null | undefined, digits: number): string =>
  ms === null || ms === undefined ? 'not our process' : ms.toFixed(digits);
const percent = (share: number): string => `${Math.round(share * 100)} %`;
const verdict = (met: boolean): string => (met ? 'met' : 'missed');
