import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { connectOperatorPostgres, type OperatorConnection } from '@steward/postgres';
import { newId } from '@steward/service-kit';
import { createTestDatabase, type TestDatabase } from '@steward/testkit';
import { keptOpen, steward, temporaryFolder, writeConfig } from './testing.ts';

const config = writeConfig(temporaryFolder());
let database: TestDatabase;
let sender: pg.Pool;
let admin: pg.Client;
let operator: OperatorConnection;
beforeAll(async () => {
  database = await createTestDatabase();
  sender = new pg.Pool({ connectionString: database.url('steward_outbound_sender'), max: 2 });
  admin = new pg.Client({ connectionString: database.adminUrl });
  await admin.connect();
  operator = await connectOperatorPostgres(database.url('steward_operator'));
});
beforeEach(async () => {
  await admin.query('truncate outbound_sender.outbound_message, outbound_sender.operator_request cascade');
});
afterAll(async () => {
  await operator.close();
  await sender.end();
  await admin.end();
  await database.drop();
});

const run = (args: readonly string[], over: Parameters<typeof steward>[1] = {}) =>
  steward(args, { connect: keptOpen(operator), env: { STEWARD_CONFIG: config }, ...over });

/** A message as outbound-sender has it, with one attempt. */
async function addMessage(over: { status?: string; text?: string } = {}): Promise<string> {
  const id = newId();
  await sender.query(
    `insert into outbound_sender.outbound_message (id, correlation_id, environment, lane, budget, target, content, parts, status,
       attempt_count, reason, ended_at)
     values ($1, $2, 'production', 'answer', 'robot dingprod',
       '{"kind": "reply", "conversation": {"robotCode": "dingprod", "conversationId": "cidprod"}, "replyAddress": {"sealedUrl": "s3aled"}}',
       $3, '["x"]', $4, 1, 'PROCESS_DIED', now())`,
    [id, newId(), { kind: 'markdown', title: 't', text: over.text ?? 'restarted web' }, over.status ?? 'unknown'],
  );
  await sender.query(
    `insert into outbound_sender.delivery_attempt (id, outbound_message_id, number, part, path, code)
     values ($1, $2, 1, 0, 'session_webhook', 'PROCESS_DIED')`,
    [newId(), id],
  );
  return id;
}
/** Plays outbound-sender: answers what is asked while the command waits. */
const answering = (answer: { ok: boolean; text: string }) => async () => {
  await sender.query(
    'update outbound_sender.operator_request set answered_at = now(), answer = $1 where answered_at is null',
    [answer],
  );
};
const asked = async () =>
  (await sender.query<object>('select verb, body, asked_by from outbound_sender.operator_request')).rows;

describe('steward outbound', () => {
  it('lists what waits for a person, and other states when asked', async () => {
    expect((await run(['outbound', 'list'])).out).toBe('no outbound message is unknown\n');
    const id = await addMessage();
    const failed = await addMessage({ status: 'failed' });
    const { code, out } = await run(['outbound', 'list']);
    expect(code).toBe(0);
    expect(out).toMatch(
      new RegExp(`${id}\\s+unknown\\s+PROCESS_DIED\\s+answer\\s+production\\s+dingprod cidprod\\s+1\\s+-`),
    );
    expect(out).not.toContain(failed);
    const listed: unknown = JSON.parse((await run(['outbound', 'list', '--state', 'failed', '--json'])).out);
    expect(listed).toMatchObject([{ id: failed, status: 'failed', decisions: 0 }]);
    expect((await run(['outbound', 'list', '--environment', 'test'])).out).toContain('no outbound message');
    expect((await run(['outbound', 'list', '--state', 'lost'])).code).toBe(2);
  });

  it('shows its words and attempts, with nothing hidden and no address', async () => {
    const id = await addMessage({
      text: 'done\u202e [x](https://oapi.dingtalk.com/robot/send?access_token=0123456789abcdef0123)',
    });
    const { code, out } = await run(['outbound', 'show', id.toUpperCase()]);
    expect(code).toBe(0);
    for (const text of ['unknown (PROCESS_DIED)', 'attempt 1', 'part 1 by session_webhook', String.raw`done\u{202e}`])
      expect(out).toContain(text);
    expect(out).not.toMatch(/s3aled|0123456789abcdef0123/);
    for (const unknown of [newId(), 'nonsense'])
      expect(await run(['outbound', 'show', unknown])).toMatchObject({
        code: 2,
        err: expect.stringContaining('(OUTBOUND_UNKNOWN)'),
      });
  });

  it('asks outbound-sender to resolve, and tells its answer', async () => {
    const id = await addMessage();
    const sleep = answering({ ok: true, text: 'it is sent again' });
    const said = await run(['outbound', 'resolve', id, '--did-not', '--reason', 'not in the room'], { sleep });
    expect(said).toEqual({ code: 0, out: 'it is sent again\n', err: '' });
    expect(await asked()).toEqual([
      {
        verb: 'outbound.resolve',
        body: { outboundMessageId: id, decision: 'did_not', reason: 'not in the room', seen: 0 },
        asked_by: 'li',
      },
    ]);
  });

  it('exits 1 when it is refused, and 2 when nobody answers', async () => {
    const id = await addMessage();
    const args = ['outbound', 'resolve', id, '--happened', '--reason', 'seen'];
    expect((await run(args, { sleep: answering({ ok: false, text: 'it is accepted' }) })).code).toBe(1);
    expect(await run(args)).toMatchObject({ code: 2, err: expect.stringContaining('outbound-sender did not answer') });
  });

  it('wants one decision and a reason', async () => {
    const id = await addMessage();
    const unclear = { code: 2, err: expect.stringContaining('(DECISION_UNCLEAR)') };
    expect(await run(['outbound', 'resolve', id, '--reason', 'x'])).toMatchObject(unclear);
    expect(await run(['outbound', 'resolve', id, '--happened', '--discard', '--reason', 'x'])).toMatchObject(unclear);
    expect((await run(['outbound', 'resolve', id, '--happened'])).code).toBe(2);
    expect(await asked()).toEqual([]);
  });

  it('can write nothing of the ledger itself', async () => {
    await addMessage();
    for (const statement of [
      `insert into outbound_sender.outbound_resolution (outbound_message_id, number, was, decision, reason, decided_by, request_id)
       select outbound_message_id, 1, 'unknown', 'happened', 'x', 'li', outbound_message_id from ops.deliveries`,
      `with x as (update outbound_sender.outbound_message set status = 'accepted') select 1`,
      `with x as (update outbound_sender.operator_request set answer = '{}') select 1`,
      'select * from outbound_sender.outbound_message',
    ])
      await expect(operator.query(statement)).rejects.toMatchObject({ code: 'OPERATOR_DATABASE_REFUSED' });
  });
});
