import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { sql } from 'kysely';
import type { BusMessage } from '@steward/contracts';
import { waitUntil } from '@steward/testkit';
import { createInboundRecorder, type NewInbound } from './record-inbound.ts';
import { buildInbound, hashOf, openTestDatabase } from './testing.ts';

let database: Awaited<ReturnType<typeof openTestDatabase>>;
beforeAll(async () => {
  database = await openTestDatabase();
});
afterAll(() => database.close());

let committed = 0;
let altered: [string | null, number][] = [];
const createRecorder = () =>
  createInboundRecorder({
    db: database.connect(),
    onCommitted: () => (committed += 1),
    onAltered: ({ sourceId }, count) => altered.push([sourceId, count]),
  });
type Row = {
  id: string;
  kind: string;
  source_id: string | null;
  conversation_id: string | null;
  sequence: number | null;
  duplicate_count: number;
  altered_count: number;
  settled: boolean;
};
const ledgerOf = (source: string) =>
  database.rows<Row>(
    `select id, kind, source_id, conversation_id, sequence, duplicate_count, altered_count, settled_at is not null as settled
     from adapter.inbound_event where source = '${source}' order by conversation_id, sequence`,
  );
const outboxOf = (source: string) =>
  database.rows<{ subject_id: string; message: BusMessage; needs_receipt: boolean }>(
    `select o.* from adapter.outbox o join adapter.inbound_event e on e.id = o.subject_id where e.source = '${source}'`,
  );
const auditOf = (source: string) =>
  database.rows<{ subject_id: string }>(`select subject_id from audit.entry where robot_code = '${source}'`);
const overloaded = { code: 'DOOR_OVERLOADED' };
const whileLedgerIsLocked = (work: () => Promise<void>) =>
  database.admin.transaction().execute(async (trx) => {
    await sql`lock table adapter.inbound_event in access exclusive mode`.execute(trx);
    await work();
  });
const newSource = () => `robot-${randomUUID()}`;

describe('recording a batch', () => {
  it('keeps messages, clicks and platform events, and tells agent-core of what it must know', async () => {
    const source = newSource();
    const recorder = createRecorder();
    const before = committed;
    const inbound: NewInbound[] = [
      buildInbound({ source }),
      buildInbound({ source }),
      buildInbound({ source, kind: 'card_click', sourceId: null, conversationId: null }),
      buildInbound({ source, kind: 'platform_event', conversationId: null, message: null }),
    ];
    const recorded = await Promise.all(inbound.map((one) => recorder.record(one)));
    expect(recorded).toEqual(inbound.map(({ id }) => ({ inboundEventId: id, duplicate: false })));
    const ledger = await ledgerOf(source);
    expect(ledger.map(({ kind, sequence, settled }) => [kind, sequence, settled])).toEqual(
      expect.arrayContaining([
        ['robot_message', 1, false],
        ['robot_message', 2, false],
        ['card_click', null, false],
        ['platform_event', null, true],
      ]),
    );
    const outbox = await outboxOf(source);
    expect(outbox.map(({ subject_id }) => subject_id).sort()).toEqual(
      inbound
        .slice(0, 3)
        .map(({ id }) => id)
        .sort(),
    );
    expect(outbox.every(({ needs_receipt }) => needs_receipt)).toBe(true);
    expect(await auditOf(source)).toHaveLength(4);
    expect(committed).toBeGreaterThan(before);
    expect(recorder.pending()).toBe(0);
  });

  it('keeps what is ignored for a reason, audits it as such, and gives it no number', async () => {
    const source = newSource();
    const recorder = createRecorder();
    const echo = { source, sourceId: 'm1', conversationId: null, message: null, ignored: 'own_echo' } as const;
    await Promise.all([recorder.record(buildInbound(echo)), recorder.record(buildInbound({ source }))]);
    expect(await recorder.record(buildInbound(echo))).toMatchObject({ duplicate: true });
    const audited = await database.rows(
      `select kind || ' ' || outcome as what from audit.entry where robot_code = '${source}' order by 1`,
    );
    expect(audited).toEqual([{ what: 'inbound.ignored own_echo' }, { what: 'inbound.recorded accepted' }]);
    expect(await outboxOf(source)).toHaveLength(1);
    expect((await ledgerOf(source)).map(({ sequence }) => sequence)).toEqual([1, null]);
  });

  it('has one effect for repeats inside the batch, and counts them', async () => {
    const source = newSource();
    const recorder = createRecorder();
    const repeats = Array.from({ length: 5 }, () => buildInbound({ source, sourceId: 'again' }));
    const recorded = await Promise.all(repeats.map((one) => recorder.record(one)));
    expect(recorded.map(({ duplicate }) => duplicate)).toEqual([false, true, true, true, true]);
    expect(new Set(recorded.map(({ inboundEventId }) => inboundEventId)).size).toBe(1);
    expect(await ledgerOf(source)).toMatchObject([{ sequence: 1, duplicate_count: 4, altered_count: 0 }]);
    expect(await outboxOf(source)).toHaveLength(1);
    expect(await auditOf(source)).toHaveLength(1);
  });

  it('has one effect for a message that comes 100 times through two replicas', async () => {
    const source = newSource();
    const replicas = [createRecorder(), createRecorder()];
    const recorded = await Promise.all(
      Array.from({ length: 100 }, async (_, n) => {
        if (n % 20 === 0) await sql`select pg_sleep(0.005)`.execute(database.admin);
        return replicas[n % 2]!.record(buildInbound({ source, sourceId: 'hundred' }));
      }),
    );
    expect(recorded.filter(({ duplicate }) => !duplicate)).toHaveLength(1);
    expect(new Set(recorded.map(({ inboundEventId }) => inboundEventId)).size).toBe(1);
    expect(await ledgerOf(source)).toMatchObject([{ sequence: 1, duplicate_count: 99 }]);
    expect(await outboxOf(source)).toHaveLength(1);
    expect(await auditOf(source)).toHaveLength(1);
  });

  it('numbers each conversation without gaps or repeats, whatever three replicas take at once', async () => {
    const replicas = [createRecorder(), createRecorder(), createRecorder()];
    const arrival = fc.record({ room: fc.nat(2), msg: fc.nat(24), replica: fc.nat(2) });
    await fc.assert(
      fc.asyncProperty(fc.array(arrival, { minLength: 1, maxLength: 80 }), async (arrivals) => {
        const source = newSource();
        await Promise.all(
          arrivals.map(({ room, msg, replica }) =>
            // The same msgId may come under another conversation: it is still the same message.
            replicas[replica]!.record(buildInbound({ source, sourceId: `m${msg}`, conversationId: `cid-${room}` })),
          ),
        );
        const ledger = await ledgerOf(source);
        const distinct = new Set(arrivals.map(({ msg }) => msg)).size;
        expect(ledger).toHaveLength(distinct);
        expect(ledger.reduce((sum, row) => sum + row.duplicate_count, 0)).toBe(arrivals.length - distinct);
        for (const room of new Set(ledger.map(({ conversation_id }) => conversation_id))) {
          const numbers = ledger.filter((row) => row.conversation_id === room).map(({ sequence }) => sequence);
          expect(numbers).toEqual(numbers.map((_, index) => index + 1));
        }
        const told = (await outboxOf(source)).map(({ subject_id, message }) => [
          subject_id,
          message.type === 'inbound.received.v1' ? message.body.sequence : null,
        ]);
        expect(new Map(told as [string, number][])).toEqual(new Map(ledger.map(({ id, sequence }) => [id, sequence])));
        expect(told).toHaveLength(distinct);
        expect(await auditOf(source)).toHaveLength(distinct);
      }),
      { numRuns: 25 },
    );
  }, 60_000);

  it('refuses nobody when many replicas take messages of one busy room', async () => {
    const source = newSource();
    const replicas = Array.from({ length: 8 }, createRecorder);
    for (let wave = 0; wave < 5; wave += 1) {
      await Promise.all(
        Array.from({ length: 160 }, async (_, n) => {
          if (n % 3 === 0) await sql`select 1`.execute(database.admin);
          return replicas[n % 8]!.record(buildInbound({ source }));
        }),
      );
    }
    expect((await ledgerOf(source)).map(({ sequence }) => sequence)).toEqual(
      Array.from({ length: 800 }, (_, n) => n + 1),
    );
  });

  it('counts a redelivery with another body as altered, across batches and inside one', async () => {
    const source = newSource();
    const recorder = createRecorder();
    const record = (body: string) =>
      recorder.record(buildInbound({ source, sourceId: 'm', bodyHashHex: hashOf(body) }));
    await record('a');
    await record('a');
    await record('b');
    expect(await ledgerOf(source)).toMatchObject([{ duplicate_count: 2, altered_count: 1 }]);
    await Promise.all([record('b'), record('a'), record('c')]);
    expect(await ledgerOf(source)).toMatchObject([{ duplicate_count: 5, altered_count: 3 }]);

    const fresh = newSource();
    await Promise.all(
      ['a', 'a', 'b'].map((body) =>
        recorder.record(buildInbound({ source: fresh, sourceId: 'm', bodyHashHex: hashOf(body) })),
      ),
    );
    expect(await ledgerOf(fresh)).toMatchObject([{ duplicate_count: 2, altered_count: 1 }]);
  });

  it('tells of every altered body, once for each time it came, in the audit log too', async () => {
    const source = newSource();
    const recorder = createRecorder();
    const record = (sourceId: string, body: string) =>
      recorder.record(buildInbound({ source, sourceId, bodyHashHex: hashOf(body) }));
    altered = [];
    await record('m1', 'a');
    await record('m1', 'a');
    expect(altered).toEqual([]);
    await record('m1', 'b');
    await Promise.all([record('m2', 'a'), record('m2', 'b'), record('m2', 'b')]);
    expect(altered).toEqual([
      ['m1', 1],
      ['m2', 2],
    ]);
    const audited = await database.rows(
      `select a.detail ->> 'sourceId' as "sourceId", (a.detail ->> 'count')::integer as count, e.source = a.robot_code as known
       from audit.entry a join adapter.inbound_event e on e.id::text = a.subject_id
       where a.robot_code = '${source}' and a.kind = 'inbound.altered' order by 1`,
    );
    expect(audited).toEqual([
      { sourceId: 'm1', count: 1, known: true },
      { sourceId: 'm2', count: 2, known: true },
    ]);
  });

  it('keeps the order of arrival in a conversation while its first batch is slow', async () => {
    const source = newSource();
    const recorder = createRecorder();
    const say = (conversationId: string, sourceId: string) =>
      recorder.record(buildInbound({ source, conversationId, sourceId: `${conversationId} ${sourceId}` }));
    await Promise.all([say('cid-0', 'known'), say('cid-1', 'known')]);
    const slow: Promise<unknown>[] = [];
    await database.admin.transaction().execute(async (trx) => {
      await sql`select from adapter.conversation_counter where robot_code = ${source} and conversation_id = 'cid-0'
        for update`.execute(trx);
      slow.push(say('cid-0', 'first'), say('cid-1', 'first'));
      const waiting = `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`;
      await waitUntil(async () => (await database.rows(waiting)).length > 0, {
        timeoutMs: 10_000,
        what: 'a slow batch',
      });
      slow.push(say('cid-1', 'second'));
      // Goes out beside the slow batch, and would have taken the second message along.
      await say('cid-2', 'other');
    });
    await Promise.all(slow);
    const ledger = (await ledgerOf(source)).filter(({ conversation_id }) => conversation_id === 'cid-1');
    expect(ledger.map(({ source_id }) => source_id)).toEqual(['cid-1 known', 'cid-1 first', 'cid-1 second']);
  });

  it('lets replicas that repeat the same platform events in any order all succeed', async () => {
    const source = newSource();
    const replicas = [createRecorder(), createRecorder(), createRecorder()];
    const ids = Array.from({ length: 60 }, (_, n) => `event-${n}`);
    const push = (replica: number, order: readonly string[]) =>
      order.map((sourceId) =>
        replicas[replica]!.record(
          buildInbound({ source, sourceId, kind: 'platform_event', conversationId: null, message: null }),
        ),
      );
    for (let round = 0; round < 8; round += 1) {
      const turned = [...ids.slice(round * 7), ...ids.slice(0, round * 7)];
      await Promise.all([...push(0, ids), ...push(1, turned), ...push(2, turned.toReversed())]);
    }
    const ledger = await ledgerOf(source);
    expect(ledger).toHaveLength(60);
    expect(ledger.every(({ duplicate_count }) => duplicate_count === 23)).toBe(true);
  });
});

describe('recording when something is wrong', () => {
  it.each([
    ['a body hash that is none', { bodyHashHex: 'not hex' }],
    ['an id that no index can hold', { sourceId: Array.from({ length: 300 }, () => randomUUID()).join('') }],
    ['a kind that the ledger does not know', { kind: 'rumour' as 'card_click' }],
  ])('fails %s alone, not its neighbours in the batch', async (_, fault) => {
    const source = newSource();
    const recorder = createRecorder();
    const settled = await Promise.allSettled(
      Array.from({ length: 20 }, (_unused, n) => recorder.record(buildInbound({ source, ...(n === 7 ? fault : {}) }))),
    );
    expect(settled.map(({ status }) => status)).toEqual(
      Array.from({ length: 20 }, (_unused, n) => (n === 7 ? 'rejected' : 'fulfilled')),
    );
    const ledger = await ledgerOf(source);
    // In the order of arrival, and the bad row took no number.
    expect(ledger.map(({ sequence }) => sequence)).toEqual(Array.from({ length: 19 }, (_unused, n) => n + 1));
    expect(await outboxOf(source)).toHaveLength(19);
  });

  it('refuses at the limit instead of letting memory grow, and keeps what it took', async () => {
    const [first, second] = [newSource(), newSource()];
    const recorder = createRecorder();
    const taken: Promise<unknown>[] = [];
    const inRoom = (source: string, room: number) => buildInbound({ source, conversationId: `cid-${room}` });
    await whileLedgerIsLocked(async () => {
      for (let n = 0; n < 2_000; n += 1) taken.push(recorder.record(inRoom(n % 2 === 0 ? first : second, n % 20)));
      expect(recorder.pending()).toBe(2_000);
      await expect(recorder.record(buildInbound({ source: newSource() }))).rejects.toMatchObject(overloaded);
    });
    await Promise.all(taken);
    expect(recorder.pending()).toBe(0);
    for (const source of [first, second]) {
      const counts = await database.rows<{ n: number; top: number }>(
        `select count(*) as n, max(sequence) as top from adapter.inbound_event where source = '${source}' group by conversation_id`,
      );
      expect(counts).toEqual(Array.from({ length: 10 }, () => ({ n: 100, top: 100 })));
    }
  });

  it('refuses a room and a robot that take more than their part, no other, and takes them again once it has caught up', async () => {
    const [noisy, quiet] = [newSource(), newSource()];
    const recorder = createRecorder();
    const storm: Promise<unknown>[] = [];
    const others: Promise<unknown>[] = [];
    const sayIn = (source: string, room: string) => recorder.record(buildInbound({ source, conversationId: room }));
    await whileLedgerIsLocked(async () => {
      for (let n = 0; n < 5_000; n += 1) storm.push(sayIn(noisy, 'storm'));
      // One room of a robot is full: its other rooms and other robots are not.
      for (let room = 0; room < 4; room += 1)
        for (let n = 0; n < 200; n += 1) others.push(sayIn(noisy, `room ${room}`));
      await expect(sayIn(noisy, 'one room more')).rejects.toMatchObject(overloaded);
      for (let room = 0; room < 10; room += 1) others.push(sayIn(quiet, `room ${room}`));
      // What has no room, such as a click, counts for its robot alone.
      others.push(
        recorder.record(buildInbound({ source: quiet, kind: 'card_click', sourceId: null, conversationId: null })),
      );
      expect(recorder.pending()).toBe(200 + 4 * 200 + 11);
    });
    const settled = await Promise.allSettled(storm);
    expect(settled.filter(({ status }) => status === 'fulfilled')).toHaveLength(200);
    expect(settled.slice(0, 200).every(({ status }) => status === 'fulfilled')).toBe(true);
    await Promise.all(others);
    expect(recorder.pending()).toBe(0);
    expect(await sayIn(noisy, 'storm')).toMatchObject({ duplicate: false });
    expect(await sayIn(noisy, 'one room more')).toMatchObject({ duplicate: false });
  });

  it('rejects everybody and keeps nothing when any part of the transaction fails', async () => {
    const source = newSource();
    const recorder = createRecorder();
    await recorder.record(buildInbound({ source }));
    await database.rows('revoke insert on audit.entry from steward_adapter');
    try {
      const settled = await Promise.allSettled(
        Array.from({ length: 10 }, () => recorder.record(buildInbound({ source }))),
      );
      expect(settled.every(({ status }) => status === 'rejected')).toBe(true);
    } finally {
      await database.rows('grant insert on audit.entry to steward_adapter');
    }
    expect(await ledgerOf(source)).toHaveLength(1);
    expect(await outboxOf(source)).toHaveLength(1);
    await recorder.record(buildInbound({ source }));
    expect((await ledgerOf(source)).map(({ sequence }) => sequence)).toEqual([1, 2]);
  });
});
