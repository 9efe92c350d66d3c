import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { createHash } from 'node:crypto';
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
  operator = await connectOperatorPostgres(database.url('steward_operator'));
});
beforeEach(() =>
  admin.query(
    `truncate adapter.dead_letter, agent_core.dead_letter, outbound_sender.outbound_message, adapter.operator_request,
       agent_core.operator_request, outbound_sender.operator_request cascade`,
  ),
);
afterAll(async () => {
  await operator.close();
  await admin.end();
  await database.drop();
});

const run = (args: readonly string[], over: Parameters<typeof steward>[1] = {}) =>
  steward(args, { connect: keptOpen(operator), env: { STEWARD_CONFIG: config }, ...over });

async function addLetter(o: { schema?: string; body?: Buffer; state?: string } = {}): Promise<string> {
  const id = newId();
  const body = o.body ?? Buffer.from(`{"of": "${id}"}`);
  await admin.query(
    `insert into ${o.schema ?? 'agent_core'}.dead_letter (id, queue, body_hash, body, bytes, type, code, state)
     values ($1, 'agent-core.inbound.v1', $2, $3, $4, 'inbound.received.v1', 'BUS_ROW_REFUSED', $5)`,
    [id, createHash('sha256').update(body).digest(), body, body.length, o.state ?? 'open'],
  );
  return id;
}
async function addFailed(): Promise<string> {
  const id = newId();
  await admin.query(
    `insert into outbound_sender.outbound_message (id, correlation_id, environment, lane, budget, target, content, parts, status,
       reason, ended_at) values ($1, $2, 'test', 'answer', 'robot x', '{"kind": "group"}', '{"kind": "text", "text": "words"}',
       '["x"]', 'failed', 'ROOM_GONE', now())`,
    [id, newId()],
  );
  return id;
}
const answering = (schema: string) => async () => {
  await admin.query(
    `update ${schema}.operator_request set answered_at = now(), answer = '{"ok": true, "text": "so be it"}' where answered_at is null`,
  );
};
const asked = async (schema: string) =>
  (await admin.query<object>(`select verb, body from ${schema}.operator_request`)).rows;

describe('steward dead', () => {
  it('lists what waits: letters of every service, and messages that failed', async () => {
    expect((await run(['dead', 'list'])).out).toBe('nothing dead waits for a decision\n');
    const [letter, receipt, failed] = [await addLetter(), await addLetter({ schema: 'adapter' }), await addFailed()];
    const decided = await addLetter({ state: 'discarded' });
    const { code, out } = await run(['dead', 'list']);
    expect(code).toBe(0);
    expect(out).toMatch(new RegExp(`${letter}\\s+bus_message\\s+open\\s+inbound.received.v1\\s+BUS_ROW_REFUSED`));
    expect(out).toMatch(new RegExp(`${failed}\\s+outbound_message\\s+open\\s+text\\s+ROOM_GONE`));
    expect([out.includes(receipt), out.includes(decided)]).toEqual([true, false]);
    expect((await run(['dead', 'list', '--all'])).out).toContain(decided);
    expect(JSON.parse((await run(['dead', 'list', '--json'])).out)).toHaveLength(3);
  });

  it('shows what one holds, with nothing hidden and no credential', async () => {
    const body = {
      note: 'a\u202eb',
      replyAddress: { sealedUrl: 'k1:s3aled', expiresAt: 'x' },
      password: 'hunter2hunter2',
      link: 'https://oapi.dingtalk.com/robot/send?access_token=0123456789abcdef0123',
    };
    const letter = await addLetter({ body: Buffer.from(JSON.stringify(body)) });
    for (const args of [[], ['--json']]) {
      const { code, out } = await run(['dead', 'show', letter, ...args]);
      expect([code, out.includes('[sealed]')]).toEqual([0, true]);
      expect(out).not.toMatch(/s3aled|hunter2|0123456789abcdef0123/);
    }
    expect((await run(['dead', 'show', letter])).out).toContain(String.raw`a\u{202e}b`);
    const raw = await addLetter({ body: Buffer.from([0x1b, 0x5b, 0x32, 0x4a, 0xff]) });
    expect((await run(['dead', 'show', raw])).out).not.toContain('\u001b');
    expect((await run(['dead', 'show', await addFailed()])).out).toContain('words');
    expect(await run(['dead', 'show', newId()])).toMatchObject({
      code: 2,
      err: expect.stringContaining('(DEAD_UNKNOWN)'),
    });
  });

  it('asks the service in whose queue it died', async () => {
    const letter = await addLetter({ schema: 'adapter' });
    const args = ['dead', 'redrive', letter, '--reason', 'mended'];
    expect(await run(args, { sleep: answering('adapter') })).toEqual({ code: 0, out: 'so be it\n', err: '' });
    expect(await asked('adapter')).toEqual([{ verb: 'dead.redrive', body: { id: letter, reason: 'mended', seen: 0 } }]);
    const other = await addLetter();
    await run(['dead', 'discard', other, '--reason', 'old'], { sleep: answering('agent_core') });
    expect(await asked('agent_core')).toEqual([{ verb: 'dead.discard', body: { id: other, reason: 'old', seen: 0 } }]);
    expect((await run(['dead', 'redrive', other])).code).toBe(2);
  });

  it('asks outbound-sender about a message that failed', async () => {
    const failed = await addFailed();
    const sleep = answering('outbound_sender');
    await run(['dead', 'redrive', failed, '--reason', 'the robot is back'], { sleep });
    expect(await asked('outbound_sender')).toEqual([
      {
        verb: 'outbound.resolve',
        body: {
          outboundMessageId: failed,
          decision: 'did_not',
          was: 'failed',
          reason: 'the robot is back',
          seen: 0,
        },
      },
    ]);
  });
});
