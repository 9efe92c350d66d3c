import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { waitUntil } from '@steward/testkit';
import { generateSealKey, readPublicKeys, readSealKey, type Checkpoint, readCheckpoints } from './index.ts';
import { signBlock } from './block.ts';
import { readBlocks } from './read-log.ts';
import { openAuditDatabase, publicKeys, sealKey } from './testing.ts';

let log: Awaited<ReturnType<typeof openAuditDatabase>>;
let ids: string[];
let checkpoint: Checkpoint;

/** Seals until every entry that is there is in a block: other databases of the server may hold the horizon back. */
const sealAll = () =>
  waitUntil(
    async () => {
      await log.seal();
      const [row] = await log.admin<{ left: number }>(
        `select count(*)::int as left from audit.entry e where e.epoch = (select max(number) from audit.epoch) and e.transaction_id >=
           coalesce((select b.to_transaction from audit.block b where b.epoch = e.epoch order by b.number desc limit 1), 0)`,
      );
      return row?.left === 0;
    },
    { timeoutMs: 15_000, what: 'every entry to be sealed' },
  );
const witnessed = async (): Promise<Checkpoint> => {
  const [row] = await log.operator<{ line: string }>('select line from audit.newest_checkpoint()');
  const [first] = readCheckpoints(row?.line ?? '');
  if (first === undefined) throw new Error('no checkpoint');
  return first;
};
const verify = () => log.verify({ checkpoints: [checkpoint] });

describe('a log that somebody with the whole server in hand changed', () => {
  beforeAll(async () => {
    log = await openAuditDatabase();
  });
  afterAll(() => log.close());
  beforeEach(async () => {
    // A fresh chain for each case, taken apart by the same means as the attacker's.
    await log.tamper('truncate audit.entry, audit.detail, audit.block, audit.block_leaves');
    ids = [];
    for (let block = 0; block < 3; block += 1) {
      ids.push(...(await log.add(4)));
      await sealAll();
    }
    checkpoint = await witnessed();
  });
  const only = (count = 1) => expect.objectContaining({ outcome: 'bad', exitCode: 1, faultCount: count });
  const at = (index: number) => ids[index] ?? '';

  it('verifies when nothing was changed', async () => {
    const report = await verify();
    expect(report).toMatchObject({ outcome: 'fine', exitCode: 0, faults: [], entries: 12, unsealed: 0 });
    expect(report.blocks).toBeGreaterThanOrEqual(3);
    expect(report.witnessed?.number).toBe(checkpoint.number);
  });

  it.each([
    ['outcome', `'refused'`],
    ['detail', `jsonb_set(detail, '{n}', '1.50')`],
    ['actor_staff_id', `'somebody'`],
    ['policy_hash', `'other'`],
  ])('names an entry whose %s was edited', async (column, value) => {
    await log.tamper(`update audit.entry set ${column} = ${value} where id = $1`, [at(5)]);
    const report = await verify();
    expect(report).toEqual(only());
    expect(report.faults[0]).toMatchObject({ code: 'entry_edited', entryId: at(5) });
    expect(report.faults[0]?.text).toContain(at(5));
  });

  it.each([4, 6, 7, 11])(
    'names an entry that was deleted, wherever it stood (%i), and when it was written',
    async (index) => {
      const [row] = await log.operator<{ at: string }>(
        'select audit.utc_text(occurred_at) as at from audit.entry where id = $1',
        [at(index)],
      );
      await log.tamper('delete from audit.entry where id = $1', [at(index)]);
      const report = await verify();
      expect(report).toEqual(only());
      expect(report.faults[0]).toMatchObject({ code: 'entry_deleted', entryId: at(index) });
      expect(report.faults[0]?.text).toContain(`written at ${row?.at}`);
    },
  );

  it('finds a block that somebody with the key replaced, by the one after it', async () => {
    for await (const block of readBlocks(log.operator, { from: 2, to: 2 })) {
      const other = signBlock({ ...block, sealedAt: block.sealedAt.replace(/\d{6}Z$/, '000000Z') }, sealKey);
      await log.tamper(
        `update audit.block set sealed_at = $1::timestamptz, hash = decode($2, 'hex'), signature = decode($3, 'hex') where number = 2`,
        [other.sealedAt, other.hash, other.signature],
      );
    }
    const report = await verify();
    expect(report).toEqual(only());
    expect(report.faults[0]).toMatchObject({ code: 'block_unchained', block: 3 });
  });

  it('names an entry that was put into a sealed range', async () => {
    const id = randomUUID();
    await log.tamper(
      `insert into audit.entry (id, service, kind, outcome, transaction_id)
       select $1, service, kind, outcome, transaction_id from audit.entry where id = $2`,
      [id, at(6)],
    );
    const report = await verify();
    expect(report).toEqual(only());
    expect(report.faults[0]).toMatchObject({ code: 'entry_inserted', entryId: id });
  });

  it('names an entry that repeats the id and transaction of another', async () => {
    await log.tamper(
      `insert into audit.entry (id, service, kind, outcome, transaction_id, occurred_at)
       select id, service, kind, 'other', transaction_id, occurred_at + interval '1 s' from audit.entry where id = $1`,
      [at(6)],
    );
    const report = await verify();
    expect(report).toEqual(only());
    expect(report.faults[0]).toMatchObject({ code: 'entry_inserted', entryId: at(6) });
  });

  it.each(['id', 'transaction_id', 'detail'])('names both of a pair whose %s was swapped', async (column) => {
    await log.tamper(`update audit.entry set detail = '{"own": true}' where id = $1`, [at(1)]);
    await log.tamper('truncate audit.block, audit.block_leaves');
    await sealAll();
    await log.tamper(
      `update audit.entry e set ${column} = o.${column} from audit.entry o
       where e.id in ($1, $2) and o.id in ($1, $2) and e.id <> o.id`,
      [at(1), at(2)],
    );
    const report = await log.verify();
    expect(report.exitCode).toBe(1);
    expect(new Set(report.faults.map(({ entryId }) => entryId))).toEqual(new Set([at(1), at(2)]));
  });

  it('names an entry whose time was altered', async () => {
    await log.tamper(`update audit.entry set occurred_at = occurred_at - interval '1 us' where id = $1`, [at(7)]);
    const report = await verify();
    expect(report).toEqual(only());
    expect(report.faults[0]).toMatchObject({ code: 'entry_time_altered', entryId: at(7) });
  });

  it('names an entry that was moved to another partition', async () => {
    await log.tamper(
      `with moved as (delete from audit.entry where id = $1 returning *)
       insert into audit.entry (id, service, kind, outcome, correlation_id, detail, transaction_id, occurred_at)
       select id, service, kind, outcome, correlation_id, detail, transaction_id, occurred_at + interval '1 month' from moved`,
      [at(7)],
    );
    const [row] = await log.admin<{ name: string }>(
      'select tableoid::regclass::text as name from audit.entry where id = $1',
      [at(7)],
    );
    expect(row?.name).not.toBe('audit.entry_history');
    const report = await verify();
    expect(report).toEqual(only());
    expect(report.faults[0]).toMatchObject({ code: 'entry_time_altered', entryId: at(7) });
  });

  it.each([
    ['a transaction that was sealed long ago', 'transaction_id = 1', 'entry_inserted'],
    ['no epoch that there is', 'epoch = 9', 'entry_out_of_range'],
    ['a negative transaction', 'transaction_id = -5', 'entry_out_of_range'],
    ['the last transaction of all', 'transaction_id = 9223372036854775807', 'entry_out_of_range'],
  ])('finds an entry that was moved to %s', async (_, change, code) => {
    await log.tamper(`update audit.entry set ${change} where id = $1`, [at(8)]);
    const report = await verify();
    expect(report.faults.map(({ code: found, entryId }) => [found, entryId])).toEqual(
      expect.arrayContaining([
        [code, at(8)],
        ['entry_deleted', at(8)],
      ]),
    );
  });

  it('names a block that is missing', async () => {
    await log.tamper('delete from audit.block_leaves where block_number = 2');
    await log.tamper('delete from audit.block where number = 2');
    const report = await verify();
    expect(report.faults[0]).toMatchObject({ code: 'block_missing', block: 2, text: 'block 2 is missing' });
  });

  it('finds that the first block is missing', async () => {
    await log.tamper('delete from audit.block_leaves where block_number = 1');
    await log.tamper('delete from audit.block where number = 1');
    expect((await verify()).faults[0]).toMatchObject({ code: 'block_missing', block: 1 });
  });

  it.each([
    ['root', `decode(repeat('ab', 32), 'hex')`, 'block_altered'],
    ['entry_count', 'entry_count + 1', 'block_altered'],
    ['sealed_at', `sealed_at - interval '1 us'`, 'block_altered'],
    ['to_transaction', 'to_transaction - 1', 'block_altered'],
    ['signature', `decode(repeat('ab', 64), 'hex')`, 'signature_bad'],
    ['key_id', `'0123456789abcdef'`, 'block_altered'],
    ['hash', `decode(repeat('cd', 32), 'hex')`, 'block_altered'],
  ])('names a block whose %s was altered', async (column, value, code) => {
    await log.tamper(`update audit.block set ${column} = ${value} where number = 2`);
    const report = await verify();
    expect(report.exitCode).toBe(1);
    expect(report.faults[0]).toMatchObject({ code, block: 2 });
  });

  it('names the block whose leaves were altered, and goes by the entries themselves', async () => {
    await log.tamper(
      `update audit.block_leaves set leaves = overlay(leaves placing '\\x00' from 40) where block_number = 2`,
    );
    const report = await verify();
    expect(report.faults[0]).toMatchObject({ code: 'leaves_altered', block: 2 });
    expect(report.faults.map(({ code }) => code)).not.toContain('entries_altered');
  });

  it('says so when an entry and the leaves beside it were altered together', async () => {
    await log.tamper('delete from audit.entry where id = $1', [at(4)]);
    await log.tamper('delete from audit.block_leaves where block_number = 2');
    const report = await verify();
    expect(report.faults.map(({ code }) => code)).toEqual(
      expect.arrayContaining(['leaves_altered', 'entries_altered']),
    );
  });

  it('finds a deleted tail by a checkpoint, and without one says that nobody witnessed the tail', async () => {
    const { number } = checkpoint;
    await log.tamper('delete from audit.block_leaves where block_number > 1');
    await log.tamper(
      `delete from audit.entry where transaction_id >= (select to_transaction from audit.block where number = 1)`,
    );
    await log.tamper('delete from audit.block where number > 1');
    const report = await verify();
    expect(report.faults[0]).toMatchObject({ code: 'tail_deleted', block: 2 });
    expect(report.faults[0]?.text).toContain(`block ${number} was witnessed`);
    expect(await log.verify()).toMatchObject({ outcome: 'unwitnessed', exitCode: 3, faultCount: 0 });
  });

  it.each([
    ['a span made for it', `o.at - interval '1 us'`, `o.at + interval '1 us'`, 'o.at'],
    [
      'a span made for it, retired after it',
      `o.at - interval '1 us'`,
      `o.at + interval '1 us'`,
      `o.at + interval '1 s'`,
    ],
    ['the span of a partition, before it was over', 'p.from_at', 'p.to_at', 'o.at'],
    ['the span of a partition, after it was over', 'p.from_at', 'p.to_at', `p.to_at + interval '1 s'`],
  ])('is not blinded by a row that says an entry was retired, with %s', async (_, from, to, retiredAt) => {
    const forged = `insert into audit.retirement (name, from_at, to_at, export_sha256, exported_rows, retired_by, retired_at, entry_id)
      select p.name, ${from}, ${to}, repeat('ab', 32), count(*) over (), 'me', ${retiredAt}, gen_random_uuid()
      from audit.partition p, (select occurred_at as at from audit.entry where id = '${at(6)}') o
      where o.at >= p.from_at and o.at < p.to_at`;
    await log.tamper(forged);
    await log.tamper('delete from audit.entry where id = $1', [at(6)]);
    const report = await verify();
    const later = await log.verify({ checkpoints: [checkpoint], from: 2 });
    await log.tamper('truncate audit.retirement');
    for (const { outcome, faults } of [report, later]) {
      expect(outcome).toBe('bad');
      expect(faults).toContainEqual(expect.objectContaining({ code: 'retirement_wrong' }));
    }
  });

  it('finds a log that was sealed anew with the same key, by an old checkpoint', async () => {
    await log.tamper('delete from audit.entry where id = $1', [at(4)]);
    await log.tamper('truncate audit.block, audit.block_leaves');
    await sealAll();
    while (
      ((await log.operator<{ n: number }>('select max(number)::int as n from audit.block'))[0]?.n ?? 0) <
      checkpoint.number
    )
      await log.seal();
    expect(await log.verify()).toMatchObject({ exitCode: 3, faultCount: 0 });
    expect((await verify()).faults[0]).toMatchObject({ code: 'resealed', block: checkpoint.number });
  });

  it('finds a log that was sealed anew with another key', async () => {
    await log.tamper('truncate audit.block, audit.block_leaves');
    await log.seal({ key: readSealKey(generateSealKey().privateKeyPem) });
    const report = await log.verify();
    expect(report.faults[0]).toMatchObject({ code: 'key_unknown', block: 1 });
  });

  it('refuses a checkpoint that nobody signed', async () => {
    const report = await log.verify({ checkpoints: [{ ...checkpoint, sealedAt: '2020-01-01T00:00:00.000000Z' }] });
    expect(report.faults[0]).toMatchObject({ code: 'checkpoint_bad' });
  });

  it('names the first of many faults first, counts all, and lists at most a hundred', async () => {
    await log.tamper(
      `insert into audit.entry (id, service, kind, outcome, transaction_id)
       select gen_random_uuid(), 'x', 'x.tried', 'ok', e.transaction_id from audit.entry e, generate_series(1, 150) where e.id = $1`,
      [at(2)],
    );
    await log.tamper('delete from audit.entry where id = $1', [at(0)]);
    const report = await verify();
    expect(report.faults[0]).toMatchObject({ code: 'entry_deleted', entryId: at(0) });
    expect(report.faultCount).toBe(151);
    expect(report.faults).toHaveLength(100);
  });

  it('finds entries that were never sealed although they are old', async () => {
    const [id] = await log.add();
    expect(await verify()).toMatchObject({ exitCode: 0, unsealed: 1 });
    const report = await log.verify({ checkpoints: [checkpoint], unsealedLimitSeconds: 0 });
    expect(report.faults[0]).toMatchObject({ code: 'entry_not_sealed', entryId: id });
  });

  it('begins where it is told to', async () => {
    await log.tamper('delete from audit.entry where id = $1', [at(0)]);
    const report = await log.verify({ checkpoints: [checkpoint], from: 2 });
    expect(report).toMatchObject({ exitCode: 0, first: { number: 2 } });
    expect((await log.verify({ from: 1 })).exitCode).toBe(1);
  });

  it('verifies blocks of a retired key, given its public part', async () => {
    const next = generateSealKey();
    await log.add();
    const sealed = await log.seal({ key: readSealKey(next.privateKeyPem) });
    expect(sealed.kind).toBe('sealed');
    checkpoint = await witnessed();
    const both = new Map([...publicKeys, ...readPublicKeys(next.publicKeyPem)]);
    const report = await log.verify({ publicKeys: both, checkpoints: [checkpoint] });
    expect(report.exitCode).toBe(0);
    expect(report.keys.map(({ keyId }) => keyId)).toEqual([sealKey.keyId, next.keyId]);
    expect((await verify()).faults[0]).toMatchObject({ code: 'checkpoint_bad' });
  });
});
