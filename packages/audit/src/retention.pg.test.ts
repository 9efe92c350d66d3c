import { createHash, randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { waitUntil } from '@steward/testkit';
import { describeReport, exportEntries, hashEntry, retirePartition } from './index.ts';
import { openAuditDatabase } from './testing.ts';

let log: Awaited<ReturnType<typeof openAuditDatabase>>;
beforeAll(async () => {
  log = await openAuditDatabase();
});
afterAll(() => log.close());

const sealAll = () =>
  waitUntil(
    async () => {
      await log.seal();
      return (await log.verify()).unsealed === 0;
    },
    { timeoutMs: 15_000, what: 'every entry to be sealed' },
  );
/** Entries of another time, as only the owner can write them. */
const addAt = async (occurredAt: string): Promise<string> => {
  const id = randomUUID();
  await log.admin(
    `insert into audit.entry (id, service, kind, outcome, occurred_at) values ($1, 'adapter', 'x.tried', 'ok', $2)`,
    [id, occurredAt],
  );
  return id;
};
const partitionOf = async (id: string) => {
  const [row] = await log.admin<{ name: string }>(
    'select tableoid::regclass::text as name from audit.entry where id = $1',
    [id],
  );
  return row?.name;
};
const ensure = (at: string) =>
  log.as('steward_sealer').query<{ name: string }>('select name from audit.ensure_partitions($1) as made (name)', [at]);
const addWithDetail = async (reason: string): Promise<string> => {
  const id = randomUUID();
  await log.as('steward_agent_core').query(
    `with given as (select $1::uuid as id, decode($2, 'hex') as salt, $3::jsonb as body),
     kept as (insert into audit.detail (entry_id, salt, body) select id, salt, body from given)
     insert into audit.entry (id, service, kind, outcome, detail_hash)
     select id, 'agent-core', 'approval.decided', 'approved', sha256(salt || convert_to(body::text, 'UTF8')) from given`,
    [id, '5a'.repeat(32), JSON.stringify({ reason })],
  );
  return id;
};

describe('partitions', () => {
  it('are there over the end of a month and of a year, at whatever time they are asked for', async () => {
    expect((await ensure('2031-11-30T23:59:59.999999Z')).rows).toEqual([]);
    for (const [at, name] of [
      ['2031-11-30T23:59:59.999999Z', 'audit.entry_2031_11'],
      ['2031-12-01T00:00:00Z', 'audit.entry_2031_12'],
      ['2031-12-31T23:59:59.999999Z', 'audit.entry_2031_12'],
      ['2032-01-01T00:00:00+08:00', 'audit.entry_2031_12'],
      ['2032-01-01T00:00:00Z', 'audit.entry_2032_01'],
      ['2032-02-29T12:00:00Z', 'audit.entry_2032_02'],
      ['2032-03-01T00:00:00Z', 'audit.entry_default'],
    ] as const)
      expect([at, await partitionOf(await addAt(at))]).toEqual([at, name]);
  });

  it('are made once, also by two at once, and in any time zone', async () => {
    const client = await log.as('steward_sealer').connect();
    // There it is June already.
    await client.query(`set timezone = 'Asia/Shanghai'`);
    await Promise.all([
      client.query(`select audit.ensure_partitions('2033-05-31T22:00:00Z')`),
      ensure('2033-05-31T22:00:00Z'),
    ]);
    await client.query('reset timezone');
    client.release();
    const rows = await log.operator<{ name: string; span: string }>(
      `select name, audit.utc_text(from_at) || ' ' || audit.utc_text(to_at) as span from audit.partition
       where name like 'entry_2033%' order by name`,
    );
    expect(rows.map(({ name }) => name)).toEqual(['entry_2033_05', 'entry_2033_06', 'entry_2033_07', 'entry_2033_08']);
    expect(rows[0]?.span).toBe('2033-05-01T00:00:00.000000Z 2033-06-01T00:00:00.000000Z');
  });

  it('say which month is blocked by entries astray, and make the others', async () => {
    await addAt('2034-02-10T00:00:00Z');
    expect((await ensure('2034-01-15T00:00:00Z')).rows).toEqual([{ name: 'entry_2034_02' }]);
    const id = await addAt('2034-03-01T00:00:00Z');
    expect(await partitionOf(id)).toBe('audit.entry_2034_03');
  });

  it('refuse changes each on its own, whoever asks', async () => {
    const id = await addAt('2031-12-05T00:00:00Z');
    const name = await partitionOf(id);
    for (const statement of [`truncate ${name}`, `delete from ${name}`, `update ${name} set kind = 'x'`]) {
      for (const role of [
        'steward_adapter',
        'steward_agent_core',
        'steward_outbound_sender',
        'steward_sealer',
        'steward_operator',
      ] as const)
        await expect(log.as(role).query(statement)).rejects.toMatchObject({ code: '42501' });
      await expect(log.as('steward_owner').query(statement)).rejects.toThrow('append-only');
      const client = await log.as('admin').connect();
      await client.query(`set session_replication_role = 'replica'`);
      await expect(client.query(statement)).rejects.toThrow('append-only');
      await client.query('reset session_replication_role');
      client.release();
    }
  });

  it('take nothing from a service directly', async () => {
    const text = `insert into audit.entry_2031_12 (id, service, kind, outcome) values (gen_random_uuid(), 'adapter', 'x.tried', 'ok')`;
    await expect(log.as('steward_adapter').query(text)).rejects.toMatchObject({ code: '42501' });
  });
});

describe('erasing', () => {
  it('removes the personal text, is an entry itself, and the chain verifies and says by whom', async () => {
    const id = await addWithDetail('because 13800138000');
    await sealAll();
    await log.operator(`select audit.erase_detail($1, 'li.wei', 'asked for by the person')`, [id]);
    await sealAll();
    const report = await log.verify();
    expect(report.faults).toEqual([]);
    expect(report.details.erased).toEqual([{ entryId: id, by: 'li.wei', at: expect.any(String) }]);
    expect(describeReport(report).join('\n')).toContain(`entry ${id}: erased by li.wei`);
    const left = await log.admin<{ body: unknown }>('select body from audit.detail where entry_id = $1', [id]);
    expect(left).toEqual([{ body: null }]);
    const noted = await log.operator<{ detail: unknown }>(
      `select detail from audit.entry where kind = 'detail.erased' and subject_id = $1`,
      [id],
    );
    expect(noted).toEqual([{ detail: { by: 'li.wei', reason: 'asked for by the person' } }]);
  });

  it('needs a name and a reason, happens once, and is nobody else’s right', async () => {
    const id = await addWithDetail('once');
    const erase = (by: string, reason: string) =>
      log.operator('select audit.erase_detail($1, $2, $3)', [id, by, reason]);
    await expect(erase(' ', 'why')).rejects.toMatchObject({ code: '23514' });
    await expect(erase('me', '')).rejects.toMatchObject({ code: '23514' });
    await erase('me', 'why');
    await expect(erase('me', 'why')).rejects.toThrow('no detail that could be erased');
    for (const role of ['steward_agent_core', 'steward_sealer', 'ops_reader'] as const)
      await expect(
        log.as(role).query('select audit.erase_detail($1, $2, $3)', [id, 'me', 'why']),
      ).rejects.toMatchObject({ code: '42501' });
  });

  it('that nobody recorded, an edited text and a lost one are found', async () => {
    const [erased, edited, lost, foreign] = [
      await addWithDetail('a'),
      await addWithDetail('b'),
      await addWithDetail('c'),
      ...(await log.add()),
    ];
    await sealAll();
    await log.tamper(
      `update audit.detail set body = null, erased_at = now(), erased_by = 'x', erase_reason = 'y' where entry_id = $1`,
      [erased],
    );
    await log.tamper(`update audit.detail set body = '{"reason": "B"}' where entry_id = $1`, [edited]);
    await log.tamper('delete from audit.detail where entry_id = $1', [lost]);
    await log.tamper(`insert into audit.detail (entry_id, salt, body) values ($1, decode($2, 'hex'), '{}')`, [
      foreign,
      'ab'.repeat(16),
    ]);
    const { faults } = await log.verify();
    expect(new Set(faults.map(({ code, entryId }) => `${code} ${entryId}`))).toEqual(
      new Set([
        `detail_erased_unrecorded ${erased}`,
        `detail_altered ${edited}`,
        `detail_missing ${lost}`,
        `detail_altered ${foreign}`,
      ]),
    );
  });
});

describe('retiring a partition', () => {
  let retireable: Awaited<ReturnType<typeof openAuditDatabase>>;
  let oldIds: string[];
  const name = 'entry_2020_03';
  const file: string[] = [];
  const retire = (over: { exportSha256?: string; rows?: number; by?: string; name?: string } = {}) =>
    retireable.operator('select audit.retire_partition($1, $2, $3, $4)', [
      over.name ?? name,
      over.exportSha256 ?? 'ab'.repeat(32),
      over.rows ?? 3,
      over.by ?? 'me',
    ]);
  const sealOld = () =>
    waitUntil(
      async () => {
        await retireable.seal();
        return (await retireable.verify()).unsealed === 0;
      },
      { timeoutMs: 15_000, what: 'every entry to be sealed' },
    );
  beforeAll(async () => {
    retireable = await openAuditDatabase();
    // A month that is over: the history partition stands in its way, so it is given a smaller span first.
    await retireable.tamper(`delete from audit.partition where name = 'entry_history'`);
    await retireable.admin('alter table audit.entry detach partition audit.entry_history');
    await retireable.admin(
      `alter table audit.entry attach partition audit.entry_history for values from ('2025-01-01Z') to ('2026-01-01Z')`,
    );
    await retireable.admin(
      `insert into audit.partition (name, from_at, to_at) values ('entry_history', '2025-01-01Z', '2026-01-01Z')`,
    );
    await retireable.as('steward_sealer').query(`select audit.ensure_partitions('2020-03-15Z')`);
    await retireable.as('steward_sealer').query('select audit.ensure_partitions()');
    oldIds = [];
    for (const at of ['2020-03-01T00:00:00Z', '2020-03-17T10:00:00Z', '2020-03-31T23:59:59.999999Z']) {
      const id = randomUUID();
      oldIds.push(id);
      await retireable.admin(
        `with given as (select $1::uuid as id, decode($2, 'hex') as salt, '{"reason": "old"}'::jsonb as body),
         kept as (insert into audit.detail (entry_id, salt, body) select id, salt, body from given)
         insert into audit.entry (id, service, kind, outcome, occurred_at, detail_hash)
         select id, 'adapter', 'x.tried', 'ok', $3, sha256(salt || convert_to(body::text, 'UTF8')) from given`,
        [id, '5a'.repeat(32), at],
      );
      await retireable.add(2);
    }
  });
  afterAll(() => retireable.close());

  it('is refused while an entry is not sealed', async () => {
    await expect(retire()).rejects.toThrow('3 rows that are not sealed');
  });

  it('is refused for a partition that is not over, another number of rows, a bad sum, or nobody', async () => {
    await sealOld();
    const [row] = await retireable.operator<{ name: string }>(
      'select name from audit.partition where to_at > now() limit 1',
    );
    await expect(retire({ name: row?.name })).rejects.toThrow('is not over before');
    await expect(retire({ name: 'entry_default' })).rejects.toThrow('there is no partition entry_default');
    await expect(retire({ name: 'block' })).rejects.toThrow('there is no partition block');
    await expect(retire({ rows: 2 })).rejects.toThrow('has 3 rows, the export has 2');
    await expect(retire({ exportSha256: 'none' })).rejects.toMatchObject({ code: '23514' });
    await expect(retire({ by: '' })).rejects.toMatchObject({ code: '23514' });
    await expect(
      retireable.as('steward_agent_core').query(`select audit.retire_partition('${name}', '', 3, 'me')`),
    ).rejects.toMatchObject({ code: '42501' });
  });

  it('exports, records, drops, and leaves a chain that verifies and names the export', async () => {
    const done = await retirePartition({
      query: retireable.operator,
      name,
      by: 'li.wei',
      write: async (text) => void file.push(text),
    });
    expect(done).toEqual({ rows: 3, exportSha256: createHash('sha256').update(file.join('')).digest('hex') });
    await sealOld();
    const report = await retireable.verify();
    expect(report.faults).toEqual([]);
    expect(report.retired).toEqual([{ name, rows: 3, exportSha256: done.exportSha256, by: 'li.wei' }]);
    expect(describeReport(report).join('\n')).toContain(`export sha256 ${done.exportSha256}`);
    expect(await retireable.admin(`select to_regclass('audit.${name}')::text as name`)).toEqual([{ name: null }]);
    expect(await retireable.admin('select from audit.detail where entry_id = any($1)', [oldIds])).toEqual([]);
    await expect(retire()).rejects.toThrow(`there is no partition ${name}`);
    const { rows } = await retireable.as('steward_sealer').query(`select audit.ensure_partitions('2020-03-15Z')`);
    expect(rows).toEqual([]);
  });

  it('leaves an export whose lines hash to what the chain holds', async () => {
    const lines = file.join('').trim().split('\n');
    const hashes = lines.map((line) => hashEntry(JSON.parse(line).entry).toString('hex'));
    const leaves = await retireable.operator<{ leaves: string }>(
      `select encode(leaves, 'hex') as leaves from audit.block_leaves`,
    );
    const all = leaves.map(({ leaves: text }) => text).join('');
    for (const hash of hashes) expect(all).toContain(hash);
  });

  it('is still proved when the month that says so was retired too, and nothing hides behind that', async () => {
    // What retiring its month does with the entry: its row is put aside, its leaf stays.
    await retireable.tamper(
      `insert into audit.retirement_entry select e.* from audit.entry e join audit.retirement r on r.entry_id = e.id`,
    );
    await retireable.tamper(`delete from audit.entry where id in (select entry_id from audit.retirement)`);
    const found = async () => (await retireable.verify()).faults.filter(({ code }) => code === 'retirement_wrong');
    expect(await found()).toEqual([]);
    await retireable.tamper(`update audit.retirement_entry set detail = detail || '{"more": 1}'`);
    expect(await found()).toHaveLength(1);
    await retireable.tamper(`update audit.retirement_entry set detail = detail - 'more'`);
    expect(await found()).toEqual([]);
    await retireable.tamper(`update audit.retirement set retired_by = 'somebody'`);
    expect(await found()).toHaveLength(1);
    await retireable.tamper(`update audit.retirement set retired_by = 'li.wei'`);
    await retireable.tamper('insert into audit.entry select * from audit.retirement_entry');
    await retireable.tamper('delete from audit.retirement_entry');
    expect((await retireable.verify()).faults).toEqual([]);
  });

  it('hides no deletion: fewer or other rows than were retired are found', async () => {
    await retireable.tamper('update audit.retirement set exported_rows = 2');
    const wrong = { code: 'retirement_wrong' };
    expect((await retireable.verify()).faults).toMatchObject([wrong, wrong]);
    await retireable.tamper('update audit.retirement set exported_rows = 3');
    await retireable.tamper(`update audit.retirement set export_sha256 = repeat('0', 64)`);
    expect((await retireable.verify()).faults).toMatchObject([{ code: 'retirement_wrong' }]);
    await retireable.tamper('delete from audit.retirement');
    expect((await retireable.verify()).faults.map(({ code }) => code)).toEqual([
      'entry_deleted',
      'entry_deleted',
      'entry_deleted',
    ]);
  });

  it('keeps the entries that say so when their own month is retired, and none that a service wrote', async () => {
    const [said, feigned] = [randomUUID(), randomUUID()];
    for (const [id, service] of [
      [said, 'operator'],
      [feigned, 'adapter'],
    ])
      await retireable.admin(
        `insert into audit.entry (id, service, kind, outcome, occurred_at) values ($1, $2, 'partition.retired', 'dropped', '2020-04-09Z')`,
        [id, service],
      );
    // The old ones count as late, not as waiting; once this one is sealed, so are they.
    await retireable.add();
    await sealOld();
    await retirePartition({
      query: retireable.operator,
      name: 'entry_2020_04',
      by: 'li.wei',
      write: () => Promise.resolve(),
    });
    const kept = await retireable.operator('select id::text as id from audit.retirement_entry');
    expect(kept).toEqual([{ id: said }]);
    await expect(retireable.as('steward_owner').query('delete from audit.retirement_entry')).rejects.toThrow(
      'append-only',
    );
  });
});

describe('an export', () => {
  it('streams every entry once, in pages, as lines or as a table', async () => {
    const big = await openAuditDatabase();
    await big.admin(
      `insert into audit.entry (id, service, kind, outcome, detail)
       select gen_random_uuid(), 'operator', 'x.tried', '=cmd', jsonb_build_object('text', E'a"b,\n' || n) from generate_series(1, 2500) n`,
    );
    const read = async (format: 'jsonl' | 'csv') => {
      let text = '';
      for await (const piece of exportEntries({ query: big.operator, format, since: '2000-01-01Z' })) text += piece;
      return text;
    };
    const lines = (await read('jsonl')).trim().split('\n');
    expect(new Set(lines.map((line) => String(JSON.parse(line).entry.id))).size).toBe(2500);
    const table = (await read('csv')).trim().split('\r\n');
    expect(table).toHaveLength(2501);
    expect(table[0]).toMatch(/^occurredAt,service,kind,outcome,/);
    expect(table[1]).toContain(`,'=cmd,`);
    await big.close();
  }, 60_000);
});
