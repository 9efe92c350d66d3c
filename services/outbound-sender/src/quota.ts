import { sql, type RawBuilder } from 'kysely';
import { createLoop, type Logger, type Loop, type Metrics, type StewardConfig } from '@steward/service-kit';
import type { Lane, OutboundTarget } from '@steward/contracts';
import type { Db } from '@steward/postgres';
import type { AttemptOutcome, DeliveryPath, SenderTables } from './database.ts';
import { isApiPath } from './send-limits.ts';

/** The month in which the platform counts a call made now. */
const thisMonth = sql`date_trunc('month', now() at time zone 'Asia/Shanghai')::date`;
const lookEveryMs = 60_000;
/** From this share of the month's calls on, only these lanes may still spend one; webhooks cost none and always go. */
const savings: readonly { share: number; lanes: readonly Lane[] }[] = [
  { share: 0.95, lanes: ['control', 'approval'] },
  { share: 0.8, lanes: ['control', 'approval', 'answer'] },
];

/** The quota of an organisation, and the budgets of its robots, which spend it together. */
export type Quota = { organisation: string; perMonth: number; budgets: readonly string[] };

/** The organisations' quotas; none without `dingtalk.apiCallsPerMonth`: then calls are counted and nothing follows. */
export function listQuotas({ robots, dingtalk }: Pick<StewardConfig, 'robots' | 'dingtalk'>): readonly Quota[] {
  const { apiCallsPerMonth: perMonth } = dingtalk;
  if (perMonth === undefined) return [];
  const organisations = [...new Set(robots.map(({ corpId }) => corpId))];
  return organisations.map((organisation) => ({
    organisation,
    perMonth,
    budgets: robots.filter(({ corpId }) => corpId === organisation).map(({ code }) => `robot ${code}`),
  }));
}

/** Whether this message must leave the rest of the month's calls to more urgent ones. */
export async function mustSave(
  db: Db<SenderTables>,
  quotas: readonly Quota[],
  o: { budget: string; lane: Lane; path: DeliveryPath; target: OutboundTarget },
): Promise<boolean> {
  const quota = quotas.find(({ budgets }) => budgets.includes(o.budget));
  if (quota === undefined || !isApiPath(o.path)) return false;
  const share = (await countUsed(db, quota)) / quota.perMonth;
  return savings.some((saving) => share >= saving.share && !saving.lanes.includes(o.lane));
}

async function countUsed(db: Db<SenderTables>, { budgets }: Quota): Promise<number> {
  const { rows } = await sql<{ used: number }>`
    select coalesce(sum(used), 0)::float8 as used from outbound_sender.quota_use
    where month = ${thisMonth} and budget = any(${budgets}::text[])`.execute(db);
  return rows[0]?.used ?? 0;
}

/**
 * Counts the call of an attempt, where the platform does: refusals for our rate are free, and so are webhooks (protocol: section on
 * quotas). `onlyIf` is a condition over the caller's own steps.
 */
export function spendStatement(
  o: { outboundMessageId: string; path: DeliveryPath; outcome: AttemptOutcome },
  onlyIf: RawBuilder<unknown> = sql`true`,
): RawBuilder<unknown> | null {
  if (!isApiPath(o.path) || o.outcome === 'retryable') return null;
  return sql`
    insert into outbound_sender.quota_use as q (month, budget, path, lane, used)
    select ${thisMonth}, m.budget, ${o.path}, m.lane, 1
    from outbound_sender.outbound_message m where m.id = ${o.outboundMessageId} and ${onlyIf}
    on conflict (month, budget, path, lane) do update set used = q.used + 1`;
}

/** Shows how much of each quota is spent, and says aloud, once in a process, when a threshold is passed. */
export function createQuotaWatch(o: {
  db: Db<SenderTables>;
  quotas: readonly Quota[];
  log: Logger;
  metrics: Metrics;
}): Loop {
  const ratio = o.metrics.gauge('steward_quota_used_ratio', 'Share of the month’s API calls that is spent', [
    'organisation',
  ]);
  const said = new Map<string, number>();
  return createLoop({
    name: 'quota',
    idleMs: lookEveryMs,
    log: o.log,
    run: async () => {
      for (const quota of o.quotas) {
        const { organisation, perMonth } = quota;
        const share = (await countUsed(o.db, quota)) / perMonth;
        ratio.set({ organisation }, share);
        const passed = savings.find((saving) => share >= saving.share)?.share ?? 0;
        if (passed > (said.get(organisation) ?? 0)) o.log.error('quota.low', { organisation, perMonth, share });
        said.set(organisation, passed);
      }
      return 'idle';
    },
  });
}
