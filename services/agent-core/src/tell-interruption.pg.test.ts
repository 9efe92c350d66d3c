import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { sql } from 'kysely';
import { newId } from '@steward/service-kit';
import type { LinkInterrupted } from '@steward/contracts';
import { buildDirectory } from './judge-access.ts';
import { recordInbound } from './record-inbound.ts';
import { tellInterruption } from './tell-interruption.ts';
import { buildConfig, buildReceived, openTestDatabase } from './testing.ts';

let database: Awaited<ReturnType<typeof openTestDatabase>>;
beforeAll(async () => (database = await openTestDatabase()));
beforeEach(() => database.clear());
afterAll(() => database.close());

const now = () => new Date();
const base = buildConfig();
const rooms = Array.from({ length: 30 }, (_, n) => ({
  ...{ id: `room-${n}`, name: `room ${n}`, robot: 'ops', environment: 'test' as const },
}));
const context = () => ({
  ...{ db: database.db, now, language: 'en' as const, timeZone: 'Asia/Shanghai' },
  directory: buildDirectory({ ...base, rooms: [...base.rooms, ...rooms] }),
});
const interrupted = (over: Partial<LinkInterrupted['body']> = {}): LinkInterrupted => ({
  ...{
    type: 'link.interrupted.v1',
    id: newId(),
    correlationId: newId(),
    causationId: newId(),
    occurredAt: now().toISOString(),
  },
  body: {
    ...{ inboundEventId: newId(), robotCode: 'dingtest', environment: 'test' },
    ...{ from: new Date(Date.now() - 21_000).toISOString(), to: now().toISOString() },
    ...over,
  },
});
async function talk(room: string, servedMinutesAgo: number, robotCode = 'dingtest'): Promise<void> {
  await recordInbound({ db: database.db, now }, buildReceived({ room, robotCode }));
  await sql`update agent_core.conversation set last_claimed_at = now() - ${servedMinutesAgo} * interval '1 minute'
    where (robot_code, conversation_id) = (${robotCode}, ${room})`.execute(database.admin);
}
const notices = async () =>
  (
    await database.rows<{
      message: {
        body: { lane: string; content: { text: string }; target: { conversation: { conversationId: string } } };
      };
    }>(`select message from agent_core.outbox where type = 'outbound.requested.v1' order by created_at, id`)
  ).map(({ message: { body } }) => ({
    room: body.target.conversation.conversationId,
    lane: body.lane,
    text: body.content.text,
  }));
const receipts = () =>
  database.rows<{ subject_id: string }>(
    `select subject_id from agent_core.outbox where type = 'inbound.settled.v1' and subject_id not in (select inbound_event_id from agent_core.turn)`,
  );

describe('a link that was down', () => {
  it('is told to the conversations that were active, with its times, and to no idle one', async () => {
    await talk('room-1', 1);
    await talk('room-2', 60);
    await talk('room-3', 0, 'dingother');
    const message = interrupted({ from: '2026-11-26T06:03:10.400Z', to: '2026-11-26T06:03:31.900Z' });
    await sql`update agent_core.conversation set last_claimed_at = '2026-11-26T06:00:00Z' where conversation_id = 'room-1'`.execute(
      database.admin,
    );
    await sql`update agent_core.conversation set last_claimed_at = '2026-11-26T05:00:00Z' where conversation_id = 'room-2'`.execute(
      database.admin,
    );
    await tellInterruption(context(), message);
    expect(await notices()).toEqual([
      {
        ...{ room: 'room-1', lane: 'bulk' },
        text: 'My link to DingTalk was down from 2026-11-26 14:03:10 Asia/Shanghai to 2026-11-26 14:03:31 Asia/Shanghai. If I missed something you said, please repeat it.',
      },
    ]);
    expect(await receipts()).toEqual([{ subject_id: message.body.inboundEventId }]);
  });

  it('is told once, however often the bus delivers it, and each time it gets its receipt', async () => {
    await talk('room-1', 1);
    const message = interrupted();
    await tellInterruption(context(), message);
    await tellInterruption(context(), message);
    expect(await notices()).toHaveLength(1);
    expect(await receipts()).toHaveLength(2);
    expect(
      await database.rows(`select outcome, detail->>'conversations' as told from audit.entry
        where kind = 'link.interrupted' and subject_id = '${message.body.inboundEventId}'`),
    ).toEqual([{ outcome: 'told', told: '1' }]);
  });

  it('is not told where Steward does not talk', async () => {
    await talk('room-unknown', 1);
    const message = interrupted();
    await tellInterruption(context(), message);
    expect(await notices()).toEqual([]);
    expect(
      await database.rows(`select outcome from audit.entry where subject_id = '${message.body.inboundEventId}'`),
    ).toEqual([{ outcome: 'nobody_active' }]);
  });

  it('is told to no more than 20, those served last', async () => {
    for (let n = 0; n < 25; n += 1) await talk(`room-${n}`, n / 10);
    await tellInterruption(context(), interrupted());
    const told = (await notices()).map(({ room }) => room).sort();
    expect(told).toEqual(Array.from({ length: 20 }, (_, n) => `room-${n}`).sort());
  });
});
