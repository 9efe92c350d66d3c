import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { createMetrics, newId } from '@steward/service-kit';
import { waitUntil } from '@steward/testkit';
import { buildAttackConfig, forceRows, openAttacked, type AttackDatabase } from './attacks.test-support.ts';
import { openTestDatabase } from './testing.ts';
import { createUnknownWatch, lookEveryMs, measureUnknownCalls, quietSeconds, tellUnknowns } from './watch-unknown.ts';

let database: AttackDatabase;
let gate: Awaited<ReturnType<typeof openAttacked>>;
const config = () => ({ ...buildAttackConfig(), operations: { rooms: ['approvals', 'prod-approvals'] } });
beforeAll(async () => {
  database = await openTestDatabase();
});
beforeEach(async () => {
  await database.rows('truncate outbound_sender.outbound_message cascade');
  gate = await openAttacked(database, { config: config() });
});
afterAll(() => database.close());

async function addMessage(o: { id?: string; environment?: string; what?: string } = {}): Promise<string> {
  const id = o.id ?? newId();
  await database.rows(
    `insert into outbound_sender.outbound_message
       (id, correlation_id, environment, lane, budget, target, content, parts, status, reason, ended_at)
     values ('${id}', '${newId()}', '${o.environment ?? 'test'}', 'answer', 'robot dingtest',
       '{"kind": "group", "robotCode": "dingtest", "conversationId": "cid-2"}', '{"kind": "${o.what ?? 'markdown'}"}', '["x"]',
       'unknown', 'TIMEOUT', now())`,
  );
  return id;
}
async function addCall(tool = 'restart'): Promise<string> {
  const id = newId();
  await forceRows(
    database,
    `insert into agent_core.tool_call (id, turn_id, step, position, proposed_by, tool, effect, arguments, environment,
       robot_code, conversation_id, correlation_id, verdict, verdict_reason, status, code, ended_at)
     values ('${id}', '${newId()}', 0, 0, 'person', '${tool}', 'write', '{}', 'test', 'dingtest', 'cid-1', '${newId()}', 'allow', 'x',
       'unknown', 'PROCESS_DIED', now() - interval '90 s')`,
  );
  return id;
}
const look = (environment: 'test' | 'production' = 'test', context = gate.context) =>
  context.db.transaction().execute((trx) => tellUnknowns(trx, context, environment));
const notices = async () =>
  (await gate.told()).map(({ target, content }) => ({ target, text: String(content['text']) }));
/** As if so many seconds had gone by since every notice. */
const later = (seconds: number) =>
  database.rows(`update agent_core.unknown_notice set told_at = told_at - interval '${seconds} s'`);

describe('what nobody knows the outcome of', () => {
  it('is told in the operations room, with the commands that settle it, once', async () => {
    const [message, call] = [await addMessage(), await addCall()];
    expect(await look()).toBe(true);
    const [notice, ...more] = await notices();
    expect(more).toEqual([]);
    expect(notice?.target).toEqual({ kind: 'group', robotCode: 'dingtest', conversationId: 'cid-approvals' });
    for (const line of [
      '2 outcomes are unknown and wait for a person',
      `- outbound ${message}: markdown, TIMEOUT, cid-2`,
      `- calls ${call}: restart, PROCESS_DIED, cid-1`,
    ])
      expect(notice?.text).toContain(line);
    await later(3_600);
    expect(await look()).toBe(false);
  });

  it('is told within a minute, however unlucky it comes', async () => {
    expect(lookEveryMs / 1_000 + quietSeconds).toBeLessThan(55);
    await addMessage();
    await look();
    // Just after a notice: the next one may not come before its time, and then comes with the first look.
    await addMessage();
    await later(quietSeconds - 1);
    expect(await look()).toBe(false);
    await later(1);
    expect(await look()).toBe(true);
    expect((await notices())[1]?.text).toContain('1 outcome is unknown');
  });

  it('is one message, however much there is', async () => {
    for (let at = 0; at < 30; at += 1) await addMessage();
    for (let at = 0; at < 5; at += 1) await look();
    const [notice, ...more] = await notices();
    expect(more).toEqual([]);
    expect(notice?.text.split('\n').filter((line) => line.startsWith('- '))).toHaveLength(6);
    expect(notice?.text).toContain('and 25 more');
  });

  it('is told by one replica', async () => {
    await addMessage();
    const replicas = Array.from({ length: 4 }, () => ({ ...gate.context, db: database.connect() }));
    const told = await Promise.all(replicas.map((replica) => look('test', replica)));
    expect(told.filter(Boolean)).toHaveLength(1);
    expect(await notices()).toHaveLength(1);
  });

  it('is never the notice itself', async () => {
    await addMessage();
    await look();
    const [notice] = await database.rows<{ id: string }>('select id from agent_core.unknown_notice');
    await addMessage({ id: notice?.id ?? '' });
    await later(3_600);
    expect(await look()).toBe(false);
    expect(await notices()).toHaveLength(1);
    expect(await database.rows('select from ops.unknown')).toHaveLength(2);
  });

  it('stays in its environment', async () => {
    await addMessage({ environment: 'production' });
    expect(await look('test')).toBe(false);
    expect(await look('production')).toBe(true);
    expect((await notices())[0]?.target).toMatchObject({ conversationId: 'cid-prod-approvals' });
  });

  it('is told again when it was sent again and is unknown again', async () => {
    const id = await addMessage();
    await look();
    await later(3_600);
    await database.rows(
      `update outbound_sender.outbound_message set ended_at = ended_at + interval '1 s' where id = '${id}'`,
    );
    expect(await look()).toBe(true);
  });

  it('is logged where no room is configured', async () => {
    await addMessage();
    const logged: unknown[] = [];
    const log = { ...gate.context.log, error: (event: string, fields?: object) => void logged.push([event, fields]) };
    for (let at = 0; at < 2; at += 1)
      expect(await look('test', { ...gate.context, log, operations: { rooms: [] } })).toBe(false);
    expect(logged).toEqual([['unknown.waiting', expect.objectContaining({ environment: 'test', count: 1 })]]);
    expect(await notices()).toEqual([]);
  });

  it('hides nothing in what people or tools wrote', async () => {
    await addCall('[x](http://evil.example)');
    await look();
    expect((await notices())[0]?.text).not.toContain('](http');
  });

  it('is counted, with the age of the oldest', async () => {
    await addCall();
    const metrics = createMetrics('test');
    await measureUnknownCalls({ db: gate.context.db, metrics });
    const text = await metrics.registry.metrics();
    expect(text).toMatch(/steward_tool_call_unknown\{[^}]*\} 1$/m);
    expect(Number(/steward_tool_call_unknown_oldest_seconds\{[^}]*\} (\S+)$/m.exec(text)?.[1])).toBeGreaterThanOrEqual(
      90,
    );
  });

  it('is looked for by the running service', async () => {
    await addMessage();
    const watch = createUnknownWatch(gate.context);
    watch.start();
    await waitUntil(async () => (await notices()).length === 1, { timeoutMs: 10_000, what: 'the notice' });
    await watch.stop();
  });
});
