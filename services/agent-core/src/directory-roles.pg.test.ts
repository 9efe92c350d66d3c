import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { newId, stewardConfigSchema, type StewardConfig } from '@steward/service-kit';
import type { PersonChanged, PersonFound } from '@steward/contracts';
import { waitUntil } from '@steward/testkit';
import { openAttacked, type AttackDatabase } from './attacks.test-support.ts';
import { createDirectoryRefresh, createRolesOf, recordPersonChanged, recordPersonFound } from './directory-roles.ts';
import { buildGateConfig, corpId, people } from './gate.test-support.ts';
import { openTestDatabase, silentLog } from './testing.ts';

let database: AttackDatabase;
const { li, han, zhao } = people;
const base = buildGateConfig();
const config: StewardConfig = stewardConfigSchema.parse({
  ...base,
  governance: {
    ...base.governance,
    directory: {
      robot: 'ops',
      maxAgeSeconds: 600,
      roles: [
        { role: 'sre-lead', roleIds: ['900'] },
        { role: 'approver', departmentIds: ['77', '78'] },
      ],
    },
  },
});
beforeAll(async () => {
  database = await openTestDatabase();
});
beforeEach(() => database.clear());
afterAll(() => database.close());

const rolesOf = (staffId: string, corp = corpId) =>
  createRolesOf({ db: database.db, config, now: () => new Date() })({ corpId: corp, staffId });
const envelope = () => ({
  id: newId(),
  correlationId: newId(),
  causationId: newId(),
  occurredAt: new Date().toISOString(),
});
const found = (staffId: string, over: Partial<PersonFound['body']> = {}): PersonFound => ({
  type: 'person.found.v1',
  ...envelope(),
  body: { lookupId: newId(), robotCode: 'dingtest', staffId, result: 'found', roleIds: [], departmentIds: [], ...over },
});
/** What the platform answers to the newest question about somebody. */
async function answer(staffId: string, over: Partial<PersonFound['body']> = {}): Promise<PersonFound> {
  const [row] = await database.rows<{ lookup_id: string }>(
    `select lookup_id from agent_core.directory_person where staff_id = '${staffId}' and lookup_id is not null`,
  );
  const message = found(staffId, { ...(row !== undefined && { lookupId: row.lookup_id }), ...over });
  await recordPersonFound(database.db, config, message);
  return message;
}
const changed = (staffIds: string[], change: 'left' | 'modified'): PersonChanged => ({
  type: 'person.changed.v1',
  ...envelope(),
  body: { inboundEventId: newId(), corpId, staffIds, change },
});
const recordChanged = (message: PersonChanged) =>
  recordPersonChanged({ db: database.db, now: () => new Date(), config }, message);

/** Lets the refresh ask until it has asked for so many. */
async function refresh(count: number): Promise<string[]> {
  const loop = createDirectoryRefresh({ db: database.db, log: silentLog, config, onTold: () => undefined });
  const asked = async () =>
    (
      await database.rows<{ staff: string }>(
        `select message -> 'body' ->> 'staffId' as staff from agent_core.outbox where type = 'person.requested.v1' order by id`,
      )
    ).map(({ staff }) => staff);
  loop.start();
  await waitUntil(async () => (await asked()).length >= count, { timeoutMs: 10_000, what: 'people to be asked about' });
  await loop.stop();
  return asked();
}

describe('the roles of a person', () => {
  it('are those of the configuration as long as nothing else is known', async () => {
    expect(await rolesOf(han)).toEqual(['approver']);
    expect(await rolesOf('nobody')).toEqual([]);
    expect(await rolesOf(han, 'corp-2')).toEqual([]);
  });

  it('grow by what DingTalk says, for as long as it is fresh, and by nothing that is not named', async () => {
    await refresh(4);
    await answer(li, { roleIds: ['900', '901'], departmentIds: ['77'] });
    expect(await rolesOf(li)).toEqual(['ops', 'sre-lead', 'approver']);
    await database.rows(`update agent_core.directory_person set looked_up_at = now() - interval '601 s'`);
    expect(await rolesOf(li)).toEqual(['ops']);
  });

  it('fall at once when somebody left, the configured ones too, and do not come back by themselves', async () => {
    await recordChanged(changed([han], 'left'));
    expect(await rolesOf(han)).toEqual([]);
    await answer(han, { result: 'failed', departmentIds: ['77'] });
    expect(await rolesOf(han)).toEqual([]);
  });

  it('fall when the platform does not know somebody, and hold when it did not answer', async () => {
    await refresh(4);
    await answer(li, { departmentIds: ['78'] });
    await answer(li, { result: 'failed' });
    expect(await rolesOf(li)).toEqual(['ops', 'approver']);
    await answer(li, { result: 'absent' });
    expect(await rolesOf(li)).toEqual([]);
  });

  it('that DingTalk gave count no more once somebody changed, until it was asked again', async () => {
    await refresh(4);
    await answer(li, { roleIds: ['900'] });
    await recordChanged(changed([li], 'modified'));
    expect(await rolesOf(li)).toEqual(['ops']);
    // Three questions are still open, the answered one is not.
    expect((await refresh(4)).slice(3)).toEqual([li]);
    await answer(li, { roleIds: ['900'] });
    expect(await rolesOf(li)).toEqual(['ops', 'sre-lead']);
  });

  it('are not given by an answer to an older question, such as one from before somebody left', async () => {
    await refresh(4);
    const late = await answer(li, { result: 'failed', roleIds: ['900'] });
    await recordChanged(changed([li], 'left'));
    await recordPersonFound(database.db, config, { ...late, id: newId(), body: { ...late.body, result: 'found' } });
    expect(await rolesOf(li)).toEqual([]);
  });

  it('are not given by an answer about another organisation’s robot, nor by one that comes twice', async () => {
    await refresh(4);
    await answer(li, { robotCode: 'unknown', roleIds: ['900'] });
    expect(await rolesOf(li)).toEqual(['ops']);
    const once = await answer(li, { roleIds: ['900'] });
    await answer(li);
    await recordPersonFound(database.db, config, once);
    expect(await rolesOf(li)).toEqual(['ops']);
  });
});

describe('the refresh', () => {
  it('asks about each configured person once, not again within the minute, and again at half of the age', async () => {
    expect((await refresh(4)).toSorted()).toEqual([...Object.values(people)].toSorted());
    await database.rows(
      `update agent_core.directory_person set looked_up_at = now() - interval '301 s' where staff_id = '${li}'`,
    );
    await database.rows(
      `update agent_core.directory_person set looked_up_at = now(), asked_at = now() - interval '61 s' where staff_id <> '${li}'`,
    );
    await database.rows(
      `update agent_core.directory_person set asked_at = now() - interval '61 s' where staff_id = '${li}'`,
    );
    expect((await refresh(5)).slice(4)).toEqual([li]);
  });
});

describe('somebody who leaves while a request waits', () => {
  it('takes the vote along: it needs another person', async () => {
    const gate = await openAttacked(database);
    const code = await gate.ask('/run wipe service=web');
    await gate.talk.say(han, `/approve ${code} agreed`);
    await recordChanged(changed([han], 'left'));
    expect(await gate.talk.say(zhao, `/approve ${code} agreed`)).toEqual([expect.stringContaining('1 of 2')]);
    expect(gate.system.effects).toEqual([]);
    expect(await gate.audited(/^person\./)).toEqual(['person.changed left']);
  });
});
