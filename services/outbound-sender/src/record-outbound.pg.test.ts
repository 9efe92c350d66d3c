import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { busMessageSchema, type BusMessage } from '@steward/contracts';
import { createOutboundRecorder } from './record-outbound.ts';
import { buildRequested, buildRequestedV2, cardContent, openTestDatabase } from './testing.ts';

let database: Awaited<ReturnType<typeof openTestDatabase>>;
beforeAll(async () => {
  database = await openTestDatabase();
  record = createOutboundRecorder({ db: database.db, now: () => new Date() });
});
beforeEach(() => database.clear());
afterAll(() => database.close());

let record: ReturnType<typeof createOutboundRecorder>;
const told = async () =>
  (
    await database.rows<{ message: BusMessage }>('select message from outbound_sender.outbox order by created_at, id')
  ).map(({ message }) => busMessageSchema.parse(message));
const audit = (id: string) =>
  database.rows(`select kind from audit.entry where subject_id = '${id}' and kind = 'outbound.recorded'`);

describe('recording a request', () => {
  it('puts it into the ledger once, and answers each time with the receipt', async () => {
    const requested = buildRequested();
    await Promise.all(Array.from({ length: 5 }, () => record(requested)));
    expect(await database.rows('select id, status, budget, lane from outbound_sender.outbound_message')).toEqual([
      { id: requested.body.outboundMessageId, status: 'queued', budget: 'robot dingtest', lane: 'answer' },
    ]);
    const receipts = await told();
    expect(receipts).toHaveLength(5);
    for (const receipt of receipts) {
      expect(receipt).toMatchObject({
        type: 'outbound.recorded.v1',
        correlationId: requested.correlationId,
        causationId: requested.id,
        body: { outboundMessageId: requested.body.outboundMessageId },
      });
    }
    expect(await audit(requested.body.outboundMessageId)).toHaveLength(1);
  });

  it('writes requests that come together in one statement, also beside one that was recorded before and one that is refused', async () => {
    const [known, refused, first, second] = [buildRequested(), buildRequested(), buildRequested(), buildRequested()];
    await record(known);
    const unknownLane = { ...refused, body: { ...refused.body, lane: 'none' as 'answer' } };
    const results = await Promise.allSettled([known, first, known, second, unknownLane].map(record));
    expect(results.map((result) => (result.status === 'fulfilled' ? result.value : 'refused'))).toEqual([
      ...[false, true, false, true, 'refused'],
    ]);
    const ids = [known, first, second].map(({ body }) => body.outboundMessageId);
    expect(await database.rows('select id from outbound_sender.outbound_message order by id')).toEqual(
      ids.toSorted().map((id) => ({ id })),
    );
    for (const id of ids) expect(await audit(id)).toHaveLength(1);
    expect((await told()).map(({ type }) => type)).toEqual(Array.from({ length: 5 }, () => 'outbound.recorded.v1'));
  });

  it('tells the ending again when it is asked for a message that has ended', async () => {
    const requested = buildRequested();
    await record(requested);
    await database.rows(
      `update outbound_sender.outbound_message set status = 'unknown', reason = 'PROCESS_DIED', attempt_count = 2, ended_at = now()`,
    );
    await record(requested);
    expect((await told())[1]).toMatchObject({
      type: 'outbound.settled.v1',
      correlationId: requested.correlationId,
      body: {
        outboundMessageId: requested.body.outboundMessageId,
        ending: 'unknown',
        reason: 'PROCESS_DIED',
        attempts: 2,
      },
    });
  });

  it('takes what is no words as one part without any, and a card before answers', async () => {
    const requested = buildRequestedV2({ content: cardContent, lane: 'bulk' });
    await Promise.all([record(requested), record(requested)]);
    expect(await database.rows('select lane, parts, content from outbound_sender.outbound_message')).toEqual([
      { lane: 'approval', parts: [''], content: cardContent },
    ]);
    expect(
      await database.rows(
        `select detail from audit.entry where subject_id = '${requested.body.outboundMessageId}' and kind = 'outbound.recorded'`,
      ),
    ).toEqual([{ detail: expect.objectContaining({ lane: 'approval', content: 'card', target: 'group' }) }]);
  });

  it('fixes the parts when it records: each below the limit, together the whole text, fences whole', async () => {
    const code = Array.from({ length: 900 }, (_, n) => `第 ${n} 行：echo "运维 😀"`).join('\n');
    await record(buildRequested({ text: `before\n\n\`\`\`sh\n${code}\n\`\`\`\n\nafter` }));
    const [row] = await database.rows<{ parts: string[] }>('select parts from outbound_sender.outbound_message');
    const parts = row?.parts ?? [];
    expect(parts.length).toBeGreaterThan(1);
    for (const part of parts) {
      expect(Buffer.byteLength(JSON.stringify(part))).toBeLessThanOrEqual(12_002);
      expect((part.match(/^```/gm) ?? []).length % 2).toBe(0);
      expect(part.isWellFormed()).toBe(true);
    }
    for (let n = 0; n < 900; n += 1) expect(parts.join('\n')).toContain(`第 ${n} 行`);
  });
});
