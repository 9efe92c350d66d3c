import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from '@jest/globals';
import { stringify } from 'yaml';
import { AppError, loadStewardConfig, stewardConfigSchema } from './index.ts';

const folder = mkdtempSync(join(tmpdir(), 'steward-config-'));
afterAll(() => rmSync(folder, { recursive: true }));

const EXAMPLE = fileURLToPath(new URL('../../../config/steward.example.yaml', import.meta.url));

function loadText(text: string) {
  const path = join(folder, 'steward.yaml');
  writeFileSync(path, text);
  return loadStewardConfig({ path });
}

function faultsOf(text: string): string[] {
  try {
    loadText(text);
    return [];
  } catch (error) {
    if (!(error instanceof AppError) || error.code !== 'CONFIG_INVALID') throw error;
    expect(error.retryable).toBe(false);
    return error.details['faults'] as string[];
  }
}

const robot = {
  code: 'ding1',
  name: 'ops',
  environment: 'production',
  corpId: 'c1',
  appKey: 'k1',
  appSecretFile: 's1',
  doors: ['stream'],
};
const testRobot = { ...robot, code: 'ding2', name: 'ops-test', environment: 'test' };
const room = { id: 'cid1', name: 'ops-room', robot: 'ops', environment: 'production' };
const person = { staffId: '01', corpId: 'c1', name: 'Li', roles: ['ops'] };
const base = { robots: [robot, testRobot], rooms: [room], people: [person] };
const faultsWith = (changes: object): string[] => faultsOf(stringify({ ...base, ...changes }));

describe('loadStewardConfig', () => {
  it('accepts the example, also with everything optional switched on', () => {
    expect(loadStewardConfig({ path: EXAMPLE }).robots.map(({ name }) => name)).toEqual(['ops', 'ops-test']);
    // A commented line of YAML is `# ` before a key; a commented sentence has no key.
    const everything = readFileSync(EXAMPLE, 'utf8').replace(/^( *)# ( *(?:- )?[a-zA-Z]+:(?: [^ ]+)?)$/gm, '$1$2');
    const config = loadText(everything);
    expect(config.model?.name).toBe('qwen');
    expect(config.robots[0]?.events?.tokenFile).toBe('robot-ops.event-token');
    expect(config.robots[0]?.cards?.callbackSecretFile).toBe('robot-ops.card-secret');
    expect(config.robots[0]?.cards?.approvals?.variables.body).toBe('body');
    expect(config.people[0]?.operatorKey).toMatch(/=$/);
    expect(config.tools.secrets[0]?.file).toBe('deployer.token');
    expect(config.governance.calendar[0]?.name).toBe('freeze');
    expect(config.governance.directory?.roles[0]?.role).toBe('approver');
  });

  it('fills in defaults', () => {
    expect(loadText(stringify({ robots: [robot] }))).toEqual({
      timeZone: 'Asia/Shanghai',
      language: 'zh',
      dingtalk: {
        apiUrl: 'https://api.dingtalk.com',
        oapiUrl: 'https://oapi.dingtalk.com',
        limits: { apiCallsPerMinute: 1_000, apiCallsPerSecond: 18, egressCallsPerSecond: 400, roomSendsPerMinute: 60 },
        linkNoticeAfterSeconds: 15,
        sessionWebhookHosts: ['oapi.dingtalk.com'],
      },
      robots: [{ ...robot, sendsPerMinute: 600 }],
      customRobots: [],
      rooms: [],
      people: [],
      fairness: { maxWaitingPerConversation: 20, noticeEverySeconds: 60 },
      tools: { hosts: [], secrets: [], prometheus: [] },
      governance: {
        approvalsRooms: [],
        freezeRoles: [],
        breakGlassRoles: [],
        reviewRoles: [],
        breakGlassMaxMinutes: 30,
        maxPendingPerRequester: 5,
        maxPendingPerRoom: 20,
        calendar: [],
        deputies: [],
      },
      operations: { rooms: [] },
    });
  });

  it.each<[string, object, string[]]>([
    [
      'two robots of one code',
      { robots: [robot, { ...testRobot, code: 'ding1' }] },
      ['robots.1.code - is the same as in robots.0'],
    ],
    [
      'two robots of one name',
      { robots: [robot, { ...robot, code: 'ding3' }] },
      ['robots.1.name - is the same as in robots.0'],
    ],
    ['two rooms of one id', { rooms: [room, { ...room, name: 'other' }] }, ['rooms.1.id - is the same as in rooms.0']],
    ['two rooms of one name', { rooms: [room, { ...room, id: 'cid2' }] }, ['rooms.1.name - is the same as in rooms.0']],
    [
      'two people of one id',
      { people: [person, { ...person, name: 'Wang' }] },
      ['people.1.staffId - is the same as in people.0'],
    ],
    ['a room of no robot', { rooms: [{ ...room, robot: 'nobody' }] }, ['rooms.0.robot - no robot has this name']],
    [
      'a room of the other environment',
      { rooms: [{ ...room, environment: 'test' }] },
      ["rooms.0.environment - differs from its robot's environment"],
    ],
    [
      'one conversation in both environments',
      { rooms: [room, { id: 'cid1', name: 'b', robot: 'ops-test', environment: 'test' }] },
      ['rooms.1.environment - this conversation is in the other environment above'],
    ],
    ['an unknown key', { robots: [{ ...robot, colour: 'red' }] }, ['robots.0.colour - unknown key']],
    [
      'a secret in the file',
      { robots: [{ ...robot, appSecret: 'hunter2' }] },
      ['robots.0.appSecret - unknown key (secrets are named by file, as in appSecretFile)'],
    ],
    [
      'a path as a secret file',
      { robots: [{ ...robot, appSecretFile: '../hunter2' }] },
      ['robots.0.appSecretFile - must be a file name inside the secrets folder, without a path'],
    ],
    [
      'governance that names what is not there',
      {
        rooms: [room, { ...room, id: 'cid2', name: 'b' }],
        people: [person],
        governance: {
          approvalsRooms: ['nowhere'],
          checkpointRoom: 'nowhere',
          calendar: [{ name: 'freeze', from: '2027-01-02T00:00:00+08:00', to: '2027-01-01T00:00:00+08:00' }],
          deputies: [
            {
              corpId: person.corpId,
              absent: person.staffId,
              deputy: 'nobody',
              from: '2027-01-01T00:00:00+08:00',
              to: '2027-01-02T00:00:00+08:00',
            },
          ],
          directory: { robot: 'nobody' },
        },
      },
      [
        'governance.approvalsRooms.0 - no room has this name',
        'governance.checkpointRoom - no room has this name',
        'governance.calendar.0.to - must be after `from`',
        'governance.deputies.0.deputy - nobody in people has this staffId',
        'governance.directory.robot - no robot has this name',
      ],
    ],
    [
      'two approvals rooms of one environment',
      { rooms: [room, { ...room, id: 'cid2', name: 'b' }], governance: { approvalsRooms: [room.name, 'b'] } },
      ['governance.approvalsRooms.1 - this environment has an approvals room already'],
    ],
    [
      'an operations room that is not there',
      { rooms: [room, { ...room, id: 'cid2', name: 'b' }], operations: { rooms: [room.name, 'nowhere'] } },
      ['operations.rooms.1 - no room has this name'],
    ],
    [
      'two operations rooms of one environment',
      { rooms: [room, { ...room, id: 'cid2', name: 'b' }], operations: { rooms: [room.name, 'b'] } },
      ['operations.rooms.1 - this environment has an operations room already'],
    ],
    [
      'one name for two hosts or secrets of an environment',
      {
        tools: {
          hosts: [
            { name: 'a', host: 'a.example', environments: ['test'] },
            { name: 'a', host: 'b.example', environments: ['production'] },
            { name: 'a', host: 'c.example', environments: ['test', 'production'] },
          ],
          secrets: [
            { name: 's', file: 'one', environments: ['test'] },
            { name: 's', file: 'two', environments: ['test'] },
          ],
        },
      },
      [
        'tools.hosts.2.name - is the same as in tools.hosts.0',
        'tools.secrets.1.name - is the same as in tools.secrets.0',
      ],
    ],
    ['no such time zone', { timeZone: 'Asia/hunter2' }, ['timeZone - must be an IANA time zone such as Asia/Shanghai']],
    [
      'a number for a staff id',
      { people: [{ ...person, staffId: 147 }] },
      ['people.0.staffId - Invalid input: expected string, received number'],
    ],
    [
      'a custom robot that may send too much',
      { customRobots: [{ name: 'a', environment: 'test', accessTokenFile: 'a', sendsPerMinute: 21 }] },
      ['customRobots.0.sendsPerMinute - Too big: expected number to be <=18'],
    ],
  ])('finds %s', (_name, changes, faults) => {
    expect(faultsWith(changes)).toEqual(faults);
  });

  it('reports every fault at once, each with its path', () => {
    expect(faultsWith({ timeZone: 'nowhere', robots: [{ ...robot, name: 'Ops!', doors: [] }], extra: 1 })).toHaveLength(
      5,
    );
    expect(faultsWith({ robots: [robot, { ...robot }], rooms: [{ ...room, robot: 'x' }, room] })).toHaveLength(4);
  });

  it.each<[string, object, string]>([
    ['plain http', { apiUrl: 'http://api.dingtalk.com' }, 'dingtalk.apiUrl - plain http'],
    ['loopback', { oapiUrl: 'https://127.0.0.1:8443' }, 'dingtalk.oapiUrl - a loopback or private'],
    ['a private name', { apiUrl: 'https://simulator' }, 'dingtalk.apiUrl - a loopback or private'],
    [
      'the metadata address',
      { sessionWebhookHosts: ['oapi.dingtalk.com', '169.254.169.254'] },
      'dingtalk.sessionWebhookHosts.1 - a loopback or private',
    ],
    ['loopback in IPv6', { sessionWebhookHosts: ['[::1]'] }, 'dingtalk.sessionWebhookHosts.0 - a loopback or private'],
  ])('refuses %s while a production robot exists, and takes it for test robots alone', (_name, dingtalk, fault) => {
    expect(faultsWith({ dingtalk })).toEqual([expect.stringContaining(fault)]);
    expect(faultsWith({ dingtalk, robots: [testRobot], rooms: [] })).toEqual([]);
    const productionCustom = { name: 'a', environment: 'production', accessTokenFile: 'a' };
    expect(faultsWith({ dingtalk, robots: [testRobot], rooms: [], customRobots: [productionCustom] })).toHaveLength(1);
  });

  it('refuses the port of a reply host over https, and takes it over plain http', () => {
    const withHosts = (oapiUrl: string, ...sessionWebhookHosts: string[]) =>
      faultsWith({ dingtalk: { oapiUrl, sessionWebhookHosts }, robots: [testRobot], rooms: [] });
    const fault = (at: number) => `dingtalk.sessionWebhookHosts.${at} - must have no port while oapiUrl is https`;
    expect(withHosts('https://oapi.dingtalk.com', 'oapi.dingtalk.com', 'oapi.dingtalk.com:443', '[::1]:9000')).toEqual([
      fault(1),
      fault(2),
    ]);
    expect(withHosts('http://127.0.0.1:9000', '127.0.0.1:9000', '[::1]')).toEqual([]);
  });

  it('lets a model on the own network talk plain http, but none beyond it', () => {
    const model = (baseUrl: string) => faultsWith({ model: { baseUrl, name: 'm' } });
    expect(model('http://127.0.0.1:11434/v1')).toEqual([]);
    expect(model('https://models.example.com/v1')).toEqual([]);
    expect(model('http://models.example.com/v1')).toEqual([expect.stringContaining('plain http')]);
    expect(model('https://u:hunter2@models.example.com/v1')).toEqual([
      'model.baseUrl - must not carry a user or password',
    ]);
    expect(model('file:///etc/passwd')).toEqual(['model.baseUrl - must be an http or https URL']);
  });

  it('never repeats a value, wherever the fault is', () => {
    const bad = 'hunter2-hunter2';
    const broken = JSON.parse(
      JSON.stringify({ ...base, customRobots: [], dingtalk: { apiUrl: 'x' }, model: { baseUrl: 'x', name: 'x' } }),
      (key, value: unknown) => (typeof value === 'string' && key !== 'name' ? `${bad} !` : value),
    ) as object;
    const faults = faultsOf(stringify(broken));
    expect(faults.length).toBeGreaterThan(8);
    expect(faults.join('\n')).not.toContain('hunter2');
    for (const text of [`a: "${bad}\nb: [`, `a: ${bad}\na: ${bad}`, bad, `- ${bad}`, `a: *${bad}`, `a: !!${bad} x`, ''])
      expect(faultsOf(text).join('\n')).toMatch(/^(?!.*hunter2).+/s);
  });

  it('refuses a YAML bomb, a huge file and a missing one', () => {
    const bomb = [
      'a: &a [x, x, x, x, x, x, x, x, x]',
      ...'bcdefgh'.split('').map((k, n) => `${k}: &${k} [${Array(9).fill(`*${'abcdefg'[n]}`).join(', ')}]`),
    ];
    expect(faultsOf(bomb.join('\n'))).toEqual(['too many YAML aliases']);
    expect(faultsOf(`# ${'x'.repeat(1_100_000)}`)).toEqual([expect.stringContaining('larger than')]);
    expect(() => loadStewardConfig({ path: join(folder, 'absent.yaml') })).toThrow('ENOENT');
  });

  it('is a schema others can use on their own', () => {
    expect(stewardConfigSchema.safeParse(base).success).toBe(true);
  });
});
