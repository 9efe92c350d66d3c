import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { SimulatorWorld } from '@steward/dingtalk-simulator';
import { stringify } from 'yaml';

export type RobotName = 'http' | 'stream' | 'both';
export const robotNames: readonly RobotName[] = ['http', 'stream', 'both'];
const doorsOf = { http: ['http'], stream: ['stream'], both: ['http', 'stream'] } as const;

export const corpId = 'dinge2e';
export const codeOf = (robot: RobotName): string => `dinge2e${robot}`;
/** The two configured people, and one whom only DingTalk knows. */
export const people = { li: 'e2e-li', han: 'e2e-han', stranger: 'e2e-stranger' } as const;
/** The configured group room of each robot. */
export const roomOf = (robot: RobotName): string => `cid${robot}==`;
/** Further configured rooms, of the robot `http`, numbered from 0. */
export const extraRoom = (number: number): string => `cidExtra${number}==`;
/** A group that every robot is in and that nobody configured. */
export const unknownRoom = 'cidUnknown==';

export type ModelSettings = { baseUrl: string; timeoutMs?: number; maxSteps?: number; transcriptTurns?: number };
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
    'model.key': `sk-${random(20)}`,
    'reply.key': `e2e:${randomBytes(32).toString('base64')}`,
  };
}

/** Who exists in the simulated DingTalk. Everybody is in every room. */
export function buildWorld(o: { secrets: StackSecrets; adapterUrl: string; extraRooms: number }): SimulatorWorld {
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
    ],
    people: everybody.map((staffId) => ({ staffId, name: staffId, unionId: `union-${staffId}` })),
  };
}

/** Writes steward.yaml and the secret files into a fresh folder, as an operator would. */
export function writeConfigFolder(o: {
  secrets: StackSecrets;
  simulatorUrl: string;
  language: 'zh' | 'en';
  extraRooms: number;
  model?: ModelSettings;
}): { folder: string; configPath: string; secretsDir: string } {
  const folder = mkdtempSync(path.join(tmpdir(), 'steward-e2e-'));
  const secretsDir = path.join(folder, 'secrets');
  mkdirSync(secretsDir);
  for (const [name, text] of Object.entries(o.secrets))
    writeFileSync(path.join(secretsDir, name), `${text}\n`, { mode: 0o600 });
  const configPath = path.join(folder, 'steward.yaml');
  writeFileSync(configPath, stringify(buildConfig(o)));
  return { folder, configPath, secretsDir };
}

function buildConfig(o: { simulatorUrl: string; language: 'zh' | 'en'; extraRooms: number; model?: ModelSettings }) {
  const room = (id: string, robot: RobotName, number: number) => ({
    id,
    name: `room-${number}`,
    robot,
    environment: 'test',
  });
  return {
    timeZone: 'Asia/Shanghai',
    language: o.language,
    dingtalk: { apiUrl: o.simulatorUrl, oapiUrl: o.simulatorUrl, sessionWebhookHosts: [new URL(o.simulatorUrl).host] },
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
      cards: { callbackSecretFile: 'cards.secret' },
    })),
    rooms: [
      ...robotNames.map((name, number) => room(roomOf(name), name, number)),
      ...Array.from({ length: o.extraRooms }, (_, number) =>
        room(extraRoom(number), 'http', robotNames.length + number),
      ),
    ],
    people: [people.li, people.han].map((staffId) => ({ staffId, corpId, name: staffId, roles: ['ops'] })),
    ...(o.model && {
      model: { name: 'fake-model', apiKeyFile: 'model.key', timeoutMs: 5_000, maxSteps: 2, ...o.model },
    }),
  };
}
