import { sql } from 'kysely';
import { createLoop, type Logger, type Loop, type Metrics, type StewardConfig } from '@steward/service-kit';
import type { Db } from '@steward/postgres';
import type { AgentTables } from './database.ts';

const lookEveryMs = 60_000;
/** Said aloud, once in a process each. */
const thresholds = [0.95, 0.8];
/** Beyond the quota nobody needs to know how far. */
const most = 1_000_000;

/** What the doors of an organisation's robots are called by in the ledger: robot codes, and app keys for clicks and events. */
const sourcesOf = (robots: StewardConfig['robots'], organisation: string): string[] => [
  ...new Set(robots.filter(({ corpId }) => corpId === organisation).flatMap(({ code, appKey }) => [code, appKey])),
];

/**
 * Inbound events of an organisation in the platform's month, which has a quota of its own for them (standard edition: 3,000
 * callbacks and Stream messages). Counted here, up to a million: what the platform counts besides nobody tells us.
 */
export async function countReceived(
  db: Db<AgentTables>,
  robots: StewardConfig['robots'],
  organisation: string,
): Promise<number> {
  const { rows } = await sql<{ received: number }>`
    select ops.count_received(${sourcesOf(robots, organisation)}::text[], ${most}) as received`.execute(db);
  return rows[0]?.received ?? 0;
}

/** Shows how much of the month's messages each organisation has had, and says aloud when few are left: then nothing arrives any more. */
export function createMessageWatch(o: {
  db: Db<AgentTables>;
  robots: StewardConfig['robots'];
  messagesPerMonth: number | null;
  log: Logger;
  metrics: Metrics;
}): Loop {
  const ratio = o.metrics.gauge('steward_quota_messages_used_ratio', 'Share of the month’s messages that has come', [
    'organisation',
  ]);
  const said = new Map<string, number>();
  return createLoop({
    name: 'month’s messages',
    idleMs: lookEveryMs,
    log: o.log,
    run: async () => {
      const { messagesPerMonth } = o;
      if (messagesPerMonth === null) return 'idle';
      for (const organisation of new Set(o.robots.map(({ corpId }) => corpId))) {
        const share = (await countReceived(o.db, o.robots, organisation)) / messagesPerMonth;
        ratio.set({ organisation }, share);
        const passed = thresholds.find((threshold) => share >= threshold) ?? 0;
        if (passed > (said.get(organisation) ?? 0))
          o.log.error('quota.messages.low', { organisation, messagesPerMonth, share });
        said.set(organisation, passed);
      }
      return 'idle';
    },
  });
}
