import { describe, expect, it } from '@jest/globals';
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { shippedPolicy, steward, temporaryFolder, writeConfig } from './testing.ts';

const folder = temporaryFolder();
const config = writeConfig(folder);
const tools = path.join(folder, 'tools');
mkdirSync(tools);
const env = { STEWARD_CONFIG: config, STEWARD_POLICY_DIR: shippedPolicy, STEWARD_TOOLS_DIR: tools };
const run = (args: readonly string[], over = {}) => steward(['policy', ...args], { env: { ...env, ...over } });

describe('steward policy check', () => {
  it('finds nothing wrong with what is shipped', async () => {
    const { code, out } = await run(['check']);
    expect([code, out]).toEqual([0, expect.stringMatching(/^fine: \d+ policies for 5 tools, set [0-9a-f]{64}\n$/)]);
  });

  it('lists every fault of the policies, with file and line', async () => {
    const broken = path.join(folder, 'broken');
    mkdirSync(broken);
    writeFileSync(path.join(broken, 'a.cedar'), 'permit (principal, action, resource) when { context.nothing };');
    writeFileSync(path.join(broken, 'b.cedar'), '@id("b")\npermit (');
    const { code, out } = await run(['check', '--policy', broken]);
    expect([code, out]).toEqual([1, expect.stringMatching(/^policy: b\.cedar:/m)]);
    const json = await run(['check', '--policy', broken, '--json']);
    expect([json.code, JSON.parse(json.out)]).toMatchObject([1, { ok: false, policyHash: null }]);
  });

  it('lists every fault of the tools and of the configuration', async () => {
    const bad = path.join(folder, 'bad-tools');
    mkdirSync(bad);
    writeFileSync(path.join(bad, 'one.yaml'), 'name: send_to_group\n');
    writeFileSync(path.join(bad, 'two.yaml'), 'name: two\nunknown: 1\n');
    const wrong = await run(['check', '--tools', bad]);
    expect(wrong.code).toBe(1);
    for (const fault of ['tools: one.yaml: ', 'tools: two.yaml: unknown - unknown key'])
      expect(wrong.out).toContain(fault);
    const broken = path.join(folder, 'broken.yaml');
    writeFileSync(broken, 'robots: []\nrooms: 1\n');
    const { code, out } = await run(['check', '--config', broken]);
    expect([code, out.trim().split('\n').length]).toEqual([1, 2]);
    expect(out).toContain('configuration: rooms - ');
  });

  it('warns of a role that nobody has', async () => {
    const empty = writeConfig(temporaryFolder(), { people: [] });
    const { code, err } = await run(['check', '--config', empty]);
    expect([code, err]).toEqual([0, expect.stringMatching(/role \S+ is named by a policy, and nobody has it/)]);
  });
});

describe('steward policy test', () => {
  it('passes what is shipped', async () => {
    const { code, out } = await run(['test']);
    expect([code, out]).toEqual([0, expect.stringMatching(/^\d{2,} passed, 0 failed/)]);
    // Also on a fresh clone.
    const without = await run(['test'], { STEWARD_CONFIG: path.join(folder, 'none.yaml') });
    expect([without.code, without.err]).toEqual([0, expect.stringContaining('without a configuration')]);
  });

  it('names the cases that fail', async () => {
    const cases = path.join(folder, 'cases.yaml');
    const text = readFileSync(path.join(shippedPolicy, 'cases.yaml'), 'utf8');
    writeFileSync(cases, `${text}\n  - name: nobody may read\n    given: { tool: list_rooms }\n    expect: deny\n`);
    const { code, out } = await run(['test', '--cases', cases]);
    expect(code).toBe(1);
    expect(out).toMatch(/^FAILED nobody may read\n {2}verdict is allow, expected deny\n\d+ passed, 1 failed/);
    expect(await run(['test', '--cases', path.join(folder, 'none')])).toMatchObject({ code: 2 });
  });
});

describe('steward policy explain', () => {
  const explain = (...args: string[]) => run(['explain', '--room', 'ops-room', ...args]);

  it('says the verdict, who decided it, and what an approval needs', async () => {
    const args = ['--user', 'Li', '--tool', 'send_to_group', '--args', 'room=ops-room', 'text=a=b', '--audited'];
    const { code, out } = await explain(...args, '--at', '2026-11-25T10:00:00+08:00');
    expect(code).toBe(0);
    expect(out).toMatch(/^verdict +ask \(needs_approval\)$/m);
    expect(out).toMatch(/^person +staffId 017, roles ops$/m);
    expect(out).toMatch(/^arguments +\{"room":"ops-room","text":"a=b"\}$/m);
    expect(out).toMatch(/^at +2026-11-25 10:00:00 Asia\/Shanghai$/m);
    expect(out).toMatch(/^decided by +\S+: permit at 20-changes\.cedar:\d+/m);
    expect(out).toMatch(/^approvers +1 of /m);
  });

  it('exits 1 for a denied call, and says which role would help', async () => {
    const own = path.join(folder, 'own');
    mkdirSync(own);
    const asks = '@approvers("sre-leads") @quorum("1") @expires("15m") @run_within("10m")';
    const scope = 'principal in Steward::Role::"ops", action in Steward::Action::"callWithApproval", resource';
    writeFileSync(path.join(own, 'own.cedar'), `@id("ops-ask") ${asks}\npermit (${scope});`);
    const call = ['--policy', own, '--user', '019', '--tool', 'list_rooms'];
    const nobody = await explain(...call);
    expect([nobody.code, nobody.out]).toEqual([
      1,
      expect.stringMatching(/^verdict +deny \(no_rule\)$[^]*^missing role +with ops it would be ask \(ops-ask\)$/m),
    ]);
    expect((await explain(...call, '--roles', 'ops')).out).toMatch(/^verdict +ask/);
  });

  it('reads arguments by the types of the tool, as /run does', async () => {
    const { out } = await explain('--json', '--user', '017', '--tool', 'query_audit', '--args', 'minutes=30');
    expect(JSON.parse(out)).toMatchObject({ input: { arguments: { minutes: 30 } }, verdict: { verdict: 'allow' } });
  });

  it('knows no tool, room, robot or person of another name', async () => {
    expect((await explain('--user', '017', '--tool', 'rm_rf')).out).toMatch(/^verdict +deny \(unknown_tool\)/);
    expect((await run(['explain', '--user', '017', '--tool', 'list_rooms', '--room', 'none'])).err).toContain(
      '(ROOM_UNKNOWN)',
    );
    expect((await run(['explain', '--user', '017', '--tool', 'list_rooms'])).err).toContain('(ROBOT_UNKNOWN)');
    expect((await explain('--user', 'Chen', '--tool', 'list_rooms')).err).toContain('(PERSON_AMBIGUOUS)');
    expect((await explain('--user', '999', '--tool', 'list_rooms')).err).toContain('judged as a staffId without roles');
    const single = await run(['explain', '--user', '017', '--tool', 'list_rooms', '--robot', 'ops']);
    expect(single.out).toMatch(/^place +single chat, robot ops, production, lane answer$/m);
  });

  it.each([
    [['--args', 'minutes']],
    [['--args-json', '[1]']],
    [['--args-json', '{']],
    [['--args-json', '{}', '--args', 'a=b']],
    [['--at', 'teatime']],
  ])('does not guess what %j means', async (args) => {
    const { code, err } = await explain('--user', '017', '--tool', 'query_audit', ...args);
    expect([code, err]).toEqual([2, expect.stringContaining('(ARGUMENTS_UNREADABLE)')]);
  });
});

describe('steward rooms and people', () => {
  it('show what the configuration knows, with ids to copy', async () => {
    const rooms = await steward(['rooms', 'list'], { env });
    expect(rooms.out).toMatch(/ops-room +production +ops +- +cidprod/);
    const people = await steward(['people', 'list'], { env });
    expect(people.out).toMatch(/王芳 +018 +dingcorp +- +ops sre-leads/);
    expect(JSON.parse((await steward(['people', 'list', '--json'], { env })).out)).toHaveLength(4);
  });
});

describe('the shipped tools', () => {
  it('are judged by the same policies once they are configured', async () => {
    const demo = path.join(shippedPolicy, '../../deploy/demo-stack');
    const copied = path.join(folder, 'demo-tools');
    cpSync(path.join(demo, 'tools'), copied, { recursive: true });
    const { code, out } = await run(['check', '--config', path.join(demo, 'steward.yaml'), '--tools', copied]);
    expect([code, out]).toEqual([0, expect.stringMatching(/^fine: \d+ policies for 1\d tools/)]);
    rmSync(copied, { recursive: true });
  });
});
