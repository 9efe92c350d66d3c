import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { BusMessageOf } from '@steward/contracts';
import type { Admission, NotRun } from './admit-turn.ts';
import { claimTurn } from './claim-turn.ts';
import { endTurn } from './end-turn.ts';
import { buildDirectory } from './judge-access.ts';
import { recordInbound } from './record-inbound.ts';
import { buildConfig, buildReceived, everyLane, openTestDatabase, type InboundOptions } from './testing.ts';

let database: Awaited<ReturnType<typeof openTestDatabase>>;
let notRun: NotRun[] = [];
beforeAll(async () => {
  database = await openTestDatabase();
});
beforeEach(async () => {
  notRun = [];
  await database.clear();
});
afterAll(() => database.close());

const now = () => new Date();
const limit = 3;
const admission: Admission = {
  fairness: { maxWaitingPerConversation: limit, noticeEverySeconds: 60 },
  directory: buildDirectory(buildConfig()),
  language: 'en',
  onNotRun: (outcome) => notRun.push(outcome),
};
const record = (o: InboundOptions, db = database.db) => recordInbound({ db, now, admission }, buildReceived(o));
const turns = () =>
  database.rows<{ sequence: number; status: string; outcome: string | null; lane: string }>(
    'select sequence, status, outcome, lane from agent_core.turn order by conversation_id, sequence',
  );
const notices = async () => {
  const rows = await database.rows<{ message: BusMessageOf<'outbound.requested.v1'> }>(
    `select message from agent_core.outbox where type = 'outbound.requested.v1' order by id`,
  );
  return rows.map(({ message }) => message.body);
};
const audited = () =>
  database.rows<{ outcome: string; subject_id: string; detail: Record<string, unknown> }>(
    `select outcome, subject_id, detail from audit.entry where kind = 'turn.ended'
     and subject_id in (select id::text from agent_core.turn) order by occurred_at`,
  );

describe('a conversation that is full', () => {
  it('ends what comes on top with its recording: status, outcome, audit entry, receipt, and one polite word', async () => {
    for (let sequence = 1; sequence <= limit + 2; sequence += 1)
      await record({ sequence, text: `question ${sequence}` });
    expect(await turns()).toEqual([
      ...[1, 2, 3].map((sequence) => ({ sequence, status: 'queued', outcome: null, lane: 'answer' })),
      ...[4, 5].map((sequence) => ({ sequence, status: 'done', outcome: 'not_run.full', lane: 'answer' })),
    ]);
    const said = await notices();
    expect(said).toMatchObject([
      {
        lane: 'control',
        afterOutboundMessageId: null,
        target: { kind: 'reply', conversation: { conversationId: 'cid-1' } },
      },
    ]);
    expect(said[0]?.content).toMatchObject({ text: expect.stringContaining('I have 3 of your requests waiting') });
    const [first, second, ...more] = await audited();
    expect(more).toEqual([]);
    expect(first).toMatchObject({
      outcome: 'not_run.full',
      detail: { sequence: 4, attempt: 0, waiting: limit, outboundMessageId: said[0]?.outboundMessageId },
    });
    expect(second).toMatchObject({ outcome: 'not_run.full', detail: { sequence: 5, outboundMessageId: null } });
    expect(notRun).toEqual(['not_run.full', 'not_run.full']);
    const receipts = await database.rows(`select from agent_core.outbox where type = 'inbound.settled.v1'`);
    expect(receipts).toHaveLength(limit + 2);
    // The model is shown what was worked on, not what was turned away.
    expect(await database.rows('select sequence from agent_core.transcript order by 1')).toEqual(
      [1, 2, 3].map((sequence) => ({ sequence })),
    );
    // The watermark goes over them: nothing waits for a turn that is not run.
    expect(await database.rows('select recorded_through from agent_core.conversation')).toEqual([
      { recorded_through: limit + 2 },
    ]);
  });

  it('says so again after the period, and not before', async () => {
    for (let sequence = 1; sequence <= limit + 2; sequence += 1) await record({ sequence });
    await database.rows(`update agent_core.conversation set full_told_at = now() - interval '59 s'`);
    await record({ sequence: 6 });
    expect(await notices()).toHaveLength(1);
    await database.rows(`update agent_core.conversation set full_told_at = now() - interval '61 s'`);
    await record({ sequence: 7 });
    expect(await notices()).toHaveLength(2);
  });

  it('never turns a command of the control lane away, nor counts it, nor what the platform says of itself', async () => {
    for (let sequence = 1; sequence <= limit; sequence += 1) await record({ sequence, text: '/status' });
    for (let sequence = 4; sequence <= 3 + limit; sequence += 1) await record({ sequence, text: 'a question' });
    const commands = ['/stop', '/cancel 7F3K', '/approve 7F3K', '拒绝 7F3K 原因', '/freeze', '/help', '/pending'];
    for (const [index, text] of commands.entries()) await record({ sequence: 7 + index, text });
    await record({ sequence: 14, content: { kind: 'quota_notice', text: 'quota' } });
    expect((await turns()).filter(({ status }) => status !== 'queued')).toEqual([]);
    // A command that takes as long as what it calls waits like words.
    await record({ sequence: 15, text: '/run anything' });
    expect((await turns()).at(-1)).toMatchObject({ status: 'done', outcome: 'not_run.full' });
  });

  it('has room again when one of its turns has ended, and never took room from another conversation', async () => {
    for (let sequence = 1; sequence <= limit + 1; sequence += 1) await record({ sequence });
    expect(notRun).toHaveLength(1);
    const turn = await claimTurn(database.db, everyLane);
    if (turn === null) throw new Error('nothing was claimed');
    await record({ sequence: 5 });
    await record({ room: 'another', sequence: 1 });
    expect(notRun).toHaveLength(2); // a running turn is waiting too
    await endTurn({ db: database.db, now }, turn, { status: 'done', outcome: 'model', answer: null });
    await record({ sequence: 6 });
    expect(notRun).toHaveLength(2);
  });

  it('says nothing to strangers, and audits what they asked all the same', async () => {
    for (let sequence = 1; sequence <= limit + 1; sequence += 1) await record({ room: 'not configured', sequence });
    expect(notRun).toHaveLength(1);
    expect(await notices()).toEqual([]);
    expect(await audited()).toHaveLength(1);
  });

  it('is full at the limit to the very number, however many record at once', async () => {
    const replicas = Array.from({ length: 4 }, () => database.connect(3));
    await Promise.all(
      Array.from({ length: 40 }, (_, index) => record({ sequence: index + 1 }, replicas[index % replicas.length])),
    );
    const all = await turns();
    expect(all.filter(({ status }) => status === 'queued')).toHaveLength(limit);
    expect(all.filter(({ outcome }) => outcome === 'not_run.full')).toHaveLength(40 - limit);
    expect(await notices()).toHaveLength(1);
    expect(await audited()).toHaveLength(40 - limit);
  });
});

describe('robots that talk to each other', () => {
  const robot = { staffId: null, corpId: null, nick: 'another robot' };
  /** Over the limit of a full room: these tests are not about it. */
  const roomy = { ...admission, fairness: { maxWaitingPerConversation: 100, noticeEverySeconds: 60 } };
  let sequence = 0;
  beforeEach(() => {
    sequence = 0;
  });
  const say = async (o: InboundOptions = {}) => {
    sequence += 1;
    await recordInbound(
      { db: database.db, now, admission: roomy },
      buildReceived({ requester: robot, ...o, sequence }),
    );
    return (await turns()).at(-1);
  };
  const sayTimes = async (count: number, o: InboundOptions = {}) => {
    for (let n = 0; n < count; n += 1) await say(o);
  };
  const loops = () => notRun.filter((outcome) => outcome === 'not_run.loop').length;

  it('are stopped after six turns in a row, told so once, and audited each time', async () => {
    await sayTimes(9);
    expect((await turns()).map(({ status }) => status)).toEqual([...Array(6).fill('queued'), 'done', 'done', 'done']);
    expect(loops()).toBe(3);
    expect((await audited()).map(({ outcome }) => outcome)).toEqual(Array(3).fill('not_run.loop'));
    const said = await notices();
    expect(said).toHaveLength(1);
    expect(said[0]?.content).toMatchObject({ text: expect.stringContaining('robots answer each other') });
  });

  it('are stopped whatever they say, commands too', async () => {
    await sayTimes(3, { text: '/help' });
    await sayTimes(3, { content: { kind: 'unsupported', msgtype: 'card' } });
    expect(await say({ text: '/ping' })).toMatchObject({ status: 'done', outcome: 'not_run.loop' });
  });

  it('are answered again after a person of the organisation wrote, and told again when they go on', async () => {
    await sayTimes(8);
    expect(await say({ requester: { staffId: 'staff-1', corpId: 'corp-1', nick: 'Li' } })).toMatchObject({
      status: 'queued',
    });
    await sayTimes(6);
    expect(loops()).toBe(2);
    await say();
    expect(loops()).toBe(3);
    expect(await notices()).toHaveLength(2);
  });

  it('are answered again after five minutes of silence, and not before', async () => {
    const passMinutes = (minutes: number) =>
      database.rows(`update agent_core.turn set created_at = created_at - interval '${minutes} minutes'`);
    await sayTimes(6);
    await passMinutes(4);
    expect(await say()).toMatchObject({ outcome: 'not_run.loop' });
    await passMinutes(2);
    expect(await say()).toMatchObject({ status: 'queued' });
  });

  it('are nobody who is vouched for, nobody in a single chat, and not the platform', async () => {
    await sayTimes(8, { requester: { staffId: 'staff-1', corpId: 'corp-1', nick: 'Li' } });
    await sayTimes(8, { kind: 'single' });
    await sayTimes(8, { content: { kind: 'quota_notice', text: 'quota' } });
    expect(loops()).toBe(0);
  });

  it('hear nothing where Steward does not talk', async () => {
    await sayTimes(8, { room: 'not configured' });
    expect(loops()).toBe(2);
    expect(await notices()).toEqual([]);
  });
});
