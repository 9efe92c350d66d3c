import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { newId } from '@steward/service-kit';
import type { BusMessage, CardClicked } from '@steward/contracts';
import { recordCardClick } from './record-card-click.ts';
import { recordInbound } from './record-inbound.ts';
import { buildReceived, openTestDatabase } from './testing.ts';

let database: Awaited<ReturnType<typeof openTestDatabase>>;
beforeAll(async () => {
  database = await openTestDatabase();
});
beforeEach(() => database.clear());
afterAll(() => database.close());

const now = () => new Date();
const record = (received: Parameters<typeof recordInbound>[1]) => recordInbound({ db: database.db, now }, received);
const outbox = () => database.rows<{ message: BusMessage }>('select message from agent_core.outbox order by id');
const conversation = async () => {
  const [row] = await database.rows<{ recorded_through: number; gap: boolean; gap_age: number | null }>(
    `select recorded_through, gap_since is not null as gap, extract(epoch from now() - gap_since)::float8 as gap_age
     from agent_core.conversation`,
  );
  return row;
};

describe('recording an inbound event', () => {
  it('queues one turn with its line of transcript and answers with the receipt', async () => {
    const received = buildReceived({ text: '你好' });
    await record(received);
    expect(
      await database.rows(
        'select sequence, lane, status, attempt, correlation_id, inbound_event_id from agent_core.turn',
      ),
    ).toEqual([
      {
        sequence: 1,
        lane: 'answer',
        status: 'queued',
        attempt: 0,
        correlation_id: received.correlationId,
        inbound_event_id: received.body.inboundEventId,
      },
    ]);
    expect(await database.rows('select speaker, name, text from agent_core.transcript')).toEqual([
      { speaker: 'person', name: 'Li', text: '你好' },
    ]);
    expect((await outbox()).map(({ message }) => message)).toMatchObject([
      {
        type: 'inbound.settled.v1',
        correlationId: received.correlationId,
        causationId: received.id,
        body: { inboundEventId: received.body.inboundEventId },
      },
    ]);
  });

  it('answers the same bus message with its receipt again, and has one turn however many replicas get it', async () => {
    const received = buildReceived();
    await Promise.all(Array.from({ length: 6 }, () => record(received)));
    await record(received);
    expect(await database.rows('select from agent_core.turn')).toHaveLength(1);
    expect(await database.rows('select from agent_core.transcript')).toHaveLength(1);
    const receipts = await outbox();
    expect(receipts).toHaveLength(7);
    expect(new Set(receipts.map(({ message }) => message.id)).size).toBe(7);
  });

  it('gives commands their own lane', async () => {
    await record(buildReceived({ sequence: 1, text: '／帮助' }));
    await record(buildReceived({ sequence: 2, text: '/run me' }));
    const lanes = await database.rows<{ lane: string }>('select lane from agent_core.turn order by sequence');
    expect(lanes.map(({ lane }) => lane)).toEqual(['control', 'answer']);
  });

  it('leaves nothing behind when a part of the recording fails', async () => {
    const received = buildReceived();
    const impossible = { ...received, body: { ...received.body, inboundEventId: 'not a uuid' } };
    await expect(record(impossible)).rejects.toThrow('uuid');
    for (const table of ['turn', 'transcript', 'outbox', 'inbox', 'conversation'])
      expect(await database.rows(`select from agent_core.${table}`)).toEqual([]);
    await record(received);
    expect(await database.rows('select from agent_core.turn')).toHaveLength(1);
  });

  it('records a card click once, whole, audits it and sends its receipt each time', async () => {
    const clicked: CardClicked = {
      ...buildReceived(),
      type: 'card.clicked.v1',
      body: {
        inboundEventId: newId(),
        app: 'app-key-1',
        environment: 'test',
        outTrackId: 'card-1',
        corpId: 'corp-1',
        staffId: 'staff-1',
        spaceId: null,
        actionIds: ['approve'],
        params: { code: '7F3K' },
        door: 'stream',
      },
    };
    expect(await recordCardClick({ db: database.db, now }, clicked)).toBe(true);
    expect(await recordCardClick({ db: database.db, now }, clicked)).toBe(false);
    expect(await database.rows('select staff_id, click, decided_at from agent_core.card_click')).toEqual([
      { staff_id: 'staff-1', click: clicked.body, decided_at: null },
    ]);
    expect((await outbox()).map(({ message }) => message.type)).toEqual(['inbound.settled.v1', 'inbound.settled.v1']);
    const audit = await database.rows(
      `select outcome from audit.entry where kind = 'card.clicked' and subject_id = '${clicked.body.inboundEventId}'`,
    );
    expect(audit).toEqual([{ outcome: 'recorded' }]);
  });
});

describe('the watermark', () => {
  it('stops before every number that is missing, in whatever order and through whichever replica they come', async () => {
    const order = fc.integer({ min: 1, max: 12 }).chain((n) =>
      fc.shuffledSubarray(
        Array.from({ length: n }, (_, index) => index + 1),
        { minLength: n, maxLength: n },
      ),
    );
    await fc.assert(
      fc.asyncProperty(order, fc.integer({ min: 1, max: 4 }), async (sequences, atOnce) => {
        await database.clear();
        const here = new Set<number>();
        for (let at = 0; at < sequences.length; at += atOnce) {
          const together = sequences.slice(at, at + atOnce);
          await Promise.all(together.map((sequence) => record(buildReceived({ sequence }))));
          together.forEach((sequence) => here.add(sequence));
          let through = 0;
          while (here.has(through + 1)) through += 1;
          expect(await conversation()).toMatchObject({ recorded_through: through, gap: here.size > through });
        }
        expect(await conversation()).toMatchObject({ recorded_through: sequences.length, gap: false });
      }),
      { numRuns: 40 },
    );
  }, 60_000);

  it('counts the time of each gap from its own beginning', async () => {
    await record(buildReceived({ sequence: 2 }));
    await database.rows(`update agent_core.conversation set gap_since = now() - interval '100 s'`);
    await record(buildReceived({ sequence: 4 }));
    expect((await conversation())?.gap_age).toBeGreaterThan(99);
    // 1 comes, so 3 is what everybody waits for now: and for no longer than since just now.
    await record(buildReceived({ sequence: 1 }));
    const after = await conversation();
    expect(after).toMatchObject({ recorded_through: 2, gap: true });
    expect(after?.gap_age).toBeLessThan(50);
  });
});
