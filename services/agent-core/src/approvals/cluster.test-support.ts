import { setTimeout as delay } from 'node:timers/promises';
import { sql, type Transaction } from 'kysely';
import type { CardClicked, InboundReceived } from '@steward/contracts';
import { AppError } from '@steward/service-kit';
import {
  buildWorldConfig,
  Crashed,
  endLeases,
  startReplica,
  type Replica,
  type TestDatabase,
  type World,
} from './replicas.test-support.ts';
import { settle } from './steps.test-support.ts';

type Life = Awaited<ReturnType<typeof startReplica>>;
export type KnownRequest = { id: string; code: string; room: string; digest: string; card: string | null };

const replicaCount = 3;
/** Everything must have come to its end this long after the clocks ran out. */
const endLimitMs = 25_000;

/** Three replicas on one database with one world around them; `at` counts them from 0. */
export type Cluster = Awaited<ReturnType<typeof startCluster>>;

/** Numbers from a seed (mulberry32): the same play jitters in the same way. */
export function createRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

export async function startCluster(
  database: TestDatabase,
  pools: readonly ReturnType<TestDatabase['connect']>[],
  seed: number,
) {
  await database.clear();
  const asTime = createClock(database);
  await asTime((trx) => sql`update agent_core.freeze set frozen = false, changed_by = null`.execute(trx));
  const random = createRandom(seed);
  const config = buildWorldConfig();
  const { promise: released, resolve: release } = Promise.withResolvers<null>();
  const world: World = { effects: [], previews: new Map(), version: 1, script: [], released };
  const lives: Life[] = [];
  const past: Promise<void>[] = [];
  const start = async (at: number, before?: { versions: Record<string, number>; variant: Life['variant'] }) => {
    const db = pools[at];
    if (db === undefined) throw new Error('no such replica');
    const versions = before?.versions ?? {};
    // With policies that do not load a replica does not start: somebody has mended them.
    const kept = before?.variant() ?? 'shipped';
    const variant = kept === 'broken' ? 'shipped' : kept;
    const life = await startReplica({ db, world, config, random, versions, variant });
    lives[at] = Object.assign(life, { versions });
  };
  for (let at = 0; at < replicaCount; at += 1) await start(at);
  const rows = <T = Record<string, unknown>>(text: string) => database.rows<T>(text);
  const sequences = new Map<string, number>();
  const told = new Set<string>();
  let crashes = 0;
  let reviving: Promise<void> = Promise.resolve();

  /** Whoever is dead comes back, and the turns that it held are free. */
  const revive = () => {
    reviving = reviving.then(async () => {
      for (const [at, life] of lives.entries()) {
        if (!life.isDead()) continue;
        crashes += 1;
        past.push(life.stop());
        await endLeases(database, life.claims);
        const { versions } = life as Life & { versions: Record<string, number> };
        await start(at, { versions: { ...versions }, variant: life.variant });
      }
    });
    return reviving;
  };
  const replicaAt = (at: number): Life => {
    const life = lives[at % replicaCount];
    if (life === undefined) throw new Error('no such replica');
    return life;
  };
  const wakeAll = () => lives.forEach((life) => life.wake());

  const cluster = {
    database,
    world,
    delivered: [] as (InboundReceived | CardClicked)[],
    /** Presses that nobody may count: of another card, digest, place, app or organisation. */
    forged: new Set<string>(),
    replays: 0,
    /** When the end of the play opened the switch, which no entry tells. */
    thawedAt: [] as string[],
    crashes: () => crashes,
    sql: rows,
    asTime,
    /** The clock that a request stands under runs out now. The locks come first: nobody comes between the clock and its hand. */
    runOut: (id: string): Promise<void> =>
      asTime(async (trx) => {
        await sql`select from agent_core.tool_grant where approval_request_id = ${id} for update`.execute(trx);
        await sql`select from agent_core.approval_request where id = ${id} for update`.execute(trx);
        await sql`update agent_core.tool_grant set run_by = least(run_by, clock_timestamp())
          where approval_request_id = ${id} and consumed_at is null`.execute(trx);
        await sql`update agent_core.approval_request r set
            approve_by = case when status = 'pending' then least(approve_by, clock_timestamp()) else approve_by end,
            run_by = (select g.run_by from agent_core.tool_grant g where g.approval_request_id = r.id)
          where id = ${id} and status in ('pending', 'approved')`.execute(trx);
      }),
    wakeAll,
    revive,
    nextSequence: (room: string) => {
      const sequence = (sequences.get(room) ?? 0) + 1;
      sequences.set(room, sequence);
      return sequence;
    },
    /** The request with that number, counted round, open ones first; null before there is any. */
    request: async (number: number): Promise<KnownRequest | null> => {
      const known = await rows<KnownRequest>(
        `select r.id, r.code, r.conversation_id as room, encode(r.digest, 'hex') as digest,
           (select out_track_id from agent_core.approval_place p where p.request_id = r.id
            order by (p.kind <> 'room') = ${number % 2 === 1} limit 1) as card
         from agent_core.approval_request r
         order by r.status in ('pending', 'approved') desc, r.created_at desc, r.id limit 4`,
      );
      return known[number % Math.max(1, known.length)] ?? null;
    },
    /** Does it at a replica; where that one dies over it, at another, until it is done. */
    onSomeReplica: async (at: number, work: (replica: Replica) => Promise<void>): Promise<void> => {
      for (let tries = 0; tries < 20; tries += 1) {
        try {
          await work(replicaAt(at + tries));
          wakeAll();
          return;
        } catch (error) {
          if (!(error instanceof Crashed) && !isPassing(error)) throw error;
          await revive();
        }
      }
      throw new Error('no replica took it');
    },
    someOf: async (o: { at: number; everywhere: boolean }, work: (replica: Replica) => Promise<void> | void) => {
      for (const life of o.everywhere ? lives : [replicaAt(o.at)])
        await Promise.resolve(work(life)).catch((error: unknown) => {
          if (!(error instanceof Crashed)) throw error;
        });
    },
    crash: (o: { at: number; statements: number; moment: 'before' | 'after' }): void => replicaAt(o.at).crashAt(o),
    /** The next burst waits, mostly, until nothing is due: otherwise everybody decides before anybody asked. */
    breathe: async (o: { always: boolean }): Promise<void> => {
      if (!o.always && random() < 0.4) return;
      for (let looks = 0; looks < 12; looks += 1) {
        await revive();
        wakeAll();
        await delay(5 + 15 * random());
        const [work] = await rows<{ isDue: boolean }>(isWorkDue);
        if (work?.isDue !== true) return;
      }
    },
    /** What calls asked outbound-sender for is an effect too; the rows are gone once it is settled. */
    noteTold: async () => {
      const asked = await rows<{ id: string; call: string; text: string }>(
        `select message #>> '{body,outboundMessageId}' as id, message ->> 'causationId' as call,
           message #>> '{body,content,text}' as text
         from agent_core.outbox where message #>> '{body,lane}' = 'bulk'`,
      );
      for (const { id, call, text } of asked) {
        if (told.has(id)) continue;
        told.add(id);
        world.effects.push({
          tool: 'say',
          args: { service: JSON.parse(text) as string },
          key: `steward-${call}`,
          definitionHash: '',
          preview: null,
        });
      }
    },
    /** Lets everything come to its end: nothing hangs or dies any more, the switch is open, then every clock runs out. */
    finish: async (): Promise<string[]> => {
      release(null);
      world.script.length = 0;
      lives.forEach((life) => life.crashAt({ statements: Infinity, moment: 'before' }));
      await revive();
      await Promise.all(past);
      for (const life of lives) await life.setPolicy('shipped');
      const thawed = await rows<{ at: string }>(
        `update agent_core.freeze set frozen = false, changed_by = 'the end' where frozen returning to_jsonb(clock_timestamp()) as at`,
      );
      cluster.thawedAt.push(...thawed.map(({ at }) => at));
      const deadline = performance.now() + endLimitMs;
      let left: string[] = ['everything'];
      for (let round = 0; left.length > 0 && performance.now() < deadline; round += 1) {
        await moveClocks(cluster, round);
        await settle(cluster, round, 'accepted');
        wakeAll();
        await delay(30);
        left = await findOpen(rows);
      }
      await Promise.all(lives.map((life) => life.stop()));
      await cluster.noteTold();
      return left;
    },
  };
  return cluster;
}

/** Whether anything could go on now: a turn whose lane is free, one that is worked on (but no call that hangs), or a click. */
const isWorkDue = `select exists (
    select from agent_core.turn t where t.status = 'queued' and t.next_attempt_at <= now() and not exists (
      select from agent_core.turn r where r.status = 'running'
        and (r.robot_code, r.conversation_id, r.lane) = (t.robot_code, t.conversation_id, t.lane)))
  or exists (
    select from agent_core.turn t where t.status = 'running' and not exists (
      select from agent_core.tool_call c join agent_core.tool_attempt a on a.tool_call_id = c.id
      where c.turn_id = t.id and a.closed_at is null))
  or exists (select from agent_core.card_click where decided_at is null) as "isDue"`;

/** Errors that pass by themselves: deadlocks that the database resolved, replicas that disagree about policies for a moment. */
const isPassing = (error: unknown): boolean =>
  (error instanceof AppError && error.retryable) || (error as { code?: string }).code === '40P01';

/** Time itself is under no rule: triggers are off for this one transaction of the superuser. */
function createClock(database: TestDatabase) {
  return async (work: (trx: Transaction<unknown>) => Promise<unknown>): Promise<void> => {
    for (let tries = 0; ; tries += 1) {
      try {
        await database.admin.transaction().execute(async (trx) => {
          await sql`set local session_replication_role = replica`.execute(trx);
          await work(trx);
        });
        return;
      } catch (error) {
        if ((error as { code?: string }).code !== '40P01' || tries > 5) throw error;
      }
    }
  };
}

/** Waiting times are over at once; after some rounds, so is everybody's time to decide and to run. */
async function moveClocks(cluster: Cluster, round: number): Promise<void> {
  await cluster.sql(
    `update agent_core.turn set next_attempt_at = now() where status in ('queued', 'waiting') and next_attempt_at > now()`,
  );
  if (round < 10) return;
  const open = await cluster.sql<{ id: string }>(
    `select id from agent_core.approval_request where status in ('pending', 'approved') order by created_at`,
  );
  for (const { id } of open) await cluster.runOut(id);
  // Longer than any tool may take: what a stopped turn had begun is given up on.
  await cluster.asTime((trx) =>
    sql`update agent_core.tool_attempt set opened_at = opened_at - interval '1 hour'
      where closed_at is null and opened_at > now() - interval '5 minutes'
        and exists (select from agent_core.tool_call c join agent_core.turn t on t.id = c.turn_id
          where c.id = tool_call_id and t.status in ('done', 'failed'))`.execute(trx),
  );
}

async function findOpen(rows: TestDatabase['rows']): Promise<string[]> {
  const open = await rows<{ what: string }>(`
    select 'turn ' || status || ' ' || (inbound #>> '{content,text}') as what from agent_core.turn where status not in ('done', 'failed')
    union all select 'call ' || status || ' ' || tool from agent_core.tool_call where ended_at is null
    union all select 'request ' || status from agent_core.approval_request where status in ('pending', 'approved')
    union all select 'attempt of ' || tool_call_id from agent_core.tool_attempt where closed_at is null
    union all select 'click' from agent_core.card_click where decided_at is null
    union all select 'operator ' || verb from agent_core.operator_request where answered_at is null`);
  return open.map(({ what }) => what);
}
