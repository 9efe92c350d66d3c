import { randomUUID } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import { CompiledQuery, sql, type Kysely } from 'kysely';
import { createEmbedded, migrate } from '@steward/postgres';
import { addStory } from '../packages/audit/src/story.test-support.ts';
import { blocksOf, codesIn, listFiles, readSources, readText, sectionOf } from './read-docs.ts';

const page = readText('docs/audit.md');
const silent = { debug() {}, info() {}, warn() {}, error() {}, child: () => silent };

/** Runs `work` on a migrated database in memory. */
async function withDatabase(work: (o: { owner: Kysely<unknown>; reader: Kysely<unknown> }) => Promise<void>) {
  const embedded = await createEmbedded({});
  try {
    const owner = embedded.database<unknown>({ role: null }).db;
    await migrate({ db: owner, log: silent });
    await work({ owner, reader: embedded.database<unknown>({ role: 'ops_reader' }).db });
  } finally {
    await embedded.close();
  }
}

const queryOn =
  (db: Kysely<unknown>) =>
  async <T>(text: string, values: readonly unknown[] = []) =>
    (await db.executeQuery<T>(CompiledQuery.raw(text, [...values]))).rows;

/** The ready query under a sentence of the page. */
const queryUnder = (sentence: string): string => {
  const [query] = blocksOf(page.slice(page.indexOf(`\n${sentence}\n`)), 'sql');
  if (query === undefined || !page.includes(`\n${sentence}\n`)) throw new Error(`no query under "${sentence}"`);
  return query;
};

/** What people do about switches, glass and the log itself; the services and functions that write it are looked at. */
const operatorKinds = [
  'freeze.changed',
  'glass.broken',
  'glass.refused',
  'glass.reviewed',
  'detail.erased',
  'partition.retired',
  'epoch.begun',
];

describe('docs/audit.md', () => {
  it('has queries that run as ops_reader, and every view with its columns', async () => {
    await withDatabase(async ({ owner, reader }) => {
      const queries = blocksOf(page, 'sql');
      expect(queries.length).toBeGreaterThanOrEqual(15);
      for (const query of queries) await sql.raw(query).execute(reader);
      await expect(sql`select * from audit.entry`.execute(reader)).rejects.toThrow('permission denied');

      const { rows } = await sql<{ view: string; columns: string[] }>`
        select 'ops.' || c.relname as view, array_agg(a.attname::text order by a.attnum) as columns
        from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
        where c.relnamespace = 'ops'::regnamespace and c.relkind = 'v' group by c.relname`.execute(owner);
      expect(rows.length).toBeGreaterThanOrEqual(5);
      for (const { view, columns } of rows)
        expect({ view, columns: codesIn(sectionOf(page, `### ${view}`)) }).toEqual({ view, columns });

      const { rows: columns } = await sql<{ name: string }>`select a.attname::text as name from pg_attribute a
        where a.attrelid = 'audit.entry'::regclass and a.attnum > 0 and not a.attisdropped`.execute(owner);
      const told = codesIn(sectionOf(page, '## What is recorded'));
      expect(columns.map(({ name }) => name).filter((name) => !told.includes(name))).toEqual([]);
    });
  }, 60_000);

  it('has queries that find approvals, freezes and broken glass', async () => {
    const written = readSources() + listFiles('packages/postgres/migrations/*.sql').map(readText).join('\n');
    expect(operatorKinds.filter((kind) => !written.includes(`'${kind}'`))).toEqual([]);
    const named = [...written.matchAll(/'((?:freeze|glass|detail|partition|epoch)\.[a-z]+)'/g)].map(([, kind]) => kind);
    expect(new Set(named)).toEqual(new Set(operatorKinds));
    await withDatabase(async ({ owner, reader }) => {
      const story = await addStory(queryOn(owner));
      for (const kind of operatorKinds)
        await sql`insert into audit.entry (id, service, kind, outcome) values (gen_random_uuid(), 'x', ${kind}, 'x')`.execute(
          owner,
        );
      const find = (sentence: string) => queryOn(reader)<Record<string, unknown>>(queryUnder(sentence));
      const found = await find('Freezes, broken glass, and what operators did to the log:');
      expect(new Set(found.map(({ kind }) => kind))).toEqual(new Set(operatorKinds));
      expect(await find('Who approved what in the last seven days:')).toMatchObject([
        { code: story.code, tool: 'restart_service', approver: 'approver-1' },
      ]);
      expect(await find('How long approvals take, for each tool:')).toMatchObject([{ tool: 'restart_service' }]);
      expect(await find('Who had a tool called:')).toMatchObject([{ requester_staff_id: 'requester-1' }]);
      expect(await find("One message's whole story, by its msgId or an approval code:")).not.toEqual([]);
      expect(await find('What waits for approval now, and for how much longer:')).toEqual([]);
      expect(await find('Whether the log is sealed and working, and by which key:')).toEqual([]);
    });
  }, 60_000);

  it('erases the text that stands beside the log, wherever it stands, and nothing of what is still open', async () => {
    const [erasing] = blocksOf(page, 'pgsql');
    const correlationId = '0193b0c4-7d5e-7000-8000-5c1f00000001';
    await withDatabase(async ({ owner }) => {
      const query = queryOn(owner);
      const story = await addStory(query);
      const asked = randomUUID();
      await query(
        `insert into agent_core.operator_request (id, verb, body, asked_by, answered_at) values ($1, 'freeze', '{"reason": "c4nary-os"}', 'li', now())`,
        [asked],
      );
      await query(
        `insert into agent_core.break_glass (id, environment, robot_code, conversation_id, corp_id, staff_id, tool, reason, correlation_id,
           until_at, reviewed_by_corp_id, reviewed_by_staff_id, review_note, reviewed_at)
         values (gen_random_uuid(), 'test', 'ding1', 'cid1', 'corp', 's', 't', 'c4nary-glass', $1, now() + interval '1 minute', 'corp', 'r', 'c4nary', now())`,
        [story.correlationId],
      );
      await query(
        `insert into agent_core.transcript (turn_id, speaker, robot_code, conversation_id, sequence, name, text)
         values ($1, 'person', 'ding1', 'cid1', 1, 'c4nary', 'c4nary')`,
        [story.turnId],
      );
      const texts = async () =>
        (
          await query<{ text: string }>(
            `select concat((select array_agg(x) from agent_core.tool_call x), (select array_agg(x) from agent_core.approval_request x),
               (select array_agg(x) from agent_core.approval_vote x), (select array_agg(x) from agent_core.transcript x),
               (select array_agg(x) from outbound_sender.outbound_message x), (select array_agg(x) from agent_core.break_glass x),
               (select array_agg(x) from agent_core.operator_request x), (select array_agg(x) from agent_core.turn x)) as text`,
          )
        )[0]?.text;
      await query(`update agent_core.turn set inbound = '{"content": {"text": "c4nary-inbound"}}'`);
      await query(`update outbound_sender.outbound_message set parts = '["c4nary-out"]'`);
      const personal = ['web', 'looks right', 'c4nary', 'c4nary-out', 'c4nary-os', 'c4nary-glass', 'c4nary-inbound'];
      const before = await texts();
      expect(personal.filter((text) => !before?.includes(text))).toEqual([]);
      const erase = () =>
        sql
          .raw((erasing ?? '').replace(correlationId, story.correlationId).replace(/'0{8}-[0-]+'/, `'${asked}'`))
          .execute(owner);
      await erase();
      const open = await texts();
      expect(open).toContain('looks right');
      expect(open).not.toContain('web');
      await query(`update agent_core.approval_request set status = 'used', ended_at = now()`);
      await query(`update agent_core.turn set ended_at = now()`);
      await erase();
      const after = await texts();
      expect(personal.filter((text) => after?.includes(text))).toEqual([]);
      await expect(query(`update agent_core.tool_call set arguments = '{"a": 1}'`)).rejects.toThrow('call_is_fixed');
    });
  }, 60_000);
});
