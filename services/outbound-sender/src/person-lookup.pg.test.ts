import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { createMetrics, newId } from '@steward/service-kit';
import { busMessageSchema, type BusMessage, type PersonRequested } from '@steward/contracts';
import type { PersonLookup, RobotApp } from '@steward/dingtalk';
import { answerNextLookup, createLookUp, type LookupAnswer } from './answer-person-lookup.ts';
import { waitUntil } from '@steward/testkit';
import { recordPersonLookup } from './record-person-lookup.ts';
import { openTestDatabase, silentLog } from './testing.ts';

let database: Awaited<ReturnType<typeof openTestDatabase>>;
beforeAll(async () => {
  database = await openTestDatabase();
});
beforeEach(() => database.clear());
afterAll(() => database.close());

const request = (staffId = 'staff-1'): PersonRequested => ({
  type: 'person.requested.v1',
  ...{ id: newId(), correlationId: newId(), causationId: newId(), occurredAt: new Date().toISOString() },
  body: { lookupId: newId(), robotCode: 'dingtest', staffId },
});
const record = (requested: PersonRequested) => recordPersonLookup({ db: database.db }, requested);
const found: LookupAnswer = { result: 'found', roleIds: ['1881'], departmentIds: ['7', '1'] };
let answered = 0;
const answer = (said: LookupAnswer | (() => Promise<LookupAnswer>) = found) =>
  answerNextLookup({
    db: database.db,
    lookUp: () => (typeof said === 'function' ? said() : Promise.resolve(said)),
    log: silentLog,
    metrics: createMetrics('outbound-sender'),
    onAnswered: () => (answered += 1),
  });
const told = async () =>
  (
    await database.rows<{ message: BusMessage }>('select message from outbound_sender.outbox order by created_at, id')
  ).map(({ message }) => busMessageSchema.parse(message));

describe('a look-up', () => {
  it('is recorded at once, answered once, and told with what the platform said', async () => {
    const requested = request();
    expect(await Promise.all([record(requested), record(requested)])).toEqual(['waiting', 'waiting']);
    answered = 0;
    expect(await answer()).toBe('more');
    expect(await answer()).toBe('idle');
    expect(answered).toBe(1);
    expect(await told()).toMatchObject([
      {
        type: 'person.found.v1',
        correlationId: requested.correlationId,
        causationId: requested.id,
        body: { ...requested.body, result: 'found', roleIds: ['1881'], departmentIds: ['7', '1'] },
      },
    ]);
  });

  it('that is asked again is told again, as of when the platform said it', async () => {
    const requested = request();
    await record(requested);
    await answer();
    await database.rows(`update outbound_sender.person_lookup set answered_at = now() - interval '5 minutes'`);
    expect(await record(requested)).toBe('answered');
    const [first, second] = await told();
    expect(second).toMatchObject({ type: 'person.found.v1', body: first?.body });
    expect(Date.parse(second?.occurredAt ?? '')).toBeLessThan(Date.now() - 290_000);
    expect(await answer()).toBe('idle');
  });

  it.each<[LookupAnswer, object]>([
    [{ result: 'absent' }, { result: 'absent', roleIds: [], departmentIds: [] }],
    [
      { result: 'failed', code: '88/60011' },
      { result: 'failed', roleIds: [], departmentIds: [] },
    ],
  ])('%j is told as an answer too', async (said, body) => {
    await record(request());
    await answer(said);
    expect(await told()).toMatchObject([{ body }]);
  });

  it('older than a minute fails without asking anybody', async () => {
    await record(request());
    await database.rows(`update outbound_sender.person_lookup set recorded_at = now() - interval '61 s'`);
    await answer(() => Promise.reject(new Error('asked')));
    expect(await told()).toMatchObject([{ body: { result: 'failed' } }]);
    expect(await database.rows('select code from outbound_sender.person_lookup')).toEqual([{ code: 'LOOKUP_EXPIRED' }]);
  });

  it('of a process that died is taken over, and answered once', async () => {
    await record(request());
    let arrive: (said: LookupAnswer) => void = () => undefined;
    const slow = answer(() => new Promise((resolve) => (arrive = resolve)));
    const isClaimed = async () =>
      (await database.rows('select from outbound_sender.person_lookup where lease_until is not null')).length > 0;
    await waitUntil(isClaimed, { timeoutMs: 10_000, what: 'the look-up to be claimed' });
    expect(await answer()).toBe('idle');
    await database.rows(`update outbound_sender.person_lookup set lease_until = now() - interval '1 s'`);
    expect(await answer({ result: 'absent' })).toBe('more');
    arrive(found);
    expect(await slow).toBe('more');
    expect(await told()).toMatchObject([{ body: { result: 'absent' } }]);
  });

  it('leaves nothing in the table for longer than a day', async () => {
    for (let n = 0; n < 3; n += 1) await record(request(`staff-${n}`));
    for (let n = 0; n < 3; n += 1) await answer();
    await database.rows(`update outbound_sender.person_lookup set answered_at = now() - interval '25 hours'`);
    await record(request('staff-new'));
    expect(await database.rows('select staff_id from outbound_sender.person_lookup')).toEqual([
      { staff_id: 'staff-new' },
    ]);
  });
});

describe('asking the directory', () => {
  const app: RobotApp = {
    robotCode: 'dingtest',
    tokens: { get: () => Promise.resolve('token'), invalidate: () => undefined },
  };
  const rule = { hosts: [], httpHosts: [] };
  const robots = { byCode: new Map([['dingtest', { app, rule, cardCallback: { kind: 'stream' } as const }]]) };
  const failed = (kind: 'unknown' | 'permanent'): PersonLookup => ({
    kind: 'failed',
    outcome: { kind, code: kind.toUpperCase(), text: '' },
  });

  it('uses the robot of the question, and fails for one that is not configured', async () => {
    const asked: string[] = [];
    const lookUp = createLookUp({
      robots,
      onBreakerChange: () => undefined,
      api: {
        lookUpPerson: (o) => {
          asked.push(`${o.app.robotCode} ${o.staffId}`);
          return Promise.resolve({ kind: 'found', roleIds: ['1'], departmentIds: [] });
        },
      },
    });
    expect(await lookUp('dingtest', 'u1')).toEqual({ result: 'found', roleIds: ['1'], departmentIds: [] });
    expect(await lookUp('dingother', 'u1')).toEqual({ result: 'failed', code: 'NOT_CONFIGURED' });
    expect(asked).toEqual(['dingtest u1']);
  });

  it('stops for a while when the platform is down, and not when it refuses us', async () => {
    let said: PersonLookup = failed('permanent');
    let calls = 0;
    const states: string[] = [];
    const lookUp = createLookUp({
      robots,
      onBreakerChange: (name, state) => states.push(`${name} ${state}`),
      api: {
        lookUpPerson: () => {
          calls += 1;
          return Promise.resolve(said);
        },
      },
    });
    for (let n = 0; n < 20; n += 1) await lookUp('dingtest', 'u1');
    expect([calls, states]).toEqual([20, []]);
    said = failed('unknown');
    for (let n = 0; n < 15; n += 1) await lookUp('dingtest', 'u1');
    expect(states).toEqual(['directory robot dingtest open']);
    expect(calls).toBeLessThan(35);
    expect(await lookUp('dingtest', 'u1')).toEqual({ result: 'failed', code: 'BREAKER_OPEN' });
  });
});
