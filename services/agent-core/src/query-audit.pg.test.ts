import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { sql } from 'kysely';
import { appendAudit } from '@steward/postgres';
import { newId } from '@steward/service-kit';
import { createQueryAudit, type ReadRoomEntries } from './query-audit.ts';
import { openTestDatabase } from './testing.ts';
import { buildCallContext, never } from './tools.test-support.ts';

let database: Awaited<ReturnType<typeof openTestDatabase>>;
beforeAll(async () => {
  database = await openTestDatabase();
});
afterAll(() => database.close());

const readRoomEntries: ReadRoomEntries = async (o) => {
  const { rows } = await sql`
    select * from ops.room_entries(${o.robotCode}, ${o.conversationId}, ${o.since}::timestamptz, ${o.maxRows}::int)`.execute(
    database.db,
  );
  return rows;
};

describe('query_audit on the real audit log', () => {
  it('shows what was recorded about its conversation, newest first, and nothing of another one', async () => {
    const write = (conversationId: string, outcome: string) =>
      database.db.transaction().execute((trx) =>
        appendAudit(trx, 'agent-core', [
          {
            kind: 'turn.ended',
            outcome,
            correlationId: newId(),
            environment: 'test',
            robotCode: 'dingtest',
            conversationId,
            actor: { staffId: 'staff-1', corpId: 'corp-1' },
            subjectId: newId(),
            detail: { attempt: 1 },
          },
        ]),
      );
    await write('cid-1', 'first');
    await write('cid-2', 'elsewhere');
    await write('cid-1', 'second');
    const { run } = createQueryAudit({ readRoomEntries, timeZone: 'Asia/Shanghai', now: () => new Date() });
    if (run.kind !== 'call') throw new Error('not a call');
    const result = await run.call({ minutes: 5 }, buildCallContext(), never);
    expect(result).toMatchObject({
      kind: 'done',
      output: expect.stringMatching(
        /^.* turn\.ended \| second \| by staff-1 .*\n.* turn\.ended \| first \| by staff-1 .*$/,
      ),
    });
    expect(JSON.stringify(result)).not.toContain('elsewhere');
  });
});
