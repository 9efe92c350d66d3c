import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import pg from 'pg';
import { connectOperatorPostgres, type OperatorConnection } from '@steward/postgres';
import { newId } from '@steward/service-kit';
import { createTestDatabase, type TestDatabase } from '@steward/testkit';
import { corpId, keptOpen, shippedPolicy, steward, temporaryFolder, writeConfig } from './testing.ts';

const folder = temporaryFolder();
const policies = path.join(folder, 'repository', 'policy');
mkdirSync(path.dirname(policies));
cpSync(shippedPolicy, policies, { recursive: true });
const env = { STEWARD_CONFIG: writeConfig(folder), STEWARD_TOOLS_DIR: path.join(folder, 'none') };
let database: TestDatabase;
let admin: pg.Client;
let operator: OperatorConnection;
beforeAll(async () => {
  database = await createTestDatabase();
  admin = new pg.Client({ connectionString: database.adminUrl });
  await admin.connect();
  // Calls without the turns they would belong to.
  await admin.query('set session_replication_role = replica');
  operator = await connectOperatorPostgres(database.url('steward_operator'));
  await addCall({ tool: 'list_rooms', arguments: {} });
  await addCall({ tool: 'send_to_group', arguments: { room: 'ops-room', text: '喂' } });
  await addCall({ tool: 'recall_message', arguments: { message: newId() } });
  await addCall({ tool: 'list_rooms', arguments: {}, daysAgo: 9 });
  await addCall({ tool: 'gone', arguments: {} });
  await addCall({ tool: 'list_rooms', arguments: {}, robotCode: 'dinggone' });
  git('init', '--quiet');
  git('add', '.');
  git('-c', 'user.name=t', '-c', 'user.email=t@example.com', 'commit', '--quiet', '-m', 'as shipped');
});
afterAll(async () => {
  await operator.close();
  await admin.end();
  await database.drop();
});

const git = (...args: string[]) =>
  execFileSync('git', args, { cwd: path.dirname(policies), env: { PATH: process.env.PATH, HOME: folder } });

const addCall = (call: { tool: string; arguments: object; daysAgo?: number; robotCode?: string }) =>
  admin.query(
    `insert into agent_core.tool_call (id, turn_id, step, position, proposed_by, tool, effect, arguments, environment, robot_code,
       conversation_id, correlation_id, requester_staff_id, requester_corp_id, verdict, verdict_reason, status, created_at)
     values ($1, $1, 0, 0, 'person', $2, 'read', $3, 'production', $4, 'cidprod', $1, '017', $5, 'allow', 'permitted', 'ready',
       now() - $6::integer * interval '1 day')`,
    [newId(), call.tool, call.arguments, call.robotCode ?? 'dingprod', corpId, call.daysAgo ?? 1],
  );

const diff = (...args: string[]) =>
  steward(['policy', 'diff', '--policy', policies, ...args], { env, connect: keptOpen(operator) });

/** Changes the policies on disk for the time of some work. */
async function withChange<T>(file: string, change: (text: string) => string, work: () => Promise<T>): Promise<T> {
  const target = path.join(policies, file);
  const before = readFileSync(target, 'utf8');
  writeFileSync(target, change(before));
  try {
    return await work();
  } finally {
    writeFileSync(target, before);
  }
}

describe('steward policy diff', () => {
  it('finds no flip between equal sets, and says what it did not judge', async () => {
    const { code, out, err } = await diff('--against', shippedPolicy);
    expect([code, out]).toEqual([0, expect.stringContaining('0 flips among 3 calls of 7 days')]);
    expect(err).toContain('2 calls were not judged');
    expect((await diff('--against', shippedPolicy, '--days', '30')).out).toContain('among 4 calls');
  });

  it.each([
    ['a folder', shippedPolicy],
    ['a git revision', 'HEAD'],
  ])('lists every verdict that flips against %s', async (_, against) => {
    const forbidSends = (text: string) =>
      `${text}\n@id("no-sends")\n@description("No sends.")\nforbid (principal, action, resource == Steward::Tool::"send_to_group");\n`;
    const { code, out } = await withChange('90-limits.cedar', forbidSends, () => diff('--against', against));
    expect(code).toBe(1);
    expect(out).toMatch(
      /^\S+ \S+ Asia\/Shanghai {2}send_to_group by 017 in production: ask -> deny {2}\(\S+ -> no-sends\) {2}call /,
    );
    expect(out).toContain('1 flips among 3 calls');
  });

  it('says when a verdict flips only while the audit log works, and lists other obligations', async () => {
    const twoMinutes = (text: string) => text.replaceAll(/@expires\("[^"]+"\)/g, '@expires("2m")');
    const { code, out } = await withChange('20-changes.cedar', twoMinutes, () => diff('--against', 'HEAD', '--json'));
    expect(code).toBe(1);
    const { flips } = JSON.parse(out) as { flips: { call: { tool: string }; audited: boolean | null; kind: string }[] };
    const said = flips.map((flip) => [flip.call.tool, flip.audited, flip.kind]);
    expect(said).toContainEqual(['send_to_group', null, 'obligations']);
    expect(said).toContainEqual(['recall_message', true, 'obligations']);
  });

  it.each(['no-such-branch', '--upload-pack=touch', 'HEAD:policy', 'HEAD; true', ''])(
    'knows no revision %j',
    async (against) => {
      const { code, err } = await diff(`--against=${against}`);
      expect([code, err]).toEqual([2, expect.stringContaining('(REVISION_UNKNOWN)')]);
    },
  );
});
