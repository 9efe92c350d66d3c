import { createHash, randomUUID } from 'node:crypto';
import { createPostgres, retentionPace } from '@steward/postgres';
import type { AdapterTables } from '../../services/adapter/src/database.ts';
import { createInboundRecorder, type InboundRecorder } from '../../services/adapter/src/record-inbound.ts';
import { retireEvents } from '../../services/adapter/src/retire-events.ts';
import { buildInbound, silentLog } from '../../services/adapter/src/testing.ts';
import { pause } from './bench-process.ts';
import type { BenchServers } from './bench-servers.ts';
import { median, percentile } from './statistics.ts';

type Latency = { perSecond: number; p50Ms: number; p99Ms: number };
export type LedgerRound = { empty: Latency; full: Latency; retiring: Latency; retired: number };
export type LedgerFigures = {
  rounds: LedgerRound[];
  rows: number;
  lanes: number;
  /** Medians over the rounds, each of a ratio within its round. */
  p99Ratio: number;
  retiringP99Ratio: number;
  seedSeconds: number;
  /** Every redelivery of a row of the full ledger was refused. */
  refused: number;
  accepted: number;
};

/** Messages in hand at once. */
const lanes = 20;
/** One in so many is a redelivery, of any age the ledger has. */
const redeliveryEvery = 5;
/** A fifth of the rows is older than 30 days: what retention finds to do. */
const oldShare = 0.2;
const seedRows = 500_000;
const robotCode = 'dingledger';

/**
 * The adapter's recorder on an almost empty ledger, on one with many rows, and on the same while old rows are deleted, by turns
 * in each round: what a message waits for its commit. The rows are written by SQL, as recording writes them.
 */
export async function measureLedger(o: {
  empty: BenchServers;
  full: BenchServers;
  rows: number;
  rounds: number;
  roundMs: number;
  say: (line: string) => void;
}): Promise<LedgerFigures> {
  const seededAt = performance.now();
  await seed(o.full, o.rows, o.say);
  const seedSeconds = (performance.now() - seededAt) / 1_000;
  const [empty, full] = [connect(o.empty), connect(o.full)];
  const counts = { refused: 0, accepted: 0 };
  try {
    const own: string[] = [];
    const measureEmpty = () =>
      measure(empty.recorder, o.roundMs, {
        pick: () => own[Math.floor(Math.random() * own.length)],
        own,
        counts: null,
      });
    const pick = () =>
      `seed-${Math.floor(o.rows * oldShare) + 1 + Math.floor(Math.random() * o.rows * (1 - oldShare))}`;
    const measureFull = () => measure(full.recorder, o.roundMs, { pick, own: null, counts });
    await measureEmpty();
    await measureFull();
    const rounds: LedgerRound[] = [];
    for (let number = 1; number <= o.rounds; number += 1) {
      const round = {
        empty: await measureEmpty(),
        full: await measureFull(),
        ...(await whileRetiring(full.db, measureFull)),
      };
      rounds.push(round);
      o.say(
        `round ${number}: p99 ${round.empty.p99Ms.toFixed(1)} ms empty, ${round.full.p99Ms.toFixed(1)} ms full, ${round.retiring.p99Ms.toFixed(1)} ms while ${round.retired} rows went`,
      );
    }
    return {
      ...{ rounds, rows: o.rows, lanes, seedSeconds, ...counts },
      p99Ratio: median(rounds.map((round) => round.full.p99Ms / round.empty.p99Ms)),
      retiringP99Ratio: median(rounds.map((round) => round.retiring.p99Ms / round.empty.p99Ms)),
    };
  } finally {
    await Promise.all([empty.close(), full.close()]);
  }
}

function connect(servers: BenchServers) {
  const url = servers.database.url('steward_adapter');
  const database = createPostgres<AdapterTables>({ url, schema: 'adapter', poolSize: 4, log: silentLog });
  const recorder = createInboundRecorder({
    db: database.db,
    onCommitted: () => undefined,
    onAltered: () => undefined,
  });
  return { db: database.db, recorder, close: () => database.close() };
}

/** Rows of the last 37 days in the order of their birth, the oldest first; keys are built once, after the rows are there. */
async function seed({ sql }: BenchServers, rows: number, say: (line: string) => void): Promise<void> {
  const hash = createHash('sha256').update('seed').digest('hex');
  await sql(`alter table adapter.inbound_event drop constraint inbound_event_pkey,
    drop constraint inbound_event_source_id_source_kind_key, drop constraint inbound_event_conversation_id_source_sequence_key`);
  for (let from = 1; from <= rows; from += seedRows) {
    const to = Math.min(rows, from + seedRows - 1);
    await sql(`
      insert into adapter.inbound_event (id, kind, source, source_id, conversation_id, sequence, correlation_id, door, body_hash,
        first_seen_at, last_seen_at, settled_at)
      select (left(adapter.first_id_of(at)::text, 13) || right(gen_random_uuid()::text, 23))::uuid, 'robot_message', '${robotCode}',
        'seed-' || n, 'cid-' || n % 1000, n / 1000 + 1, gen_random_uuid(), 'http', decode('${hash}', 'hex'), at, at, at
      from generate_series(${from}, ${to}) n,
        lateral (select case when n <= ${rows * oldShare} then now() - interval '37 days' + n * (interval '6 days' / ${rows * oldShare})
          else now() - interval '29 days' + (n - ${rows * oldShare}) * (interval '29 days' / ${rows * (1 - oldShare)}) end as at) a`);
    say(`${to} rows`);
  }
  await sql(`alter table adapter.inbound_event add constraint inbound_event_pkey primary key (id),
    add constraint inbound_event_source_id_source_kind_key unique (source_id, source, kind),
    add constraint inbound_event_conversation_id_source_sequence_key unique (conversation_id, source, sequence)`);
  await sql(`insert into adapter.conversation_counter (robot_code, conversation_id, last_sequence)
    select source, conversation_id, max(sequence) from adapter.inbound_event group by 1, 2`);
  await sql('vacuum (analyze) adapter.inbound_event');
  await sql('checkpoint');
}

type Choice = {
  /** A known id to be delivered again, if there is one. */
  pick: () => string | undefined;
  own: string[] | null;
  counts: { refused: number; accepted: number } | null;
};

async function measure(recorder: InboundRecorder, roundMs: number, o: Choice): Promise<Latency> {
  const latencies: number[] = [];
  const startedAt = performance.now();
  const lane = async () => {
    for (let number = 1; performance.now() - startedAt < roundMs; number += 1) {
      const known = number % redeliveryEvery === 0 ? o.pick() : undefined;
      const sourceId = known ?? `msg-${randomUUID()}`;
      const inbound = buildInbound({
        source: robotCode,
        sourceId,
        conversationId: `cid-${Math.floor(Math.random() * 1_000)}`,
        bodyHashHex: createHash('sha256').update('seed').digest('hex'),
      });
      const begunAt = performance.now();
      const { duplicate } = await recorder.record(inbound);
      latencies.push(performance.now() - begunAt);
      if (known === undefined) o.own?.push(sourceId);
      else if (o.counts !== null) o.counts[duplicate ? 'refused' : 'accepted'] += 1;
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  const seconds = (performance.now() - startedAt) / 1_000;
  return {
    perSecond: latencies.length / seconds,
    p50Ms: percentile(latencies, 0.5),
    p99Ms: percentile(latencies, 0.99),
  };
}

/** At the pace of the retention loop. */
async function whileRetiring(
  db: ReturnType<typeof connect>['db'],
  measureFull: () => Promise<Latency>,
): Promise<{ retiring: Latency; retired: number }> {
  const state = { isOver: false, retired: 0 };
  const retire = async () => {
    while (!state.isOver) {
      state.retired += await retireEvents(db, retentionPace.rows);
      await pause(retentionPace.pauseMs);
    }
  };
  const work = retire();
  const retiring = await measureFull();
  state.isOver = true;
  await work;
  return { retiring, retired: state.retired };
}
