import { randomBytes } from 'node:crypto';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { SimulatorWorld } from '@steward/dingtalk-simulator';
import { stringify } from 'yaml';

export type RobotName = 'http' | 'stream' | 'both';
export const robotNames: readonly RobotName[] = ['http', 'stream', 'both'];
const doorsOf = { http: ['http'], stream: ['stream'], both: ['http', 'stream'] } as const;

export const corpId = 'dinge2e';
export const codeOf = (robot: RobotName): string => `dinge2e${robot}`;
/** Configured people, and one whom only DingTalk knows; Zhao is configured where calls are governed. */
export const people = { li: 'e2e-li', han: 'e2e-han', stranger: 'e2e-stranger', zhao: 'e2e-zhao' } as const;
/** The configured group room of each robot. */
export const roomOf = (robot: RobotName): string => `cid${robot}==`;
/** Further configured rooms, of the robot `http`, numbered from 0. */
export const extraRoom = (number: number): string => `cidExtra${number}==`;
/** Where approvers see every request, in a governed stack; its robot has no card template. */
export const approvalsRoom = 'cidApprovals==';
/** A group that every robot is in and that nobody configured. */
export const unknownRoom = 'cidUnknown==';

export const wideLimits = {
  apiCallsPerSecond: 1_000,
  apiCallsPerMinute: 60_000,
  roomSendsPerMinute: 60_000,
  egressCallsPerSecond: 490,
};

export type ModelSettings = { baseUrl: string; timeoutMs?: number; maxSteps?: number; transcriptTurns?: number };
/** Tools of the simulator's company system, approvers, and cards of the robot `stream`. */
export type Governed = { /** Further tools, by file name. */ tools?: Record<string, string> };
export type StackSecrets = Record<string, string>;

/** Fresh secrets for each run, by file name: a run that leaks one is caught by looking for exactly these. */
export function buildSecrets(): StackSecrets {
  const random = (bytes: number) => randomBytes(bytes).toString('hex');
  return {
    ...Object.fromEntries(robotNames.map((name) => [`${name}.app-secret`, random(24)])),
    'events.token': random(12),
    // The platform's key is 43 letters or digits: base64 of 32 bytes without its `=`.
    'events.aes-key': `${random(21)}A`,
    'cards.secret': random(20),
    'systems.token': random(20),
    'model.key': `sk-${random(20)}`,
    'reply.key': `e2e:${randomBytes(32).toString('base64')}`,
  };
}

/** Who exists in the simulated DingTalk. Everybody is in every room. */
export function buildWorld(o: {
  secrets: StackSecrets;
  adapterUrl: string;
  extraRooms: number;
  governed?: Governed | undefined;
  operations?: boolean | undefined;
}): SimulatorWorld {
  const secret = (name: string) => o.secrets[name] ?? '';
  const everybody = Object.values(people);
  const room = (conversationId: string, robots: string[]) => ({
    conversationId,
    title: `room ${conversationId}`,
    kind: 'group' as const,
    robots,
    members: everybody,
  });
  return {
    corpId,
    apps: robotNames.map((name) => ({
      appKey: `key-${codeOf(name)}`,
      appSecret: secret(`${name}.app-secret`),
      robotCode: codeOf(name),
      name,
      callback: {
        robotUrl: `${o.adapterUrl}/dingtalk/robot/${name}`,
        cardUrl: `${o.adapterUrl}/dingtalk/cards/${name}`,
        cardSecret: secret('cards.secret'),
        eventUrl: `${o.adapterUrl}/dingtalk/events/${name}`,
        eventToken: secret('events.token'),
        eventAesKey: secret('events.aes-key'),
        eventOwnerKey: `key-${codeOf(name)}`,
      },
    })),
    customRobots: [],
    rooms: [
      ...robotNames.map((name) => room(roomOf(name), [codeOf(name)])),
      ...Array.from({ length: o.extraRooms }, (_, number) => room(extraRoom(number), [codeOf('http')])),
      room(unknownRoom, robotNames.map(codeOf)),
      ...(o.governed === undefined ? [] : [room(approvalsRoom, [codeOf('http')])]),
    ],
    people: everybody.map((staffId) => ({ staffId, name: staffId, unionId: `union-${staffId}` })),
    ...(o.governed && { systems: { token: secret('systems.token') } }),
  };
}

export type ConfigFolder = {
  folder: string;
  configPath: string;
  secretsDir: string;
  /** Copies, so that a test may edit them as an operator does. */
  policyDir: string;
  toolsDir: string;
};

/** Writes steward.yaml and the secret files into a fresh folder, as an operator would. */
export function writeConfigFolder(o: {
  secrets: StackSecrets;
  simulatorUrl: string;
  language: 'zh' | 'en';
  extraRooms: number;
  model?: ModelSettings | undefined;
  governed?: Governed | undefined;
  operations?: boolean | undefined;
}): ConfigFolder {
  const folder = mkdtempSync(path.join(tmpdir(), 'steward-e2e-'));
  const secretsDir = path.join(folder, 'secrets');
  mkdirSync(secretsDir);
  for (const [name, text] of Object.entries(o.secrets))
    writeFileSync(path.join(secretsDir, name), `${text}\n`, { mode: 0o600 });
  const configPath = path.join(folder, 'steward.yaml');
  writeFileSync(configPath, stringify({ ...buildConfig(o), ...(o.governed && buildGovernance(o.simulatorUrl)) }));
  const [policyDir, toolsDir] = [path.join(folder, 'policy'), path.join(folder, 'tools')];
  cpSync(path.join(root, 'config/policy'), policyDir, { recursive: true });
  mkdirSync(toolsDir);
  for (const [name, text] of Object.entries(o.governed === undefined ? {} : { ...shippedTools(), ...o.governed.tools }))
    writeFileSync(path.join(toolsDir, name), text);
  return { folder, configPath, secretsDir, policyDir, toolsDir };
}

const root = path.resolve(import.meta.dirname, '../..');

/** The tools that Steward ships as examples, put to use. */
function shippedTools(): Record<string, string> {
  const folder = path.join(root, 'config/tools');
  const names = readdirSync(folder).filter((name) => name.endsWith('.yaml.example'));
  return Object.fromEntries(
    names.map((name) => [name.replace(/\.example$/, ''), toTestTool(readFileSync(path.join(folder, name), 'utf8'))]),
  );
}

/** This installation has nothing that is of environment production. */
const toTestTool = (text: string) => text.replace('environments: [test, production]', 'environments: [test]');

/** What a governed stack has instead of, and besides, the plain one's: roles, an approvals room, and what tools may reach. */
function buildGovernance(simulatorUrl: string) {
  const roles = { [people.li]: ['ops'], [people.han]: ['approver'], [people.zhao]: ['sre-lead'] };
  return {
    people: Object.entries(roles).map(([staffId, held]) => ({ staffId, corpId, name: staffId, roles: held })),
    tools: {
      hosts: [{ name: 'systems', host: new URL(simulatorUrl).host, environments: ['test'], private: true, http: true }],
      secrets: [{ name: 'systems-token', file: 'systems.token', environments: ['test'] }],
    },
    governance: {
      approvalsRooms: ['approvals'],
      freezeRoles: ['sre-lead', 'approver'],
      maxPendingPerRequester: 100,
      maxPendingPerRoom: 100,
    },
  };
}

function buildConfig(o: {
  simulatorUrl: string;
  language: 'zh' | 'en';
  extraRooms: number;
  model?: ModelSettings | undefined;
  governed?: Governed | undefined;
  operations?: boolean | undefined;
}) {
  const room = (id: string, robot: RobotName, number: number) => ({
    id,
    name: `room-${number}`,
    robot,
    environment: 'test',
  });
  return {
    timeZone: 'Asia/Shanghai',
    language: o.language,
    dingtalk: {
      apiUrl: o.simulatorUrl,
      oapiUrl: o.simulatorUrl,
      sessionWebhookHosts: [new URL(o.simulatorUrl).host],
      // Limits are the concern of one test; elsewhere they would only slow the run down.
      limits: wideLimits,
    },
    robots: robotNames.map((name) => ({
      code: codeOf(name),
      name,
      environment: 'test',
      corpId,
      appKey: `key-${codeOf(name)}`,
      appSecretFile: `${name}.app-secret`,
      doors: doorsOf[name],
      sendsPerMinute: 60_000,
      events: { tokenFile: 'events.token', aesKeyFile: 'events.aes-key', ownerKey: `key-${codeOf(name)}` },
      cards: {
        callbackSecretFile: 'cards.secret',
        ...(o.governed && name === 'stream' && { approvals: { templateId: 'e2e-template' } }),
      },
    })),
    rooms: [
      ...robotNames.map((name, number) => room(roomOf(name), name, number)),
      ...Array.from({ length: o.extraRooms }, (_, number) =>
        room(extraRoom(number), 'http', robotNames.length + number),
      ),
      ...(o.governed === undefined ? [] : [{ ...room(approvalsRoom, 'http', 0), name: 'approvals' }]),
    ],
    ...(o.operations === true && { operations: { rooms: ['room-1'] } }),
    people: [people.li, people.han].map((staffId) => ({ staffId, corpId, name: staffId, roles: ['ops'] })),
    // One room of a test says in seconds what a room says in a day.
    fairness: { maxWaitingPerConversation: 10_000 },
    ...(o.model && {
      model: { name: 'fake-model', apiKeyFile: 'model.key', timeoutMs: 5_000, maxSteps: 2, ...o.model },
    }),
  };
}
