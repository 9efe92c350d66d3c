import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { SimulatorWorld } from '@steward/dingtalk-simulator';
import { stringify } from 'yaml';

/** The one robot of the bench; it uses the HTTP door. */
export const robot = { code: 'dingbench', name: 'bench', corpId: 'dingbenchcorp', appKey: 'dingbench' } as const;
const staffId = 'bench-person';
export const callbackPath = `/dingtalk/robot/${robot.name}`;

/** Configured group rooms of the robot, numbered from 0. */
export const roomId = (number: number): string => `cidBench${number}==`;

export type BenchWorld = {
  appSecret: string;
  folder: string;
  /** Arguments of the services' Node: none, or a CPU profile for each into the given folder. */
  nodeArgs: readonly string[];
  /** What every service gets in its environment beside its servers. */
  env: Record<string, string>;
  simulated(adapterUrl: string): SimulatorWorld;
  /** Writes steward.yaml; DingTalk is at this address. */
  configure(dingtalkUrl: string): void;
  remove(): void;
};

/** A folder with fresh secrets and, once `configure` was called, a configuration: as an operator would write it. */
export function createBenchWorld({ rooms, profileFolder }: { rooms: number; profileFolder?: string }): BenchWorld {
  const folder = mkdtempSync(path.join(tmpdir(), 'steward-bench-'));
  const secretsDir = path.join(folder, 'secrets');
  mkdirSync(secretsDir);
  const appSecret = randomBytes(24).toString('hex');
  const secrets = { 'bench.app-secret': appSecret, 'reply.key': `bench:${randomBytes(32).toString('base64')}` };
  for (const [name, text] of Object.entries(secrets)) writeFileSync(path.join(secretsDir, name), text, { mode: 0o600 });
  const configPath = path.join(folder, 'steward.yaml');
  const numbers = Array.from({ length: rooms }, (_, number) => number);
  return {
    appSecret,
    folder,
    nodeArgs:
      profileFolder === undefined ? [] : ['--cpu-prof', '--cpu-prof-dir', profileFolder, '--cpu-prof-interval', '500'],
    env: {
      STEWARD_CONFIG: configPath,
      STEWARD_SECRETS_DIR: secretsDir,
      REPLY_KEY_FILE: path.join(secretsDir, 'reply.key'),
      DOOR_REQUESTS_PER_MINUTE: '1000000000',
      LOG_LEVEL: 'info',
    },
    simulated: (adapterUrl) => buildSimulated(numbers, appSecret, adapterUrl),
    configure: (dingtalkUrl) => writeFileSync(configPath, stringify(buildConfig(numbers, dingtalkUrl))),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

function buildConfig(rooms: readonly number[], dingtalkUrl: string) {
  return {
    language: 'en',
    dingtalk: {
      apiUrl: dingtalkUrl,
      oapiUrl: dingtalkUrl,
      sessionWebhookHosts: [new URL(dingtalkUrl).host],
      limits: { roomSendsPerMinute: 60_000, egressCallsPerSecond: 490 },
    },
    robots: [
      { ...robot, environment: 'test', appSecretFile: 'bench.app-secret', doors: ['http'], sendsPerMinute: 100_000 },
    ],
    rooms: rooms.map((number) => ({
      ...{ id: roomId(number), name: `room-${number}` },
      ...{ robot: robot.name, environment: 'test' },
    })),
    people: [{ staffId, corpId: robot.corpId, name: 'Li', roles: ['ops'] }],
  };
}

function buildSimulated(rooms: readonly number[], appSecret: string, adapterUrl: string): SimulatorWorld {
  const callback = { robotUrl: `${adapterUrl}${callbackPath}` };
  return {
    corpId: robot.corpId,
    apps: [{ appKey: robot.appKey, appSecret, robotCode: robot.code, name: robot.name, callback }],
    customRobots: [],
    rooms: rooms.map((number) => ({
      ...{ conversationId: roomId(number), title: `room ${number}`, kind: 'group' as const },
      ...{ robots: [robot.code], members: [staffId] },
    })),
    people: [{ staffId, name: 'Li', unionId: 'union-li' }],
  };
}

/** A text message as the platform sends it to the HTTP door (all fields of the official sample), without its ids. */
export function buildPayload(o: { msgId: string; conversationId: string; nowMs: number }): Record<string, unknown> {
  return {
    msgtype: 'text',
    text: { content: ' Which services on host db-03 restarted in the last hour? 请列出来' },
    msgId: o.msgId,
    createAt: o.nowMs,
    conversationType: '2',
    conversationId: o.conversationId,
    conversationTitle: '运维值班群 ops on call',
    senderId: '$:LWCP_v1:$Ff09GIxxxxxxxxxxxxxxxxxxxxxxxxxx',
    senderStaffId: staffId,
    senderNick: '李 Li',
    senderCorpId: robot.corpId,
    senderPlatform: 'Mac',
    isAdmin: false,
    chatbotCorpId: robot.corpId,
    chatbotUserId: '$:LWCP_v1:$Cb07GIyyyyyyyyyyyyyyyyyyyyyyyyyy',
    robotCode: robot.code,
    isInAtList: true,
    atUsers: [{ dingtalkId: '$:LWCP_v1:$Cb07GIyyyyyyyyyyyyyyyyyyyyyyyyyy' }],
    sessionWebhook: `https://oapi.dingtalk.com/robot/sendBySession?session=${'5f4e3d2c'.repeat(4)}`,
    sessionWebhookExpiredTime: o.nowMs + 5_400_000,
  };
}
