import { createHash } from 'node:crypto';
import { sql } from 'kysely';
import { AppError, describeError, type Logger } from '@steward/service-kit';
import { appendAudit, type Db } from '@steward/postgres';
import { hashDefinition, type Policy, type ToolDefinition } from '@steward/governance';
import type { AgentTables } from '../database.ts';

/** Keeps the policy set in force, and knows whether it is the one that counts everywhere. */
export type PolicyDesk = {
  current(): Policy;
  /** Loads the files again. A set that does not load changes nothing: the old one stays, and that is said. */
  reload(): Promise<void>;
  /**
   * Resolves when this process judges by the set that counts. Otherwise it loads its files again, and rejects with
   * POLICY_CHANGING (retryable) if they still differ: a replica with an older set judges nothing.
   */
  assertActive(): Promise<void>;
  check(): { ok: boolean; detail: string };
};

export type PolicyDeskOptions = {
  db: Db<AgentTables>;
  log: Logger;
  tools: readonly ToolDefinition[];
  load: (tools: readonly ToolDefinition[]) => Policy;
};

/** Loading a set takes this process a tenth of a second: not again for each turn that waits for the end of an upgrade. */
const lookAgainMs = 1_000;

/** Opens the desk with the set that `load` gives (it throws POLICY_INVALID) and makes it the one that counts. */
export async function openPolicyDesk(o: PolicyDeskOptions): Promise<PolicyDesk> {
  const toolsHash = hashTools(o.tools);
  const load = (): Policy => o.load(o.tools);
  let policy = load();
  let fault: string | null = null;
  let lookedAtMs = -Infinity;
  await activate(o.db, policy, toolsHash);

  const reload = async (): Promise<void> => {
    try {
      const loaded = load();
      if (loaded.hash !== policy.hash) await activate(o.db, loaded, toolsHash);
      policy = loaded;
      fault = null;
      o.log.info('policy.loaded', { policyHash: policy.hash });
    } catch (error) {
      const { code, text } = describeError(error);
      fault = `the files do not load (${code}); in force is still ${policy.hash.slice(0, 12)}`;
      o.log.error('policy.reload.failed', { policyHash: policy.hash, error });
      await appendAudit(o.db, 'agent-core', [
        { kind: 'policy.refused', outcome: code, policyHash: policy.hash, detail: { text: text.slice(0, 2_000) } },
      ]);
    }
  };
  const isActive = async () => {
    const active = await o.db.selectFrom('active_policy').select(['policy_hash', 'tools_hash']).executeTakeFirst();
    return active?.policy_hash === policy.hash && active.tools_hash === toolsHash;
  };
  return {
    current: () => policy,
    reload,
    assertActive: async () => {
      if (await isActive()) return;
      if (performance.now() - lookedAtMs >= lookAgainMs) {
        lookedAtMs = performance.now();
        const before = policy.hash;
        policy = loadOrKeep(load, o.log, policy);
        if (policy.hash !== before && (await isActive())) return;
      }
      throw new AppError(
        'POLICY_CHANGING',
        'another policy set, or other tools, are in force than this replica has loaded',
        {
          retryable: true,
        },
      );
    },
    // Amber, not red: what is in force still works.
    check: () => ({ ok: true, detail: fault ?? `policy ${policy.hash.slice(0, 12)}` }),
  };
}

function loadOrKeep(load: () => Policy, log: Logger, policy: Policy): Policy {
  try {
    return load();
  } catch (error) {
    log.error('policy.reload.failed', { policyHash: policy.hash, error });
    return policy;
  }
}

async function activate(db: Db<AgentTables>, { hash, source }: Policy, toolsHash: string): Promise<void> {
  await db.transaction().execute(async (trx) => {
    // The text that the hash stands for, so that evidence can show by which rules somebody judged.
    await sql`select audit.record_policy(${hash}, ${source})`.execute(trx);
    const { numAffectedRows } = await sql`
      insert into agent_core.active_policy as p (policy_hash, tools_hash) values (${hash}, ${toolsHash})
      on conflict (only_one) do update
      set policy_hash = excluded.policy_hash, tools_hash = excluded.tools_hash, activated_at = now()
      where (p.policy_hash, p.tools_hash) <> (excluded.policy_hash, excluded.tools_hash)`.execute(trx);
    if (numAffectedRows !== 1n) return;
    await appendAudit(trx, 'agent-core', [
      { kind: 'policy.activated', outcome: 'active', policyHash: hash, detail: { toolsHash } },
    ]);
  });
}

/** Over the definitions by name. They are read at start, so unlike the policy set this never changes while a process runs. */
function hashTools(tools: readonly ToolDefinition[]): string {
  const hashes = tools.map((tool) => `${tool.name} ${hashDefinition(tool)}`).sort();
  return createHash('sha256').update(hashes.join('\n')).digest('hex');
}
