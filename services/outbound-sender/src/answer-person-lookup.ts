import { sql } from 'kysely';
import { createBreaker, isAppErrorCode, type Breaker, type Logger, type Metrics } from '@steward/service-kit';
import type { ApiClient, PersonLookup } from '@steward/dingtalk';
import { tell, type Db } from '@steward/postgres';
import type { SenderTables } from './database.ts';
import { judgeHealth } from './judge-health.ts';
import { toPersonFound } from './record-person-lookup.ts';
import type { SenderRobots } from './robots.ts';

export type LookupContext = {
  db: Db<SenderTables>;
  /** Asks the directory with the robot's own app. Never rejects. */
  lookUp: (robotCode: string, staffId: string) => Promise<LookupAnswer>;
  log: Logger;
  metrics: Metrics;
  onAnswered: () => void;
};

export type LookupAnswer =
  | { result: 'found'; roleIds: string[]; departmentIds: string[] }
  | { result: 'absent' }
  | { result: 'failed'; code: string };

/** Both calls of a look-up end within 12 s; the rest is for its closing. */
const leaseSeconds = 30;
/** Whoever asked has gone on without the answer, and will ask anew if it still matters. */
const expiresAfterMs = 60_000;

/**
 * Answers the oldest open look-up. Whatever goes wrong is an answer too (`failed`, and nothing follows from it): agent-core
 * refuses what depends on it, and asks again. `idle`: nobody is to be looked up.
 */
export async function answerNextLookup(o: LookupContext): Promise<'more' | 'idle'> {
  const claimed = await claimLookup(o.db);
  if (claimed === undefined) return 'idle';
  const answer: LookupAnswer =
    claimed.age_ms > expiresAfterMs
      ? { result: 'failed', code: 'LOOKUP_EXPIRED' }
      : await o.lookUp(claimed.robot_code, claimed.staff_id);
  const isAnswered = await closeLookup(o.db, claimed.id, answer);
  const { correlation_id: correlationId, id: lookupId, robot_code: robotCode } = claimed;
  o.metrics
    .counter('steward_person_lookup_total', 'Look-ups of people in the directory, by result', ['result'])
    .inc({ result: answer.result });
  if (answer.result === 'failed')
    o.log.warn('person.lookup.failed', { correlationId, lookupId, robotCode, code: answer.code });
  else o.log.info('person.found', { correlationId, lookupId, robotCode, result: answer.result });
  if (isAnswered) o.onAnswered();
  return 'more';
}

type Claimed = { id: string; robot_code: string; staff_id: string; correlation_id: string; age_ms: number };

async function claimLookup(db: Db<SenderTables>): Promise<Claimed | undefined> {
  const { rows } = await sql<Claimed>`
    update outbound_sender.person_lookup set lease_until = now() + ${leaseSeconds} * interval '1 s'
    where id = (
      select id from outbound_sender.person_lookup
      where answered_at is null and (lease_until is null or lease_until < now())
      order by recorded_at limit 1
      for update skip locked)
    returning id, robot_code, staff_id, correlation_id,
      (extract(epoch from now() - recorded_at) * 1000)::float8 as age_ms`.execute(db);
  return rows[0];
}

/** Writes the answer down and tells it, in one transaction; false when another process was faster. */
async function closeLookup(db: Db<SenderTables>, id: string, answer: LookupAnswer): Promise<boolean> {
  return db.transaction().execute(async (trx) => {
    const { result } = answer;
    const row = await trx
      .updateTable('person_lookup')
      .set({
        result,
        ...(answer.result === 'found' && {
          role_ids: JSON.stringify(answer.roleIds),
          department_ids: JSON.stringify(answer.departmentIds),
        }),
        ...(answer.result === 'failed' && { code: answer.code.slice(0, 200) }),
        lease_until: null,
        answered_at: sql`now()`,
      })
      .where('id', '=', id)
      .where('answered_at', 'is', null)
      .returningAll()
      .executeTakeFirst();
    if (row === undefined || row.answered_at === null) return false;
    await tell(trx, [{ subjectId: id, message: toPersonFound({ ...row, result, answered_at: row.answered_at }) }]);
    return true;
  });
}

/** Look-ups behind a breaker for each robot, which is none of those that deliveries have. */
export function createLookUp(o: {
  api: Pick<ApiClient, 'lookUpPerson'>;
  robots: Pick<SenderRobots, 'byCode'>;
  onBreakerChange: (name: string, state: string) => void;
}): LookupContext['lookUp'] {
  const breakers = new Map<string, Breaker>();
  const breakerOf = (robotCode: string): Breaker => {
    const name = `directory robot ${robotCode}`;
    const known = breakers.get(name);
    if (known) return known;
    const breaker = createBreaker({ name, onStateChange: (state) => o.onBreakerChange(name, state) });
    breakers.set(name, breaker);
    return breaker;
  };
  return async (robotCode, staffId) => {
    const robot = o.robots.byCode.get(robotCode);
    if (robot === undefined) return { result: 'failed', code: 'NOT_CONFIGURED' };
    try {
      const lookup = await breakerOf(robotCode).run(
        () => o.api.lookUpPerson({ app: robot.app, staffId }),
        (ended) => ('error' in ended ? true : isFault(ended.ok)),
      );
      return toAnswer(lookup);
    } catch (error) {
      return { result: 'failed', code: isAppErrorCode(error, 'BREAKER_OPEN') ? 'BREAKER_OPEN' : 'UNEXPECTED' };
    }
  };
}

const isFault = (lookup: PersonLookup): boolean | 'neutral' =>
  lookup.kind === 'failed' ? judgeHealth(lookup.outcome) : false;

function toAnswer(lookup: PersonLookup): LookupAnswer {
  switch (lookup.kind) {
    case 'found':
      return { result: 'found', roleIds: lookup.roleIds, departmentIds: lookup.departmentIds };
    case 'absent':
      return { result: 'absent' };
    case 'failed':
      return { result: 'failed', code: lookup.outcome.code };
    default:
      return lookup satisfies never;
  }
}
