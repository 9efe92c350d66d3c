import { sql } from 'kysely';
import { createLoop, newId, type Logger, type Loop, type Metrics } from '@steward/service-kit';
import type { StreamStatus } from '@steward/dingtalk';
import { appendAudit, tell, type Db, type Trx } from '@steward/postgres';
import type { AdapterTables } from './database.ts';
import type { Robot } from './robots.ts';

/** The Stream link of a robot in this process: all of its connections. */
export type StreamLink = { robot: Pick<Robot, 'code' | 'name' | 'environment'>; status(): StreamStatus };

const tickMs = 1_000;
const beatMs = 5_000;
/** A process whose row is older than this has no connection any more; a gap across a start is known no better than this. */
const staleSeconds = 12;
const keptDays = 1;

type Watched = StreamLink & {
  /** Null: it can be heard. `unknown`: this process never heard it yet. */
  deafSinceMs: number | 'unknown' | null;
  beatAtMs: number;
  /** Its row says that it can be heard. */
  isHeard: boolean;
};

/**
 * Keeps book of when each robot could be heard by Stream, over all processes. When a link comes back the time without one is
 * recorded and audited; if no other process could hear the robot and it was longer than `noticeAfterSeconds`, agent-core is asked to
 * tell the rooms that were active: the platform does not deliver again what it could not deliver (protocol: Stream, redelivery).
 */
export function createLinkWatch(o: {
  db: Db<AdapterTables>;
  links: readonly StreamLink[];
  noticeAfterSeconds: number;
  log: Logger;
  metrics: Metrics;
  now: () => Date;
  onTold: () => void;
}): Loop {
  const processId = newId();
  const gaps = o.metrics.counter('steward_stream_gap_total', 'Times without a Stream connection in a process', [
    'robot',
    'covered',
  ]);
  const connected = o.metrics.gauge('steward_stream_connected', '1 while pushes can arrive by Stream', ['robot']);
  const watched: Watched[] = o.links.map((link) => ({ ...link, deafSinceMs: 'unknown', beatAtMs: 0, isHeard: false }));

  const look = async (link: Watched): Promise<void> => {
    const status = link.status();
    const nowMs = o.now().getTime();
    connected.set({ robot: link.robot.name }, status.connected ? 1 : 0);
    if (!status.connected) {
      // It may have been heard for less than a tick: what the connection knows of its end counts then.
      if (link.deafSinceMs === null || (link.deafSinceMs === 'unknown' && status.deafSinceMs !== null))
        link.deafSinceMs = status.deafSinceMs ?? nowMs;
      // Nobody shall count on this process any more.
      if (link.isHeard) await beat(o.db, link, processId, { isDeaf: true });
      link.isHeard = false;
      return;
    }
    if (link.deafSinceMs !== null) {
      const deafMs = link.deafSinceMs === 'unknown' ? null : nowMs - link.deafSinceMs;
      const gap = await o.db.transaction().execute((trx) => recordLinkUp(trx, { ...o, link, processId, deafMs }));
      link.deafSinceMs = null;
      link.beatAtMs = nowMs;
      link.isHeard = true;
      if (gap === null) return;
      gaps.inc({ robot: link.robot.name, covered: String(gap.isCovered) });
      o.log.warn('stream.gap', { robot: link.robot.name, ...gap });
      if (gap.isTold) o.onTold();
    } else if (nowMs - link.beatAtMs >= beatMs) {
      await beat(o.db, link, processId, { isDeaf: false });
      link.beatAtMs = nowMs;
    }
  };

  const loop = createLoop({
    name: 'stream links',
    idleMs: tickMs,
    log: o.log,
    run: async () => {
      for (const link of watched) await look(link);
      return 'idle';
    },
  });
  return {
    start: () => loop.start(),
    wake: () => loop.wake(),
    stop: async () => {
      await loop.stop();
      try {
        for (const link of watched) if (link.isHeard) await beat(o.db, link, processId, { isDeaf: true });
      } catch (error) {
        o.log.warn('stream.goodbye.failed', { error });
      }
    },
  };
}

/** Says that this process is there, and whether it hears the robot. */
async function beat(
  db: Db<AdapterTables> | Trx<AdapterTables>,
  link: StreamLink,
  processId: string,
  { isDeaf }: { isDeaf: boolean },
): Promise<void> {
  await sql`
    insert into adapter.stream_link as l (robot_code, process_id, connection_ids, is_deaf)
    values (${link.robot.code}, ${processId}, ${link.status().connectionIds}::text[], ${isDeaf})
    on conflict (robot_code, process_id) do update set alive_at = now(), connection_ids = excluded.connection_ids, is_deaf = excluded.is_deaf`.execute(
    db,
  );
}

type Gap = { gapId: string; from: string; to: string; isCovered: boolean; isTold: boolean };

async function recordLinkUp(
  trx: Trx<AdapterTables>,
  o: { link: StreamLink; processId: string; deafMs: number | null; noticeAfterSeconds: number; now: () => Date },
): Promise<Gap | null> {
  const { robot } = o.link;
  // Processes that come back together go one after the other: only the first finds nobody else there.
  await sql`select pg_advisory_xact_lock(hashtextextended('adapter.stream_link ' || ${robot.code}, 0))`.execute(trx);
  const { rows } = await sql<{ from_at: Date | null; to_at: Date; seconds: number | null; is_covered: boolean }>`
    select g.from_at, now() as to_at, extract(epoch from now() - g.from_at)::float8 as seconds, coalesce(l.is_covered, false) as is_covered
    from (
      select max(alive_at) as last_alive_at,
        bool_or(process_id <> ${o.processId} and not is_deaf and alive_at > now() - ${staleSeconds} * interval '1 s') as is_covered
      from adapter.stream_link where robot_code = ${robot.code}
    ) l
    cross join lateral (
      select case when ${o.deafMs}::float8 is null then l.last_alive_at else now() - ${o.deafMs}::float8 * interval '1 ms' end as from_at
    ) g`.execute(trx);
  await beat(trx, o.link, o.processId, { isDeaf: false });
  await sql`
    delete from adapter.stream_link
    where robot_code = ${robot.code} and alive_at < now() - ${keptDays} * interval '1 day'`.execute(trx);
  const [row] = rows;
  if (row?.from_at == null || row.seconds === null) return null;
  // Across a start the last sign of life may be as old as that without any gap.
  if (row.seconds < (o.deafMs === null ? staleSeconds : 1)) return null;
  const isTold = !row.is_covered && row.seconds > o.noticeAfterSeconds;
  const gap: Gap = {
    gapId: newId(),
    from: row.from_at.toISOString(),
    to: row.to_at.toISOString(),
    isCovered: row.is_covered,
    isTold,
  };
  await writeGap(trx, { robot, processId: o.processId, gap, now: o.now() });
  return gap;
}

async function writeGap(
  trx: Trx<AdapterTables>,
  o: { robot: StreamLink['robot']; processId: string; gap: Gap; now: Date },
): Promise<void> {
  const { gap, robot } = o;
  const correlationId = newId();
  await sql`
    insert into adapter.stream_gap (id, robot_code, process_id, from_at, to_at, is_covered, is_told)
    values (${gap.gapId}, ${robot.code}, ${o.processId}, ${gap.from}, ${gap.to}, ${gap.isCovered}, ${gap.isTold})`.execute(
    trx,
  );
  await appendAudit(trx, 'adapter', [
    {
      kind: 'link.interrupted',
      outcome: gap.isCovered ? 'covered' : gap.isTold ? 'told' : 'noted',
      correlationId,
      environment: robot.environment,
      robotCode: robot.code,
      subjectId: gap.gapId,
      detail: { from: gap.from, to: gap.to },
    },
  ]);
  if (!gap.isTold) return;
  const message = {
    type: 'link.interrupted.v1',
    id: newId(),
    correlationId,
    causationId: gap.gapId,
    occurredAt: o.now.toISOString(),
    body: {
      inboundEventId: gap.gapId,
      robotCode: robot.code,
      environment: robot.environment,
      from: gap.from,
      to: gap.to,
    },
  } as const;
  await tell(trx, [{ subjectId: gap.gapId, message }]);
}
