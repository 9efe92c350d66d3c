import { sql } from 'kysely';
import { createLoop, newId, type Logger, type Loop, type StewardConfig } from '@steward/service-kit';
import type { PersonChanged, PersonFound } from '@steward/contracts';
import { appendAudit, closeTold, recordOnce, tell, type Db } from '@steward/postgres';
import type { AgentTables } from './database.ts';
import type { RolesOf } from './gate/gate-context.ts';
import { toInboundSettled } from './inbound-receipt.ts';

type Config = Pick<StewardConfig, 'people' | 'robots' | 'governance'>;

const lookEveryMs = 5_000;
/** Nobody is asked about more often than this, whatever comes of it. */
const askAgainSeconds = 60;
/** Looked up again in good time before what is known grows too old to count. */
const refreshShare = 0.5;
const batch = 20;

/**
 * The roles of a person: those of the configuration, those that DingTalk's own roles and departments stand for, and those of
 * the people whose deputy this person is today. Whoever left the organisation has none. What DingTalk said counts for some
 * minutes and then not at all (fail closed).
 */
export function createRolesOf(o: { db: Db<AgentTables>; config: Config; now: () => Date }): RolesOf {
  const configured = new Map(o.config.people.map((person) => [keyOf(person), person.roles]));
  const { directory, deputies } = o.config.governance;
  const ownRolesOf: RolesOf = async (person) => {
    const row = await findPerson(o.db, person);
    if (row?.state === 'left' || row?.state === 'absent') return [];
    const own = configured.get(keyOf(person)) ?? [];
    const isFresh = row?.state === 'active' && directory !== undefined && row.age <= directory.maxAgeSeconds;
    if (!isFresh) return own;
    const kept = directory.roles
      .filter(
        ({ roleIds, departmentIds }) =>
          roleIds.some((id) => row.role_ids.includes(id)) ||
          departmentIds.some((id) => row.department_ids.includes(id)),
      )
      .map(({ role }) => role);
    return [...own, ...kept];
  };
  return async (person) => {
    const roles = [...(await ownRolesOf(person))];
    const nowMs = o.now().getTime();
    const absent = deputies.filter(
      ({ corpId, deputy, from, to }) =>
        configured.has(keyOf(person)) &&
        corpId === person.corpId &&
        deputy === person.staffId &&
        Date.parse(from) <= nowMs &&
        nowMs < Date.parse(to),
    );
    if (absent.length > 0 && (await hasLeft(o.db, person))) return [];
    for (const entry of absent) roles.push(...(await ownRolesOf({ corpId: entry.corpId, staffId: entry.absent })));
    return [...new Set(roles)];
  };
}

function findPerson(db: Db<AgentTables>, person: { corpId: string; staffId: string }) {
  return db
    .selectFrom('directory_person')
    .select(['state', 'role_ids', 'department_ids'])
    .select(sql<number>`extract(epoch from now() - looked_up_at)::float8`.as('age'))
    .where('corp_id', '=', person.corpId)
    .where('staff_id', '=', person.staffId)
    .executeTakeFirst();
}

async function hasLeft(db: Db<AgentTables>, person: { corpId: string; staffId: string }): Promise<boolean> {
  const row = await findPerson(db, person);
  return row?.state === 'left' || row?.state === 'absent';
}

const keyOf = ({ corpId, staffId }: { corpId: string; staffId: string }) => JSON.stringify([corpId, staffId]);

/** Keeps the configured people looked up, where the configuration asks for DingTalk's roles. */
export function createDirectoryRefresh(o: {
  db: Db<AgentTables>;
  log: Logger;
  config: Config;
  onTold: () => void;
}): Loop {
  const { directory } = o.config.governance;
  const robot = o.config.robots.find(({ name }) => name === directory?.robot);
  return createLoop({
    name: 'directory',
    idleMs: lookEveryMs,
    log: o.log,
    run: async () => {
      if (directory === undefined || robot === undefined) return 'idle';
      const people = o.config.people.filter(({ corpId }) => corpId === robot.corpId).map(({ staffId }) => staffId);
      const asked = await o.db.transaction().execute(async (trx) => {
        const { rows } = await sql<{ staff_id: string; lookup_id: string }>`
          insert into agent_core.directory_person as d (corp_id, staff_id, robot_code, state, asked_at, lookup_id)
          select ${robot.corpId}, s, ${robot.code}, 'unknown', now(), gen_random_uuid() from (
            select s from unnest(${people}::text[]) as s
            left join agent_core.directory_person k on k.corp_id = ${robot.corpId} and k.staff_id = s
            where (k.asked_at is null or k.asked_at < now() - ${askAgainSeconds} * interval '1 s')
              and (k.looked_up_at is null
                or k.looked_up_at < now() - ${directory.maxAgeSeconds * refreshShare} * interval '1 s')
            order by k.looked_up_at nulls first limit ${batch}) due
          on conflict (corp_id, staff_id) do update set asked_at = now(), lookup_id = excluded.lookup_id
          returning staff_id, lookup_id`.execute(trx);
        for (const { staff_id, lookup_id: lookupId } of rows) {
          const message = {
            type: 'person.requested.v1',
            id: newId(),
            correlationId: lookupId,
            causationId: lookupId,
            occurredAt: new Date().toISOString(),
            body: { lookupId, robotCode: robot.code, staffId: staff_id },
          } as const;
          await tell(trx, [{ subjectId: lookupId, message }]);
        }
        return rows.length;
      });
      if (asked > 0) o.onTold();
      return asked === batch ? 'more' : 'idle';
    },
  });
}

/**
 * What the platform said about a person, if that is the newest question: an answer from before somebody left must not bring
 * them back. A lookup that failed changes nothing: what is known grows old.
 */
export async function recordPersonFound(db: Db<AgentTables>, config: Config, found: PersonFound): Promise<void> {
  const { lookupId, robotCode, staffId, result, roleIds, departmentIds } = found.body;
  const corpId = config.robots.find(({ code }) => code === robotCode)?.corpId;
  await db.transaction().execute(async (trx) => {
    await closeTold(trx, { types: ['person.requested.v1'], subjectIds: [lookupId] });
    if (!(await recordOnce(trx, found.id)) || result === 'failed' || corpId === undefined) return;
    await trx
      .updateTable('directory_person')
      .set({
        state: result === 'found' ? 'active' : 'absent',
        role_ids: JSON.stringify(roleIds),
        department_ids: JSON.stringify(departmentIds),
        looked_up_at: sql<Date>`now()`,
      })
      .where('corp_id', '=', corpId)
      .where('staff_id', '=', staffId)
      .where('lookup_id', '=', lookupId)
      .execute();
  });
}

/** Somebody left: their roles fall at once, until a later look-up finds them again. Somebody changed: what was known counts no more until it is looked up again. */
export async function recordPersonChanged(
  o: { db: Db<AgentTables>; now: () => Date; config: Config },
  changed: PersonChanged,
): Promise<void> {
  const { inboundEventId, corpId, staffIds, change } = changed.body;
  const robotCode = o.config.robots.find((robot) => robot.corpId === corpId)?.code ?? '';
  await o.db.transaction().execute(async (trx) => {
    if (await recordOnce(trx, changed.id)) {
      await sql`
        insert into agent_core.directory_person as d (corp_id, staff_id, robot_code, state)
        select ${corpId}, s, ${robotCode}, ${change === 'left' ? 'left' : 'unknown'} from unnest(${staffIds}::text[]) as s
        on conflict (corp_id, staff_id) do update set looked_up_at = null, asked_at = null, lookup_id = null,
          state = case when d.state = 'left' then d.state else excluded.state end`.execute(trx);
      await appendAudit(trx, 'agent-core', [
        {
          kind: 'person.changed',
          outcome: change,
          correlationId: changed.correlationId,
          subjectId: inboundEventId,
          detail: { corpId, staffIds: staffIds.slice(0, 100), count: staffIds.length },
        },
      ]);
    }
    await tell(trx, [{ subjectId: inboundEventId, message: toInboundSettled(changed, o.now()) }]);
  });
}
