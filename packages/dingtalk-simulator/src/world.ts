import { createHash } from 'node:crypto';
import { z } from 'zod';

const callbackSchema = z.strictObject({
  robotUrl: z.url().optional(),
  cardUrl: z.url().optional(),
  cardSecret: z.string().min(1).optional(),
  eventUrl: z.url().optional(),
  /** 3 to 32 letters or digits, as the developer console accepts. */
  eventToken: z
    .string()
    .regex(/^[A-Za-z0-9]{3,32}$/)
    .optional(),
  eventAesKey: z
    .string()
    .regex(/^[A-Za-z0-9]{43}$/)
    .optional(),
  /** Plaintext trailer of an encrypted push; the app key unless said otherwise (app-level subscription). */
  eventOwnerKey: z.string().min(1).optional(),
});

const appSchema = z.strictObject({
  appKey: z.string().min(1),
  appSecret: z.string().min(1),
  robotCode: z.string().min(1),
  name: z.string().min(1),
  callback: callbackSchema.optional(),
});

const customRobotSchema = z.strictObject({
  accessToken: z.string().min(1),
  secret: z.string().min(1).optional(),
  keywords: z.array(z.string().min(1)).max(10).optional(),
  /** IPv4 addresses or CIDR ranges that may send. */
  ips: z.array(z.union([z.ipv4(), z.cidrv4()])).optional(),
  conversationId: z.string().min(1),
});

const roomSchema = z.strictObject({
  conversationId: z.string().min(1),
  title: z.string(),
  kind: z.enum(['group', 'single']),
  robots: z.array(z.string()),
  members: z.array(z.string()),
});

const personSchema = z.strictObject({
  staffId: z.string().min(1),
  name: z.string(),
  unionId: z.string(),
  /** Names of roles; each has a stable id made of its name (`roleIdOf`). */
  roles: z.array(z.string()).optional(),
  /** Further roles, by the organisation's own numbers. */
  roleIds: z.array(z.int()).optional(),
  /** Departments of this person; the root department 1 unless said otherwise. */
  departmentIds: z.array(z.int()).optional(),
  /** False for an account that was never activated. */
  active: z.boolean().optional(),
});

const departmentSchema = z.strictObject({ id: z.int(), name: z.string(), parentId: z.int() });

const serviceSchema = z.strictObject({
  name: z.string().regex(/^[a-z0-9-]{1,50}$/),
  version: z.string(),
  replicas: z.int().min(0).max(1_000),
  state: z.string(),
});

/** A company's own system, for tools to read and change under `/systems`. */
const systemsSchema = z.strictObject({
  /** Calls must bear this token. */
  token: z.string().min(1).optional(),
  services: z.array(serviceSchema).optional(),
  /** Who is on call; the first person of the world unless said otherwise. */
  oncall: z.array(z.string()).optional(),
});

const worldParts = z.strictObject({
  corpId: z.string().min(1),
  apps: z.array(appSchema),
  customRobots: z.array(customRobotSchema),
  rooms: z.array(roomSchema),
  people: z.array(personSchema),
  departments: z.array(departmentSchema).optional(),
  /** Ids of published card templates; without the list every id is one. */
  cardTemplates: z.array(z.string().min(1)).optional(),
  systems: systemsSchema.optional(),
});

/** One or more parts of a world, to be replaced whole. */
export const worldPatchSchema = worldParts.partial();
export const worldSchema = worldParts.superRefine((world, context) => {
  for (const fault of worldFaults(world)) context.addIssue({ code: 'custom', message: fault });
});

/** Who exists in this DingTalk: one organisation, its apps, custom robots, rooms and people. */
export type SimulatorWorld = z.infer<typeof worldParts>;
export type SimulatorApp = SimulatorWorld['apps'][number];
export type SimulatorCustomRobot = SimulatorWorld['customRobots'][number];
export type SimulatorRoom = SimulatorWorld['rooms'][number];
export type SimulatorPerson = SimulatorWorld['people'][number];
export type SimulatorService = z.infer<typeof serviceSchema>;

function worldFaults(world: SimulatorWorld): string[] {
  const robots = new Set(world.apps.map((app) => app.robotCode));
  const people = new Set(world.people.map((person) => person.staffId));
  return [
    ...repeated('appKey', world.apps, (app) => app.appKey),
    ...repeated('robotCode', world.apps, (app) => app.robotCode),
    ...repeated('accessToken', world.customRobots, (robot) => robot.accessToken),
    ...repeated('conversationId', world.rooms, (room) => room.conversationId),
    ...repeated('staffId', world.people, (person) => person.staffId),
    ...world.rooms.flatMap((room) => [
      ...room.robots.filter((code) => !robots.has(code)).map((code) => `room ${room.title}: no app has robot ${code}`),
      ...room.members.filter((id) => !people.has(id)).map((id) => `room ${room.title}: nobody has staffId ${id}`),
    ]),
  ];
}

function repeated<T>(name: string, rows: readonly T[], keyOf: (row: T) => string): string[] {
  const keys = rows.map(keyOf);
  return [...new Set(keys.filter((key, at) => keys.indexOf(key) !== at))].map((key) => `${name} ${key} is used twice`);
}

/** The conversation id of the 1:1 chat of a robot and a person: a `single` room of the world, else derived and stable. */
export function singleChatId(world: SimulatorWorld, robotCode: string, staffId: string): string {
  const named = world.rooms.find(
    (room) => room.kind === 'single' && room.robots.includes(robotCode) && room.members.includes(staffId),
  );
  return named?.conversationId ?? `cid${digest(`${world.corpId}/${robotCode}/${staffId}`)}==`;
}

/** The opaque id DingTalk shows instead of a staffId or a robotCode: reference section 8, `$:LWCP_v1:$`. */
export function encryptedId(world: SimulatorWorld, id: string): string {
  return `$:LWCP_v1:$${digest(`${world.corpId}/${id}`)}==`;
}

/** The number of a role that the world knows by name alone. */
export function roleIdOf(name: string): number {
  return createHash('sha256').update(`role ${name}`).digest().readUInt32BE(0) >>> 1;
}

/** Every role of a person, by number and name. */
export function rolesOf(person: SimulatorPerson): { id: number; name: string }[] {
  return [
    ...(person.roles ?? []).map((name) => ({ id: roleIdOf(name), name })),
    ...(person.roleIds ?? []).map((id) => ({ id, name: `role ${id}` })),
  ];
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('base64').slice(0, 22);
}
