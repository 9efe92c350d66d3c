import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { newId } from '@steward/service-kit';
import { busMessageSchema, type BusMessage, type BusMessageOf } from '@steward/contracts';
import { claimTurn, type ClaimedTurn } from './claim-turn.ts';
import { endTurn, type TurnResult } from './end-turn.ts';
import { recordInbound } from './record-inbound.ts';
import { refuseOnce } from './refuse-once.ts';
import { runTurn } from './run-turn.ts';
import { createOutboundReceipts } from './settle-outbound.ts';
import { texts } from './texts.ts';
import { buildTurnContext } from './gate.test-support.ts';
import { buildConfig, buildReceived, everyLane, openTestDatabase } from './testing.ts';
import { toStorableText } from './to-storable-text.ts';

let database: Awaited<ReturnType<typeof openTestDatabase>>;
beforeAll(async () => {
  database = await openTestDatabase();
});
beforeEach(() => database.clear());
afterAll(() => database.close());

const now = () => new Date();
const answer = (text: string): TurnResult => ({
  status: 'done',
  outcome: 'model',
  answer: { kind: 'markdown', title: 'title', text },
});
const end = (turn: ClaimedTurn, result: TurnResult) => endTurn({ db: database.db, now }, turn, result);
const startTurn = async (o: Parameters<typeof buildReceived>[0] = {}): Promise<ClaimedTurn> => {
  await recordInbound({ db: database.db, now }, buildReceived(o));
  const turn = await claimTurn(database.db, everyLane);
  if (turn === null) throw new Error('nothing was claimed');
  return turn;
};
const context = () => buildTurnContext(database.db, {}, buildConfig());
const run = async (turn: ClaimedTurn, o = context()): Promise<TurnResult> => {
  const outcome = await runTurn(o, turn, new AbortController().signal);
  if (outcome.status === 'waiting') throw new Error('the turn waits');
  return outcome;
};
const requests = async () =>
  (
    await database.rows<{ message: BusMessage }>(
      `select message from agent_core.outbox where type = 'outbound.requested.v1' order by created_at, id`,
    )
  ).map(({ message }) => message as BusMessageOf<'outbound.requested.v1'>);

describe('ending a turn', () => {
  it('writes status, answer, transcript, audit entry and request in one go', async () => {
    const turn = await startTurn({ sequence: 1, text: 'how are you?' });
    expect(await end(turn, answer('fine'))).toBe(true);
    expect(await database.rows('select status, outcome, lease_until from agent_core.turn')).toEqual([
      { status: 'done', outcome: 'model', lease_until: null },
    ]);
    expect(await database.rows('select speaker, text from agent_core.transcript order by speaker')).toEqual([
      { speaker: 'person', text: 'how are you?' },
      { speaker: 'robot', text: 'fine' },
    ]);
    const [request] = await requests();
    expect(busMessageSchema.parse(request)).toMatchObject({
      correlationId: turn.correlationId,
      causationId: turn.inbound.inboundEventId,
      body: {
        afterOutboundMessageId: null,
        lane: 'answer',
        environment: 'test',
        target: { kind: 'reply', staffId: 'staff-1', conversation: turn.inbound.conversation },
        content: { text: 'fine' },
      },
    });
    const audit = await database.rows(
      `select outcome, actor_staff_id, detail ->> 'outboundMessageId' as told from audit.entry where subject_id = '${turn.id}'`,
    );
    expect(audit).toEqual([{ outcome: 'model', actor_staff_id: 'staff-1', told: request?.body.outboundMessageId }]);
  });

  it('writes nothing at all when one part of it fails', async () => {
    const turn = await startTurn();
    await database.rows('revoke insert on audit.entry from steward_agent_core');
    try {
      await expect(end(turn, answer('lost?'))).rejects.toMatchObject({ code: '42501' });
    } finally {
      await database.rows('grant insert on audit.entry to steward_agent_core');
    }
    expect(await database.rows('select status from agent_core.turn')).toEqual([{ status: 'running' }]);
    expect(await database.rows(`select from agent_core.transcript where speaker = 'robot'`)).toEqual([]);
    expect(await requests()).toEqual([]);
    expect(await database.rows('select from agent_core.outbound_tail')).toEqual([]);
    expect(await end(turn, answer('again'))).toBe(true);
    expect(await requests()).toHaveLength(1);
  });

  it('chains the answers of a lane, and no lane to another', async () => {
    for (const [sequence, text] of [
      [1, 'one'],
      [2, '/help'],
      [3, 'two'],
      [4, 'silence'],
      [5, 'three'],
    ] as const) {
      const turn = await startTurn({ sequence, text });
      await end(turn, text === 'silence' ? { status: 'done', outcome: 'quota_notice', answer: null } : answer(text));
    }
    const [one, help, two, three] = await requests();
    expect([one, help, two, three].map((told) => told?.body.afterOutboundMessageId)).toEqual([
      null,
      null,
      one?.body.outboundMessageId,
      two?.body.outboundMessageId,
    ]);
  });

  it('stores what a model may say: half characters and NUL, also at the edge of the title', async () => {
    const turn = await startTurn({ text: 'say something odd' });
    const step = { text: `${'x'.repeat(59)}😀 tail \u0000 \ud83d`, calls: [], model: 'm', promptHash: 'h' };
    const asked = { ...context(), askModel: () => Promise.resolve({ ...step, text: toStorableText(step.text) }) };
    expect(await end(turn, await run(turn, asked))).toBe(true);
    const [request] = await requests();
    expect(request?.body.content).toMatchObject({ text: `${'x'.repeat(59)}😀 tail \uFFFD \uFFFD` });
  });
});

describe('the one polite refusal', () => {
  it('is given to one turn of a conversation, and again to the same turn after a crash', async () => {
    const first = await startTurn({ sequence: 1 });
    await end(first, answer('x'));
    const second = await startTurn({ sequence: 2 });
    const both = await Promise.all([first, second, first, second].map((turn) => refuseOnce(database.db, turn)));
    // Whoever came first keeps it.
    expect(both).toEqual([both[0], both[1], both[0], both[1]]);
    expect(both.filter(Boolean)).toHaveLength(2);
    expect(await refuseOnce(database.db, first)).toBe(both[0]);
  });

  it('names the room to copy, and later turns of that room get nothing but an audit entry', async () => {
    const outcomes: string[] = [];
    for (let sequence = 1; sequence <= 3; sequence += 1) {
      const turn = await startTurn({ sequence, room: 'cid-unknown', text: '/help' });
      const result = await run(turn);
      outcomes.push(result.outcome);
      await end(turn, result);
    }
    expect(outcomes).toEqual(['refused', 'refused_silently', 'refused_silently']);
    expect((await requests()).map(({ body }) => body.content.text)).toEqual([texts.unknownRoom.en('cid-unknown')]);
    const audit = await database.rows(
      `select outcome from audit.entry where conversation_id = 'cid-unknown' and kind = 'turn.ended' order by id`,
    );
    expect(audit).toHaveLength(3);
  });

  it('does not keep /status from counting what waits', async () => {
    const turn = await startTurn({ sequence: 1, text: '/status' });
    await recordInbound({ db: database.db, now }, buildReceived({ sequence: 2 }));
    const result = await run(turn);
    expect(result.answer?.text).toContain('requests waiting: 1');
    expect(result.answer?.text).toContain('answers not confirmed: 0');
  });

  it('does not let /status say that all is well while somebody waits, nor count a whole backlog', async () => {
    const turn = await startTurn({ sequence: 1, text: '/status' });
    const status = async () => (await run(turn)).answer?.text;
    expect(await status()).toMatch(/^All is well\n/);
    await end(await startTurn({ room: 'cid-2', text: 'hello' }), answer('hi'));
    expect(await status()).toMatch(/^All is well\n/);
    await database.rows(`update agent_core.outbox set created_at = now() - interval '61 s'`);
    expect(await status()).toMatch(/^Requests or answers are waiting\n/);
    await database.rows('delete from agent_core.outbox');
    await recordInbound({ db: database.db, now }, buildReceived({ sequence: 2 }));
    expect(await status()).toMatch(/^Requests or answers are waiting\n/);
    await database.rows(`
      insert into agent_core.turn
        (id, inbound_event_id, robot_code, conversation_id, sequence, lane, status, correlation_id, inbound)
      select gen_random_uuid(), gen_random_uuid(), robot_code, conversation_id, n, lane, status, correlation_id, inbound
      from agent_core.turn, generate_series(3, 1100) n where sequence = 2`);
    expect(await status()).toContain('requests waiting: 1000+');
  });
});

describe('the receipt of an outbound message', () => {
  const settled = (outboundMessageId: string): BusMessageOf<'outbound.settled.v1'> => ({
    ...buildReceived(),
    type: 'outbound.settled.v1',
    body: { outboundMessageId, ending: 'accepted', reason: null, attempts: 1 },
  });

  it('postpones the request once it is recorded, and closes and audits it once it has ended', async () => {
    await end(await startTurn(), answer('fine'));
    const [request] = await requests();
    const outboundMessageId = request?.body.outboundMessageId ?? '';
    const receipts = createOutboundReceipts(context());
    await receipts.postpone({
      ...buildReceived(),
      type: 'outbound.recorded.v1',
      body: { outboundMessageId },
    });
    const [due] = await database.rows<{ minutes: number }>(
      `select extract(epoch from next_publish_at - now())::float8 / 60 as minutes from agent_core.outbox where type = 'outbound.requested.v1'`,
    );
    expect(due?.minutes).toBeGreaterThan(9);
    const ended = settled(outboundMessageId);
    // The first goes alone; what comes meanwhile, the same again among it, goes together.
    await Promise.all([settled(newId()), ended, ended, settled(outboundMessageId)].map((one) => receipts.settle(one)));
    await receipts.settle(ended);
    expect(await requests()).toEqual([]);
    expect(
      await database.rows(
        `select outcome from audit.entry where kind = 'outbound.settled' and subject_id = '${outboundMessageId}'`,
      ),
    ).toEqual([{ outcome: 'accepted' }]);
  });
});
