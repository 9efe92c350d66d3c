import { sql } from 'kysely';
import type { TurnContext } from './run-turn.ts';
import { texts } from './texts.ts';
import { countReceived } from './watch-messages.ts';

/** The platform's month is China's. */
const quotaZone = 'Asia/Shanghai';
const dayMs = 86_400_000;

/** What the organisation of this robot has spent of its month, on what, and when it runs out at this pace. */
export async function answerQuota(context: TurnContext, robotCode: string): Promise<string> {
  const { robots } = context.directory;
  const corpId = robots.get(robotCode)?.corpId;
  const budgets = [...robots.values()].filter((robot) => robot.corpId === corpId).map(({ code }) => `robot ${code}`);
  const { rows } = await sql<{ path: string; lane: string; used: number }>`
    select path, lane, sum(used)::float8 as used from ops.api_calls
    where month = date_trunc('month', now() at time zone ${quotaZone})::date and budget = any(${budgets}::text[])
    group by path, lane order by used desc, path, lane`.execute(context.db);
  const used = rows.reduce((sum, row) => sum + row.used, 0);
  const perMonth = context.facts.apiCallsPerMonth;
  const now = context.facts.now();
  return texts.quota[context.language]({
    month: renderDay(now).slice(0, 7),
    used,
    perMonth,
    percent: perMonth === null ? '' : ((100 * used) / perMonth).toFixed(1),
    runsOutOn: perMonth === null ? null : forecast({ used, perMonth, now }),
    messages: await countReceived(context.db, [...robots.values()], corpId ?? ''),
    messagesPerMonth: context.facts.messagesPerMonth,
    uses: rows.map((row) => ({ what: `${row.path} (${row.lane})`, used: row.used })),
  });
}

/** The day on which the calls run out if they go on as so far in this month; null: they last. */
export function forecast(o: { used: number; perMonth: number; now: Date }): string | null {
  if (o.used === 0) return null;
  const start = new Date(`${renderDay(o.now).slice(0, 7)}-01T00:00:00+08:00`);
  // The first hours of a month say little.
  const elapsedMs = Math.max(o.now.getTime() - start.getTime(), dayMs);
  const runsOut = new Date(start.getTime() + (elapsedMs * o.perMonth) / o.used);
  const day = renderDay(runsOut.getTime() < o.now.getTime() ? o.now : runsOut);
  return day.slice(0, 7) === renderDay(o.now).slice(0, 7) ? day : null;
}

const renderDay = (at: Date): string => new Intl.DateTimeFormat('sv-SE', { timeZone: quotaZone }).format(at);
