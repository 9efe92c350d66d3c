import path from 'node:path';
import { createMetrics, newId, stewardConfigSchema, type Logger, type StewardConfig } from '@steward/service-kit';
import type { Db } from '@steward/postgres';
import { loadPolicy, type JsonObject, type Policy, type ToolDefinition } from '@steward/governance';
import { claimTurn } from './claim-turn.ts';
import type { AgentTables } from './database.ts';
import { createRolesOf } from './directory-roles.ts';
import { endTurn } from './end-turn.ts';
import type { GateContext, ToolBox } from './gate/gate-context.ts';
import { openPolicyDesk } from './gate/policy-desk.ts';
import { buildDirectory } from './judge-access.ts';
import { recordInbound } from './record-inbound.ts';
import { runTurn, type TurnContext, type TurnOutcome } from './run-turn.ts';
import { buildReceived, everyLane, silentLog, type InboundOptions } from './testing.ts';
import type { Tool, ToolCallContext, ToolResult } from './tool.ts';
import { putAside } from './wake-turn.ts';

export const policyFolder = path.resolve(import.meta.dirname, '../../../config/policy');
export const corpId = 'corp-1';
/** Li asks, Han and Zhao may approve, Wang is a guest. */
export const people = { li: 'staff-1', han: 'staff-2', zhao: 'staff-3', wang: 'staff-4' } as const;
export const approvalsRoom = 'cid-approvals';

/** The configuration of these tests: a room, an approvals room, a second robot in a room of its own. */
export function buildGateConfig(over: Partial<StewardConfig['governance']> = {}): StewardConfig {
  const robot = { environment: 'test', corpId, appSecretFile: 'unused', doors: ['http'] };
  return stewardConfigSchema.parse({
    robots: [
      { ...robot, code: 'dingtest', name: 'ops', appKey: 'app-key-1' },
      { ...robot, code: 'dingother', name: 'other', appKey: 'app-key-2' },
    ],
    rooms: [
      { id: 'cid-1', name: 'ops-room', robot: 'ops', environment: 'test' },
      { id: approvalsRoom, name: 'approvals', robot: 'ops', environment: 'test' },
      { id: 'cid-2', name: 'elsewhere', robot: 'ops', environment: 'test' },
      { id: 'cid-3', name: 'other-room', robot: 'other', environment: 'test' },
    ],
    people: [
      { staffId: people.li, corpId, name: 'Li Lei', roles: ['ops'] },
      { staffId: people.han, corpId, name: 'Han Meimei', roles: ['approver'] },
      { staffId: people.zhao, corpId, name: 'Zhao Min', roles: ['sre-lead'] },
      { staffId: people.wang, corpId, name: 'Wang Fang', roles: ['guest'] },
    ],
    governance: {
      approvalsRooms: ['approvals'],
      freezeRoles: ['sre-lead', 'approver'],
      breakGlassRoles: ['ops'],
      reviewRoles: ['sre-lead'],
      ...over,
    },
  });
}

/** What a system did, in order; the same key twice is two effects here: nothing hides a repetition. */
export type Effect = { tool: string; args: JsonObject; key: string };
export type FakeSystem = {
  effects: Effect[];
  /** What `restart` says it would change; drift is a change of this. */
  preview: JsonObject;
  /** What the next calls come to, instead of `done`. */
  script: ((context: ToolCallContext, signal: AbortSignal) => Promise<ToolResult> | ToolResult)[];
};

export const createFakeSystem = (): FakeSystem => ({ effects: [], preview: { version: '1' }, script: [] });

const service = { service: { type: 'string', minLength: 1, maxLength: 5_000 } };
export function buildDefinition(name: string, over: Partial<ToolDefinition> = {}): ToolDefinition {
  return {
    name,
    description: `does ${name}`,
    parameters: { type: 'object', properties: service, required: ['service'], additionalProperties: false },
    effect: 'read',
    repeatable: false,
    environments: ['test'],
    timeoutMs: 5_000,
    maxOutputBytes: 4_000,
    limit: null,
    comparedPreviewFields: [],
    request: null,
    ...over,
  };
}

/** look (read), restart (write, with preview), scale (write, repeatable), wipe (destructive), say (told), query_audit. */
export function buildTools(system: FakeSystem, over: Record<string, Partial<ToolDefinition>> = {}): ToolBox {
  const call = (definition: ToolDefinition, extra: Partial<Tool> = {}): Tool => ({
    definition: { ...definition, ...over[definition.name] },
    run: {
      kind: 'call',
      call: async (args, context, signal) => {
        const scripted = system.script.shift();
        system.effects.push({ tool: definition.name, args, key: context.idempotencyKey });
        return scripted === undefined ? { kind: 'done', output: `{"ok":true}` } : scripted(context, signal);
      },
    },
    ...extra,
  });
  const tools: Tool[] = [
    call(buildDefinition('look')),
    call(buildDefinition('restart', { effect: 'write', comparedPreviewFields: ['version'] }), {
      preview: () => Promise.resolve(system.preview),
    }),
    call(buildDefinition('scale', { effect: 'write', repeatable: true })),
    call(buildDefinition('wipe', { effect: 'destructive' })),
    call(buildDefinition('query_audit')),
    call(buildDefinition('elsewhere', { environments: ['production'] })),
    {
      definition: {
        ...buildDefinition('say', { effect: 'write', limit: { calls: 1, perSeconds: 60 } }),
        ...over['say'],
      },
      budgetOf: () => 'room',
      run: {
        kind: 'tell',
        toRequest: (args) => ({
          target: { kind: 'group', robotCode: 'dingtest', conversationId: 'cid-2' },
          content: { kind: 'text', text: JSON.stringify(args['service']) },
        }),
      },
    },
  ];
  return new Map(tools.map((tool) => [tool.definition.name, tool]));
}

export type GateOptions = {
  system?: FakeSystem;
  config?: StewardConfig;
  tools?: ToolBox;
  log?: Logger;
  isAudited?: () => Promise<boolean>;
  load?: () => Policy;
  now?: () => Date;
  logToolCalls?: boolean;
};

/** A gate over a real database with the shipped policies and tools that only count. */
export async function openTestGate(db: Db<AgentTables>, o: GateOptions = {}): Promise<TurnContext> {
  const config = o.config ?? buildGateConfig();
  const tools = o.tools ?? buildTools(o.system ?? createFakeSystem());
  const log = o.log ?? silentLog;
  const now = o.now ?? (() => new Date());
  const policy = await openPolicyDesk({
    db,
    log,
    tools: [...tools.values()].map(({ definition }) => definition),
    load: o.load ?? ((definitions) => loadPolicy({ folder: policyFolder, tools: definitions })),
  });
  const gate: GateContext = {
    db,
    log,
    metrics: createMetrics('test'),
    now,
    language: 'en',
    timeZone: 'UTC',
    directory: buildDirectory(config),
    governance: config.governance,
    operations: config.operations,
    people: config.people,
    rolesOf: createRolesOf({ db, config, now }),
    policy,
    tools,
    isAudited: o.isAudited ?? (() => Promise.resolve(true)),
    logToolCalls: o.logToolCalls ?? false,
    onTold: () => undefined,
  };
  return {
    ...gate,
    askModel: null,
    facts: { version: '1', timeZone: 'UTC', modelName: null, apiCallsPerMonth: null, messagesPerMonth: null, now },
    skills: [],
    skillProblems: [],
  };
}

/** A context for turns that come to no tool: no policy is loaded, and whoever asks for one fails the test. */
export function buildTurnContext(
  db: Db<AgentTables>,
  over: Partial<TurnContext> = {},
  config = buildGateConfig(),
): TurnContext {
  const refuse = () => {
    throw new Error('this test has no policy');
  };
  const now = over.now ?? (() => new Date());
  const roles = new Map(config.people.map((person) => [person.staffId, person.roles]));
  return {
    db,
    log: silentLog,
    metrics: createMetrics('test'),
    now,
    language: 'en',
    timeZone: 'UTC',
    directory: buildDirectory(config),
    governance: config.governance,
    operations: config.operations,
    people: config.people,
    rolesOf: ({ staffId }) => Promise.resolve(roles.get(staffId) ?? []),
    policy: { current: refuse, reload: refuse, assertActive: refuse, check: refuse },
    tools: new Map(),
    isAudited: () => Promise.resolve(false),
    logToolCalls: false,
    onTold: () => undefined,
    askModel: null,
    facts: { version: '1', timeZone: 'UTC', modelName: null, apiCallsPerMonth: null, messagesPerMonth: null, now },
    skills: [],
    skillProblems: [],
    ...over,
  };
}

/** People talking to a gate: what somebody says becomes a turn, and turns are worked on here, one after the other. */
export function createTalk(context: TurnContext) {
  const sequences = new Map<string, number>();
  const { db, now } = context;
  const workOne = async (): Promise<{ outcome: TurnOutcome; conversationId: string } | null> => {
    const turn = await claimTurn(db, everyLane);
    if (turn === null) return null;
    const outcome = await runTurn(context, turn, new AbortController().signal);
    if (outcome.status === 'waiting') await db.transaction().execute((trx) => putAside(trx, turn, outcome));
    else await endTurn({ db, now }, turn, outcome);
    return { outcome, conversationId: turn.conversationId };
  };
  const workAll = async (): Promise<TurnOutcome[]> => {
    const outcomes: TurnOutcome[] = [];
    for (let count = 0; count < 50; count += 1) {
      const worked = await workOne();
      if (worked === null) return outcomes;
      outcomes.push(worked.outcome);
    }
    throw new Error('turns never come to an end');
  };
  const post = async (who: string, text: string, o: InboundOptions = {}) => {
    const room = o.room ?? 'cid-1';
    const key = `${o.robotCode ?? 'dingtest'} ${room}`;
    const sequence = (sequences.get(key) ?? 0) + 1;
    sequences.set(key, sequence);
    const requester = { staffId: who, corpId, nick: who, ...o.requester };
    const received = buildReceived({ ...o, room, sequence, text, requester });
    await recordInbound({ db, now }, received);
    return received;
  };
  return {
    post,
    workOne,
    workAll,
    /** Says something and works until nothing is due; the texts that came of it, in order. */
    say: async (who: string, text: string, o: InboundOptions = {}): Promise<string[]> => {
      await post(who, text, o);
      return (await workAll()).map((outcome) =>
        outcome.status === 'waiting' ? `waiting: ${outcome.line}` : (outcome.answer?.text ?? ''),
      );
    },
  };
}

/** The code of the newest open request. */
export async function newestCode(db: Db<AgentTables>): Promise<string> {
  const { code } = await db
    .selectFrom('approval_request')
    .select('code')
    .orderBy('created_at', 'desc')
    .limit(1)
    .executeTakeFirstOrThrow();
  return code;
}

export const newClick = (over: Record<string, unknown> = {}) => ({
  inboundEventId: newId(),
  app: 'app-key-1',
  environment: 'test' as const,
  corpId,
  staffId: people.han as string,
  spaceId: null,
  actionIds: ['btn'],
  door: 'stream' as const,
  outTrackId: '',
  params: {},
  ...over,
});
