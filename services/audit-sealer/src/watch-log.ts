import { createLoop, type Logger, type Loop, type Metrics } from '@steward/service-kit';
import type { Query } from '@steward/audit';

const everyMs = 15_000;

/** Looks at the log every 15 s, whoever seals it: how old the newest seal and the oldest unsealed entry are, what lies astray. */
export function createLogWatch(o: { query: Query; log: Logger; metrics: Metrics }): Loop {
  const sealAge = o.metrics.gauge('steward_audit_seal_age_seconds', 'Age of the newest block, by whichever process');
  const unsealed = o.metrics.gauge('steward_audit_unsealed_seconds', 'Age of the oldest entry that is not sealed');
  const astray = o.metrics.gauge(
    'steward_audit_default_partition_rows',
    'Entries for whose month there is no partition',
  );
  const run = async (): Promise<'idle'> => {
    const [seen] = await o.query<{ sealAge: number; unsealed: number; astray: number }>(watchSql);
    if (seen === undefined) return 'idle';
    sealAge.set(seen.sealAge);
    unsealed.set(Math.max(0, seen.unsealed));
    astray.set(seen.astray);
    if (seen.astray > 0) o.log.error('audit.partition.missing', { rows: seen.astray });
    return 'idle';
  };
  return createLoop({ name: 'audit-watch', idleMs: everyMs, log: o.log, run });
}

/** Never sealed counts as the age of the first epoch. Of the default partition at most a thousand rows are counted. */
const watchSql = `
  with newest as (select b.epoch, b.to_transaction, b.sealed_at from audit.block b order by b.number desc limit 1)
  select
    extract(epoch from clock_timestamp() - coalesce((select sealed_at from newest), (select min(began_at) from audit.epoch)))
      ::double precision as "sealAge",
    coalesce(extract(epoch from clock_timestamp() - (
      select min(w.occurred_at) from (
        select e.occurred_at from audit.entry e
        where e.transaction_id >= coalesce((select to_transaction from newest), 0)
          and e.epoch >= coalesce((select epoch from newest), 1)
        order by e.transaction_id limit 100) w)), 0)::double precision as "unsealed",
    (select count(*)::integer from (select from audit.entry_default limit 1000) d) as "astray"`;
