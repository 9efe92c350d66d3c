import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { connectOperatorPostgres, type OperatorConnection } from '@steward/postgres';
import { newId } from '@steward/service-kit';
import { createTestDatabase, type TestDatabase } from '@steward/testkit';
import { keptOpen, steward, temporaryFolder, writeConfig } from './testing.ts';

const config = writeConfig(temporaryFolder());
let database: TestDatabase;
let admin: pg.Client;
let operator: OperatorConnection;
beforeAll(async () => {
  database = await createTestDatabase();
  admin = new pg.Client({ connectionString: database.adminUrl });
  await admin.connect();
  // Calls without the turns they would belong to.
  await admin.query('set session_replication_role = replica');
  operator = await connectOperatorPostgres(database.url('steward_operator'));
});
afterAll(async () => {
  await operator.close();
  await admin.end();
  await database.drop();
});

const run = (args: readonly string[], over: Parameters<typeof steward>[1] = {}) =>
  steward(args, { connect: keptOpen(operator), env: { STEWARD_CONFIG: config }, ...over });

async function addCall(status: 'unknown' | 'done', created = 'now()'): Promise<string> {
  const id = newId();
  await admin.query(
    `insert into agent_core.tool_call (id, turn_id, step, position, proposed_by, tool, effect, arguments, environment,
       robot_code, conversation_id, correlation_id, requester_staff_id, verdict, verdict_reason, status, code, created_at, ended_at)
     values ($1, $2, 0, 0, 'person', 'restart_service', 'write', '{}', 'production', 'dingprod', 'cidprod', $3, '017', 'allow',
       'x', $4, 'PROCESS_DIED', ${created}, now())`,
    [id, newId(), newId(), status],
  );
  return id;
}

describe('steward calls', () => {
  it('lists calls, and those that wait for a person’s word however old', async () => {
    expect((await run(['calls', 'list', '--unknown'])).out).toBe('there is no such call\n');
    const unknown = await addCall('unknown', `now() - interval '30 days'`);
    const done = await addCall('done');
    const listed = await run(['calls', 'list', '--unknown']);
    expect([listed.code, listed.out.trim().split('\n').length]).toEqual([0, 2]);
    expect(listed.out).toMatch(new RegExp(`${unknown}\\s+restart_service\\s+write\\s+unknown\\s+PROCESS_DIED`));
    const lately: unknown = JSON.parse((await run(['calls', 'list', '--json'])).out);
    expect(lately).toMatchObject([{ id: done, status: 'done', resolution: null }]);
    expect((await run(['calls', 'list', '--unknown', '--environment', 'test'])).out).toBe('there is no such call\n');
    await admin.query(
      `insert into agent_core.tool_call_resolution (tool_call_id, decision, reason, decided_by, door, source_id)
       values ($1, 'happened', 'x', 'li', 'cli', $1)`,
      [unknown],
    );
    expect((await run(['calls', 'list', '--unknown'])).out).toBe('there is no such call\n');
    expect((await run(['calls', 'list', '--days', '40'])).out).toMatch(/unknown .*happened/);
  });

  it('asks agent-core to settle one', async () => {
    const id = await addCall('unknown');
    const sleep = async () => {
      await admin.query(
        `update agent_core.operator_request set answered_at = now(), answer = '{"ok": true, "text": "so be it"}'`,
      );
    };
    expect(await run(['calls', 'resolve', id, '--did-not', '--reason', 'no pod is new'], { sleep })).toEqual({
      code: 0,
      out: 'so be it\n',
      err: '',
    });
    const { rows } = await admin.query<object>('select verb, body, asked_by from agent_core.operator_request');
    expect(rows).toEqual([
      {
        verb: 'calls.resolve',
        body: { toolCallId: id, decision: 'did_not', reason: 'no pod is new' },
        asked_by: 'li',
      },
    ]);
  });

  it('wants a call that is there, one decision and a reason', async () => {
    const id = await addCall('unknown');
    for (const [args, code] of [
      [[newId(), '--happened', '--reason', 'x'], 'CALL_UNKNOWN'],
      [['x', '--happened', '--reason', 'x'], 'CALL_UNKNOWN'],
      [[id, '--reason', 'x'], 'DECISION_UNCLEAR'],
      [[id, '--happened', '--did-not', '--reason', 'x'], 'DECISION_UNCLEAR'],
      [[id, '--happened'], '--reason'],
      [[id, '--discard', '--reason', 'x'], '--discard'],
    ] as const)
      expect(await run(['calls', 'resolve', ...args])).toMatchObject({ code: 2, err: expect.stringContaining(code) });
  });
});
