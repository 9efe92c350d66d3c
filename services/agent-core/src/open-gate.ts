import path from 'node:path';
import { sql } from 'kysely';
import {
  AppError,
  readSecretFile,
  type Logger,
  type Metrics,
  type ServeFlags,
  type StewardConfig,
} from '@steward/service-kit';
import type { Db } from '@steward/postgres';
import { loadPolicy } from '@steward/governance';
import { createBuiltinTools } from './builtin-tools.ts';
import type { AgentTables } from './database.ts';
import { createRolesOf } from './directory-roles.ts';
import { createEgress } from './egress.ts';
import type { GateContext, ToolBox } from './gate/gate-context.ts';
import { openPolicyDesk } from './gate/policy-desk.ts';
import { buildDirectory } from './judge-access.ts';
import { loadHttpTools } from './load-http-tools.ts';
import { skillToolName } from './skill-tool.ts';
import type { LoadTools, Tool } from './tool.ts';

export type GateOptions = {
  db: Db<AgentTables>;
  config: StewardConfig;
  secretsDir: string;
  policyDir: string;
  toolsDir: string;
  log: Logger;
  metrics: Metrics;
  flags: ServeFlags;
  now: () => Date;
  onTold: () => void;
};

/** The newest seal may be this old for the audit log to count as sealed and working (note U3). */
const maxSealAgeSeconds = 60;
/** What is known of the seal is asked again after this long: it is part of every verdict. */
const sealAskedEveryMs = 5_000;

/**
 * Opens the gate: tools, then the policy set over exactly these tools. Rejects with TOOLS_INVALID or POLICY_INVALID, which list
 * every fault: an installation whose rules cannot be read does not start.
 */
export async function openGate(o: GateOptions): Promise<GateContext> {
  const { db, config, log, now } = o;
  const tools = await collectTools(createSources(o));
  const policy = await openPolicyDesk({
    db,
    log,
    tools: [...tools.values()].map(({ definition }) => definition),
    load: (definitions) => loadPolicy({ folder: o.policyDir, tools: definitions }),
  });
  return {
    db,
    log,
    metrics: o.metrics,
    now,
    language: config.language,
    timeZone: config.timeZone,
    directory: buildDirectory(config),
    governance: config.governance,
    operations: config.operations,
    people: config.people,
    rolesOf: createRolesOf({ db, config, now }),
    policy,
    tools,
    isAudited: createSealWatch(db, now),
    logToolCalls: o.flags.logToolCalls,
    onTold: o.onTold,
  };
}

function createSources(o: GateOptions): LoadTools[] {
  const { config, secretsDir, now } = o;
  const egress = createEgress();
  const readSecret = (name: string) => readSecretFile(secretsDir, name);
  return [
    () =>
      Promise.resolve(
        createBuiltinTools({ config, egress, now, readSecret, readRoomEntries: (room) => readRoomEntries(o.db, room) }),
      ),
    () => loadHttpTools({ folder: path.resolve(o.toolsDir), config: config.tools, secretsDir, egress }),
  ];
}

/** One name, one tool: whatever source it comes from. */
async function collectTools(sources: readonly LoadTools[]): Promise<ToolBox> {
  const tools = new Map<string, Tool>();
  for (const load of sources) {
    for (const tool of await load()) {
      const { name } = tool.definition;
      if (tools.has(name) || name === skillToolName)
        throw new AppError('TOOLS_INVALID', `two tools have the name ${name}`, { retryable: false });
      tools.set(name, tool);
    }
  }
  return tools;
}

async function readRoomEntries(
  db: Db<AgentTables>,
  o: { robotCode: string; conversationId: string; since: Date; maxRows: number },
) {
  const { rows } = await sql<Record<string, unknown>>`
    select * from ops.room_entries(${o.robotCode}, ${o.conversationId}, ${o.since}::timestamptz, ${o.maxRows}::int)`.execute(
    db,
  );
  return rows;
}

/** Whether the log is sealed and freshly so; a database that cannot say means no. */
function createSealWatch(db: Db<AgentTables>, now: () => Date): () => Promise<boolean> {
  let known = { atMs: -Infinity, isFresh: false };
  return async () => {
    const nowMs = now().getTime();
    if (nowMs - known.atMs < sealAskedEveryMs) return known.isFresh;
    const { rows } = await sql<{ age: number | null }>`select audit.seconds_since_seal() as age`.execute(db);
    const age = rows[0]?.age ?? null;
    known = { atMs: nowMs, isFresh: age !== null && age <= maxSealAgeSeconds };
    return known.isFresh;
  };
}
