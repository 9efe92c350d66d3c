import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { sql, type KyselyPlugin, type UnknownRow } from 'kysely';
import { stewardConfigSchema, type Loop, type StewardConfig } from '@steward/service-kit';
import { buildPolicy, hashDefinition, type JsonObject, type PolicyFile } from '@steward/governance';
import type { Db } from '@steward/postgres';
import type { AgentTables } from '../database.ts';
import { buildGateConfig, buildTools, createFakeSystem, openTestGate, policyFolder } from '../gate.test-support.ts';
import type { TurnContext } from '../run-turn.ts';
import type { openTestDatabase } from '../testing.ts';
import type { Tool, ToolResult } from '../tool.ts';
import { createTurnWorker } from '../work-turns.ts';
import { createApprovalWatch } from './watch-approvals.ts';
import { createClickWorker } from './work-clicks.ts';
import { createOperatorWorker } from './work-operator-requests.ts';

export type TestDatabase = Awaited<ReturnType<typeof openTestDatabase>>;

/** What a system did, seen from its own side: the arguments and the definition that really reached it. */
export type WorldEffect = {
  tool: string;
  args: JsonObject;
  key: string;
  definitionHash: string;
  preview: JsonObject | null;
};
/** The systems that tools reach: one for all replicas. */
export type World = {
  effects: WorldEffect[];
  /** By tool call: what `restart` said it would change, each time it was asked. */
  previews: Map<string, JsonObject[]>;
  version: number;
  /** What the next calls come to; `hang` ends when the run does. */
  script: ('hang' | 'unknown' | 'failed' | 'late')[];
  released: Promise<unknown>;
};

/** A replica of agent-core: its own pool, its own loops, and a life that can end at any statement. */
export type Replica = {
  context: TurnContext;
  /** Kills it at the statement with that number from now, before it is made or before its result arrives. */
  crashAt: (o: { statements: number; moment: 'before' | 'after' }) => void;
  isDead: () => boolean;
  wake: () => void;
  stop: () => Promise<void>;
  setVersion: (tool: string, version: number) => void;
  setPolicy: (variant: PolicyVariant) => Promise<void>;
};

export type PolicyVariant = 'shipped' | 'comment' | 'strict' | 'closed' | 'broken';
const files: readonly PolicyFile[] = readdirSync(policyFolder)
  .filter((name) => name.endsWith('.cedar'))
  .map((name) => ({ name, text: readFileSync(path.join(policyFolder, name), 'utf8') }));
const variants: Record<PolicyVariant, (text: string) => string> = {
  shipped: (text) => text,
  comment: (text) => `// a remark\n${text}`,
  strict: (text) => text.replace('@quorum("1")', '@quorum("2")'),
  closed: (text) =>
    text.includes('writes-ask')
      ? `${text}\n@id("closed") forbid (principal, action, resource) unless { resource.effect == "read" };\n`
      : text,
  broken: (text) => `${text}\npermit (`,
};

/** The rooms and people of the gate tests; robot ops shows its requests as cards. */
export function buildWorldConfig(): StewardConfig {
  const config = buildGateConfig({ maxPendingPerRequester: 10 });
  const robots = config.robots.map((robot) =>
    robot.name === 'ops' ? { ...robot, cards: { approvals: { templateId: 'template-1' } } } : robot,
  );
  return stewardConfigSchema.parse({ ...config, robots });
}

export class Crashed extends Error {}

/** Ends a life at a statement, and lets results of statements arrive a little later than they came. */
function createLife(random: () => number) {
  let left = Infinity;
  let moment: 'before' | 'after' = 'before';
  let dead = false;
  /** The claims of this life: their leases run out once it is over. */
  const claims: { id: string; attempt: number }[] = [];
  const die = () => {
    dead = true;
    throw new Crashed('this replica is dead');
  };
  const plugin: KyselyPlugin = {
    transformQuery: ({ node }) => {
      left -= 1;
      if (dead || (left <= 0 && moment === 'before')) die();
      return node;
    },
    transformResult: async ({ result }) => {
      for (const row of result.rows) noteClaim(row);
      if (dead || left <= 0) die();
      const draw = random();
      if (draw < 0.15) await delay(Math.floor(draw * 24));
      return result;
    },
  };
  const noteClaim = (row: UnknownRow) => {
    if ('resumed_at_attempt' in row) claims.push({ id: String(row['id']), attempt: Number(row['attempt']) });
  };
  return {
    plugin,
    claims,
    isDead: () => dead,
    crashAt: (o: { statements: number; moment: 'before' | 'after' }) => {
      left = o.statements;
      moment = o.moment;
    },
  };
}

/** Starts a replica on a pool. `onDead` is told with the turns it held. */
export async function startReplica(o: {
  db: Db<AgentTables>;
  world: World;
  config: StewardConfig;
  random: () => number;
  versions: Record<string, number>;
  variant: PolicyVariant;
}): Promise<Replica & { claims: readonly { id: string; attempt: number }[]; variant: () => PolicyVariant }> {
  const life = createLife(o.random);
  let { variant } = o;
  const tools = new Map<string, Tool>();
  const setVersion = (name: string, version: number) => {
    o.versions[name] = version;
    const tool = buildWorldTools(o.world, life.isDead, { [name]: { description: `does ${name}, version ${version}` } });
    const found = tool.get(name);
    if (found !== undefined) tools.set(name, found);
  };
  for (const [name, tool] of buildWorldTools(o.world, life.isDead, {})) tools.set(name, tool);
  for (const [name, version] of Object.entries(o.versions)) setVersion(name, version);
  const definitions = [...tools.values()].map(({ definition }) => definition);
  const load = () =>
    buildPolicy({
      files: files.map(({ name, text }) => ({ name, text: variants[variant](text) })),
      tools: definitions,
    });
  const opened = await openTestGate(o.db.withPlugin(life.plugin), { tools, config: o.config, load });
  const loops: Loop[] = [];
  const wake = () => loops.forEach((loop) => loop.wake());
  const context: TurnContext = { ...opened, onTold: wake };
  loops.push(
    createTurnWorker({ ...context, onEnded: wake }),
    createClickWorker(context),
    createApprovalWatch(context, wake),
    createOperatorWorker(context),
  );
  for (const loop of loops) loop.start();
  return {
    context,
    claims: life.claims,
    crashAt: life.crashAt,
    isDead: life.isDead,
    wake,
    stop: async () => {
      await Promise.all(loops.map((loop) => loop.stop()));
    },
    setVersion,
    setPolicy: async (next) => {
      variant = next;
      await context.policy.reload();
    },
    variant: () => variant,
  };
}

/** The tools of the gate tests over one world: what reaches a system is noted there, by the replica that is alive. */
function buildWorldTools(world: World, isDead: () => boolean, over: Parameters<typeof buildTools>[1]) {
  const built = buildTools(createFakeSystem(), over);
  return new Map([...built].map(([name, tool]) => [name, inWorld(world, isDead, tool)]));
}

function inWorld(world: World, isDead: () => boolean, tool: Tool): Tool {
  if (tool.run.kind !== 'call') return tool;
  const { definition } = tool;
  const seen = { preview: null as JsonObject | null };
  const preview: Tool['preview'] = (_args, { toolCallId }) => {
    const said = { version: String(world.version) };
    world.previews.set(toolCallId, [...(world.previews.get(toolCallId) ?? []), said]);
    seen.preview = said;
    return Promise.resolve(said);
  };
  const call = async (
    args: JsonObject,
    { idempotencyKey, toolCallId }: { idempotencyKey: string; toolCallId: string },
  ) => {
    if (isDead()) throw new Crashed('a dead replica calls nobody');
    const fate = definition.effect === 'read' ? undefined : world.script.shift();
    if (fate === 'late') await delay(30);
    if (fate === 'failed') return { kind: 'failed', code: 'REFUSED', text: 'the system refused' } satisfies ToolResult;
    const last = world.previews.get(toolCallId)?.at(-1) ?? null;
    const definitionHash = hashDefinition(definition);
    world.effects.push({ tool: definition.name, args, key: idempotencyKey, definitionHash, preview: last });
    if (fate === 'hang') await world.released;
    return (fate === 'unknown' ? { kind: 'unknown', code: 'TIMEOUT' } : { kind: 'done', output: '{}' }) as ToolResult;
  };
  return { ...tool, ...(tool.preview && { preview }), run: { kind: 'call', call } };
}

/** The leases of a dead life, over: as if its fifteen seconds had passed. */
export async function endLeases(
  database: TestDatabase,
  claims: readonly { id: string; attempt: number }[],
): Promise<void> {
  for (const { id, attempt } of claims)
    await sql`update agent_core.turn set lease_until = now() - interval '1 s'
      where id = ${id} and attempt = ${attempt} and status = 'running'`.execute(database.admin);
  // Whose claims on clicks and requests of operators these were is not known: so nobody's hold.
  await sql`update agent_core.card_click set claimed_until = null where decided_at is null`.execute(database.admin);
  await sql`update agent_core.operator_request set claimed_until = null where answered_at is null`.execute(
    database.admin,
  );
}
