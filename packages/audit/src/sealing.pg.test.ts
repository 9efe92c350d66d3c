import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type pg from 'pg';
import { waitUntil } from '@steward/testkit';
import { generateSealKey, readSealKey, sealEntries, type Block, type SealOutcome } from './index.ts';
import { addEntry, openAuditDatabase, sealKey, toQuery, transactOn } from './testing.ts';

let log: Awaited<ReturnType<typeof openAuditDatabase>>;
beforeAll(async () => {
  log = await openAuditDatabase();
});
afterAll(() => log.close());

const blockOf = (outcome: SealOutcome): Block => {
  if (outcome.kind !== 'sealed') throw new Error(`not sealed: ${outcome.kind}`);
  return outcome.block;
};
/** Ids of the entries that lie in a block's range. */
const idsIn = async ({ epoch, fromTransaction, toTransaction }: Block) =>
  (
    await log.operator<{ id: string }>(
      `select id::text from audit.entry where epoch = $1 and transaction_id >= $2::bigint and transaction_id < $3::bigint`,
      [epoch, fromTransaction, toTransaction],
    )
  ).map(({ id }) => id);
const unsealedCount = async () => (await log.verify()).unsealed;
const sealUntil = (done: () => Promise<boolean>, what: string) =>
  waitUntil(
    async () => {
      await log.seal();
      return done();
    },
    { timeoutMs: 15_000, what },
  );
const sealAll = () => sealUntil(async () => (await unsealedCount()) === 0, 'every entry to be sealed');
const open = async (id: string): Promise<pg.PoolClient> => {
  const client = await log.as('steward_adapter').connect();
  await client.query('begin');
  await addEntry(toQuery(client), id);
  return client;
};
const commit = async (client: pg.PoolClient) => {
  await client.query('commit');
  client.release();
};

describe('sealing', () => {
  beforeEach(sealAll);

  it('puts every entry into exactly one block, in order, each block after the one before', async () => {
    const before = blockOf(await log.seal());
    const ids = await log.add(5);
    await sealAll();
    const sealed = await log.operator<{ number: number }>(
      `select b.number::int as number from audit.entry e join audit.block b on b.epoch = e.epoch
         and e.transaction_id >= b.from_transaction and e.transaction_id < b.to_transaction where e.id = any($1)`,
      [ids],
    );
    expect(sealed).toHaveLength(5);
    for (const { number } of sealed) expect(number).toBeGreaterThan(before.number);
    expect((await log.verify()).faults).toEqual([]);
  });

  it('seals nothing of a transaction that is still open, and nothing after it, until it ends', async () => {
    const late = randomUUID();
    const client = await open(late);
    const [after] = await log.add();
    const first = blockOf(await log.seal());
    expect(await idsIn(first)).toEqual([]);
    expect(await unsealedCount()).toBe(1);
    await commit(client);
    await sealAll();
    const sealed = await log.operator<{ id: string }>(
      `select e.id::text from audit.entry e join audit.block b on b.epoch = e.epoch and e.transaction_id >= b.from_transaction
         and e.transaction_id < b.to_transaction where e.id = any($1) order by e.transaction_id`,
      [[late, after]],
    );
    expect(sealed.map(({ id }) => id)).toEqual([late, after]);
    expect((await log.verify()).faults).toEqual([]);
  });

  it('goes on when the open transaction rolls back', async () => {
    const client = await open(randomUUID());
    const [after] = await log.add();
    await log.seal();
    await client.query('rollback');
    client.release();
    await sealAll();
    expect((await log.verify()).faults).toEqual([]);
    expect(await log.operator('select from audit.entry where id = $1', [after])).toHaveLength(1);
  });

  it('keeps the order of transactions that commit the other way round', async () => {
    const ids = [randomUUID(), randomUUID(), randomUUID()];
    const clients: pg.PoolClient[] = [];
    for (const id of ids) clients.push(await open(id));
    for (const client of clients.toReversed()) {
      await commit(client);
      await log.seal();
    }
    await sealAll();
    const report = await log.verify();
    expect(report.faults).toEqual([]);
    const order = await log.operator<{ id: string }>(
      'select id::text from audit.entry where id = any($1) order by transaction_id',
      [ids],
    );
    expect(order.map(({ id }) => id)).toEqual(ids);
  });

  it('loses and doubles nothing, however writers open, commit, roll back and sealers seal', async () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('open' as const), at: fc.nat(4) }),
      fc.record({ kind: fc.constant('add' as const), at: fc.nat(4) }),
      fc.record({ kind: fc.constantFrom('commit' as const, 'rollback' as const), at: fc.nat(4) }),
      fc.record({ kind: fc.constant('seal' as const), at: fc.nat(1) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 25 }), async (steps) => {
        const writers = new Map<number, { client: pg.PoolClient; ids: string[] }>();
        const committed: string[] = [];
        const end = async (at: number, verb: 'commit' | 'rollback') => {
          const writer = writers.get(at);
          if (writer === undefined) return;
          writers.delete(at);
          await writer.client.query(verb);
          writer.client.release();
          if (verb === 'commit') committed.push(...writer.ids);
        };
        for (const { kind, at } of steps) {
          const id = randomUUID();
          const writer = writers.get(at);
          if (kind === 'seal') await Promise.all([log.seal({ maxEntries: 3 }), at === 1 ? log.seal() : null]);
          else if (kind === 'commit' || kind === 'rollback') await end(at, kind);
          else if (writer === undefined) writers.set(at, { client: await open(id), ids: [id] });
          else if (kind === 'add') {
            await addEntry(toQuery(writer.client), id);
            writer.ids.push(id);
          }
        }
        for (const at of [...writers.keys()].reverse()) await end(at, 'commit');
        await sealAll();
        const [row] = await log.operator<{ n: number }>(
          `select count(*)::int as n from audit.entry e join audit.block b on b.epoch = e.epoch
             and e.transaction_id >= b.from_transaction and e.transaction_id < b.to_transaction where e.id = any($1)`,
          [committed],
        );
        expect(row?.n).toBe(committed.length);
      }),
      { numRuns: 25, endOnFailure: true },
    );
    const report = await log.verify();
    expect(report.faults).toEqual([]);
  }, 120_000);

  it('seals all that many writers write at once while two sealers work', async () => {
    let writing = true;
    const writers = Array.from({ length: 6 }, async () => {
      for (let n = 0; n < 40; n += 1) {
        const client = await open(randomUUID());
        await addEntry(toQuery(client), randomUUID());
        await client.query(n % 7 === 0 ? 'rollback' : 'commit');
        client.release();
      }
    });
    const outcomes: SealOutcome[] = [];
    const sealers = [0, 1].map(async () => {
      while (writing) outcomes.push(await log.seal({ maxEntries: 20 }));
    });
    await Promise.all(writers);
    writing = false;
    await Promise.all(sealers);
    await sealAll();
    expect(outcomes.filter(({ kind }) => kind === 'sealed').length).toBeGreaterThan(3);
    expect((await log.verify()).faults).toEqual([]);
  }, 60_000);

  it('lets one process seal at a time', async () => {
    await log.add();
    const holder = await log.as('steward_sealer').connect();
    await holder.query('begin');
    await holder.query('select only_one from audit.sealer for update');
    expect(await log.seal()).toEqual({ kind: 'elsewhere' });
    await holder.query('rollback');
    holder.release();
    expect((await log.seal()).kind).toBe('sealed');
  });

  it('cannot be kept from sealing by another role, whatever lock it takes', async () => {
    const holder = await log.as('steward_adapter').connect();
    await holder.query('begin');
    await holder.query(`select pg_advisory_xact_lock(hashtext('audit.seal'))`);
    expect((await log.seal()).kind).toBe('sealed');
    await holder.query('rollback');
    holder.release();
    for (const role of ['steward_adapter', 'steward_agent_core', 'steward_operator'] as const)
      for (const lock of [
        'select only_one from audit.sealer for update',
        'select only_one from audit.sealer for key share',
        'lock table audit.sealer in access exclusive mode',
        'lock table audit.partition in share row exclusive mode',
      ])
        await expect(log.as(role).query(lock)).rejects.toMatchObject({
          code: expect.stringMatching(/^(42501|25P01)$/),
        });
    for (const change of ['update audit.sealer set only_one = true', 'delete from audit.sealer'])
      for (const role of ['steward_sealer', 'steward_owner'] as const)
        await expect(log.as(role).query(change)).rejects.toMatchObject({ code: '42501' });
  });

  it('makes a sealer lose that slept while another one sealed', async () => {
    await log.add();
    const transact = transactOn(log.as('steward_sealer'));
    const outcome = await sealEntries({
      key: sealKey,
      emptyAfterSeconds: 0,
      // It has read the newest block and chosen its range; its lock is gone, as after a lost connection.
      transact: (work) =>
        transact((query) =>
          work(async (text, values) => {
            if (text.includes('insert into audit.block ')) {
              await log.tamper('select 1');
              await sealWithoutLock();
            }
            return text.includes('for update skip locked') ? ([{ only_one: true }] as never) : query(text, values);
          }),
        ),
    });
    expect(outcome).toEqual({ kind: 'overtaken' });
    await sealAll();
    expect((await log.verify()).faults).toEqual([]);
  });
  const sealWithoutLock = async () => expect((await log.seal()).kind).toBe('sealed');

  it('refuses a block that does not follow the newest one, whoever writes it', async () => {
    const [newest] = await log.operator<{ number: number }>('select max(number)::int as number from audit.block');
    const insert = (over: Record<string, string>) => {
      const columns = {
        number: `number + 1`,
        epoch: 'epoch',
        kind: 'kind',
        previous_hash: 'hash',
        from_transaction: 'to_transaction',
        to_transaction: 'to_transaction',
        entry_count: '0',
        root: 'root',
        sealed_at: 'clock_timestamp()',
        key_id: 'key_id',
        hash: 'sha256(hash)',
        signature: 'signature',
        ...over,
      };
      const text = `insert into audit.block (${Object.keys(columns).join()}) select ${Object.values(columns).join()} from audit.block where number = $1`;
      return log.as('steward_sealer').query(text, [newest?.number]);
    };
    for (const over of [
      { number: 'number + 2' },
      { number: 'number' },
      { previous_hash: 'previous_hash' },
      { previous_hash: 'sha256(previous_hash)' },
      { previous_hash: `decode(repeat('00', 32), 'hex')` },
      { from_transaction: 'to_transaction + 1', to_transaction: 'to_transaction + 1' },
      { from_transaction: 'from_transaction' },
      { epoch: 'epoch + 1' },
      { kind: `'restore'`, to_transaction: '9223372036854775807' },
      { to_transaction: '9223372036854775807' },
      { sealed_at: `sealed_at - interval '1 s'` },
    ] as Record<string, string>[]) {
      await expect(insert(over)).rejects.toMatchObject({ code: expect.stringMatching(/^23/) });
    }
  });

  it('splits a backlog into blocks, but never a transaction', async () => {
    await log.add(7);
    const client = await open(randomUUID());
    for (let n = 0; n < 9; n += 1) await addEntry(toQuery(client), randomUUID());
    await commit(client);
    await log.add(2);
    const counts: number[] = [];
    await waitUntil(
      async () => {
        const outcome = await log.seal({ maxEntries: 4 });
        if (outcome.kind === 'sealed' && outcome.block.entryCount > 0) counts.push(outcome.block.entryCount);
        return (await unsealedCount()) === 0;
      },
      { timeoutMs: 15_000, what: 'the backlog to be sealed' },
    );
    expect(Math.max(...counts)).toBeGreaterThanOrEqual(10);
    expect(counts.length).toBeGreaterThanOrEqual(4);
    expect(counts.reduce((sum, n) => sum + n, 0)).toBe(19);
    expect((await log.verify()).faults).toEqual([]);
  });

  it('counts as not working once an open transaction holds back entries, however fresh the empty blocks', async () => {
    const age = async () =>
      (await log.operator<{ seconds: number }>('select audit.seconds_since_seal() as seconds'))[0]?.seconds;
    // Any transaction that writes anywhere holds the horizon; this one takes no lock that tampering would wait for.
    const client = await log.as('steward_adapter').connect();
    await client.query('begin');
    await client.query('select pg_current_xact_id()');
    const [waiting] = await log.add();
    await log.seal();
    expect(await age()).toBeLessThan(60);
    await log.tamper(`update audit.entry set occurred_at = occurred_at - interval '61 s' where id = $1`, [waiting]);
    expect(blockOf(await log.seal()).entryCount).toBe(0);
    expect(await age()).toBeGreaterThan(60);
    await commit(client);
    await sealAll();
    expect(await age()).toBeLessThan(60);
  });

  it('holds two entries of one id in one transaction, and finds which of them is gone', async () => {
    const id = randomUUID();
    const client = await open(id);
    await addEntry(toQuery(client), id, { detail: { second: true } });
    await commit(client);
    await sealAll();
    expect((await log.verify()).faults).toEqual([]);
    for (const second of ['true', 'false']) {
      const gone = `id = $1 and (detail ? 'second') = ${second}`;
      await log.tamper(`create table audit.aside as select * from audit.entry where id = '${id}'`);
      await log.tamper(`delete from audit.entry where ${gone}`, [id]);
      expect((await log.verify()).faults).toMatchObject([{ code: 'entry_deleted', entryId: id }]);
      await log.tamper(`insert into audit.entry select * from audit.aside where ${gone}`, [id]);
      await log.tamper('drop table audit.aside');
    }
    expect((await log.verify()).faults).toEqual([]);
  });

  it('writes an empty block after the given time, and not before', async () => {
    expect(await log.seal({ emptyAfterSeconds: 3_600 })).toEqual({ kind: 'idle' });
    expect(blockOf(await log.seal({ emptyAfterSeconds: 0 })).entryCount).toBe(0);
    const [age] = await log.operator<{ seconds: number }>('select audit.seconds_since_seal() as seconds');
    expect(age?.seconds).toBeLessThan(60);
    expect((await log.verify()).faults).toEqual([]);
  });

  it('keeps numbers, times and texts to the last digit', async () => {
    await log.admin(
      `insert into audit.entry (id, service, kind, outcome, detail) values (gen_random_uuid(), 'operator', 'x.tried', 'ok',
         '{"big": 123456789012345678901234567890.1234567890, "e": 1e-300, "text": "\\u2028\\"值"}')`,
    );
    await sealAll();
    await log.tamper(
      `update audit.entry set detail = jsonb_set(detail, '{big}', '123456789012345678901234567890.1234567891') where detail ? 'big'`,
    );
    expect((await log.verify()).faults).toMatchObject([{ code: 'entry_edited' }]);
    await log.tamper(
      `update audit.entry set detail = jsonb_set(detail, '{big}', '123456789012345678901234567890.1234567890') where detail ? 'big'`,
    );
    expect((await log.verify()).faults).toEqual([]);
  });
});

describe('a database that was restored elsewhere', () => {
  it('is sealed only after a new epoch has begun, and then verifies over the border', async () => {
    await log.add(2);
    await sealAll();
    const [lost] = await log.add();
    await log.tamper(`update audit.epoch set system_identifier = '1'`);
    await expect(log.seal()).rejects.toMatchObject({ code: 'AUDIT_EPOCH_CHANGED', retryable: false });
    await expect(log.as('steward_operator').query(`select audit.begin_epoch('x')`)).rejects.toMatchObject({
      code: '42501',
    });
    const { rows } = await log.as('steward_owner').query(`select audit.begin_epoch('restored from backup') as epoch`);
    expect(rows).toEqual([{ epoch: 2 }]);
    const [fresh] = await log.add();
    const restore = blockOf(await log.seal());
    expect(restore).toMatchObject({ kind: 'restore', epoch: 1 });
    // Entries of the new epoch wait, whatever the age of the restore block: time counts from its beginning.
    await log.tamper(`update audit.epoch set began_at = began_at - interval '61 s' where number = 2`);
    const [age] = await log.operator<{ seconds: number }>('select audit.seconds_since_seal() as seconds');
    expect(age?.seconds).toBeGreaterThan(60);
    expect(await idsIn(restore)).toEqual([lost]);
    const next = blockOf(await log.seal());
    expect(next).toMatchObject({ kind: 'block', epoch: 2, fromTransaction: '0' });
    await sealAll();
    expect(await idsIn({ ...next, toTransaction: '9223372036854775807' })).toContain(fresh);
    const report = await log.verify();
    expect(report).toMatchObject({ faults: [], unsealed: 0 });
    const noted = await log.operator(`select outcome from audit.entry where kind = 'epoch.begun' and epoch = 2`);
    expect(noted).toHaveLength(1);
  });

  it('is not sealed when its transactions begin again at an earlier number', async () => {
    await log.tamper(
      'update audit.block set to_transaction = to_transaction + 1000000 where number = (select max(number) from audit.block)',
    );
    await expect(log.seal()).rejects.toMatchObject({ code: 'AUDIT_EPOCH_CHANGED' });
    await log.tamper(
      'update audit.block set to_transaction = to_transaction - 1000000 where number = (select max(number) from audit.block)',
    );
    expect((await log.verify()).faults).toEqual([]);
  });

  it('may begin two epochs before anything is sealed', async () => {
    await log.add();
    await log.as('steward_owner').query(`select audit.begin_epoch('one')`);
    await log.add();
    await log.as('steward_owner').query(`select audit.begin_epoch('two')`);
    await log.add();
    const kinds: string[] = [];
    await sealUntil(async () => (await unsealedCount()) === 0, 'all epochs to be sealed');
    for (const { kind } of await log.operator<{ kind: string }>('select kind from audit.block order by number'))
      kinds.push(kind);
    expect(kinds.filter((kind) => kind === 'restore')).toHaveLength(3);
    expect((await log.verify()).faults).toEqual([]);
  });
});

describe('another key', () => {
  it('seals on from where the last one stopped', async () => {
    const next = readSealKey(generateSealKey().privateKeyPem);
    const block = blockOf(await log.seal({ key: next }));
    expect(block.keyId).toBe(next.keyId);
    expect(block.keyId).not.toBe(sealKey.keyId);
  });
});
