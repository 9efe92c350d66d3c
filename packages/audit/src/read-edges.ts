import { endOfEpoch, type Block } from './block.ts';
import type { Query } from './query.ts';

const listed = 20;

/** Entries after the newest block: how many are younger and older than the limit, and the first of the old ones. */
export async function findUnsealed(
  query: Query,
  newest: Block | null,
  limitSeconds: number,
): Promise<{ young: number; old: number; firstId: string | null }> {
  const rows = await query<{ young: number; old: number; firstId: string | null }>(
    `select count(*) filter (where not late)::integer as "young", count(*) filter (where late)::integer as "old",
       (array_agg(id::text order by transaction_id, id) filter (where late))[1] as "firstId"
     from (select e.id, e.transaction_id, e.occurred_at < clock_timestamp() - $3 * interval '1 s' as late from audit.entry e
           where e.transaction_id >= 0
             and ((e.epoch = $1 and e.transaction_id >= $2::bigint) or e.epoch > $1)) unsealed`,
    [newest?.epoch ?? 0, newest?.toTransaction ?? endOfEpoch, limitSeconds],
  );
  return rows[0] ?? { young: 0, old: 0, firstId: null };
}

/** Entries whose epoch or transaction number cannot be: no block would ever hold them. */
export function findUncovered(query: Query, newest: Block | null): Promise<{ id: string; epoch: number }[]> {
  return query<{ id: string; epoch: number }>(
    `select e.id::text as "id", e.epoch as "epoch" from audit.entry e
     where e.transaction_id < 0 or e.transaction_id = ${endOfEpoch} or e.epoch not in (select x.number from audit.epoch x)
       or (e.epoch = $1 and e.transaction_id >= $2::bigint and e.transaction_id >=
           (select pg_snapshot_xmax(pg_current_snapshot())::text::bigint) and e.epoch = (select max(x.number) from audit.epoch x))
     order by e.occurred_at limit ${listed}`,
    [newest?.epoch ?? 0, newest?.toTransaction ?? '0'],
  );
}

/** Entries whose detail is erased although no entry `detail.erased` names them. */
export async function readErasures(query: Query): Promise<string[]> {
  const rows = await query<{ id: string }>(
    `select d.entry_id::text as "id" from audit.detail d where d.erased_at is not null and not exists (
       select from audit.entry e where e.kind = 'detail.erased' and e.subject_id = d.entry_id::text)
     limit ${listed}`,
  );
  return rows.map(({ id }) => id);
}
