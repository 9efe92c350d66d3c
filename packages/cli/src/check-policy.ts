import { loadPolicy, type Policy } from '@steward/governance';
import { AppError, type StewardConfig } from '@steward/service-kit';
import { exitCodes, type CliContext, type ExitCode } from './cli-context.ts';
import { loadTools, policyFolder, type PolicyOptions } from './policy-files.ts';
import { toVisible } from './to-visible.ts';

export type CheckOptions = PolicyOptions & { json?: boolean };

type Checked = { faults: string[]; doubts: string[]; policy: Policy | null };

/** `policy check`: configuration, tools and policies together, as agent-core would load them; every fault of each. */
export async function checkPolicy(context: CliContext, options: CheckOptions): Promise<ExitCode> {
  const { faults, doubts, policy } = await check(context, options);
  const shown = { ok: faults.length === 0, faults, doubts, policyHash: policy?.hash ?? null };
  if (options.json === true) context.print(JSON.stringify(shown, null, 2));
  else {
    faults.forEach((fault) => context.print(toVisible(fault)));
    doubts.forEach((doubt) => context.warn(toVisible(doubt)));
    if (policy !== null) {
      context.print(`fine: ${policy.statements.size} policies for ${policy.tools.size} tools, set ${policy.hash}`);
    }
  }
  return shown.ok ? exitCodes.done : exitCodes.no;
}

async function check(context: CliContext, options: CheckOptions): Promise<Checked> {
  try {
    const { config, tools } = await loadTools(context, options);
    const policy = loadPolicy({ folder: policyFolder(context, options), tools });
    return { faults: [], doubts: findDoubts(policy, config), policy };
  } catch (error) {
    if (!(error instanceof AppError) || !Array.isArray(error.details['faults'])) throw error;
    // Each stage needs the one before, so the first that fails is the one to mend.
    const where = { CONFIG_INVALID: 'configuration', TOOLS_INVALID: 'tools' }[error.code] ?? 'policy';
    return { faults: error.details['faults'].map((fault) => `${where}: ${String(fault)}`), doubts: [], policy: null };
  }
}

function findDoubts(policy: Policy, { people, governance }: StewardConfig): string[] {
  const held = new Set(people.flatMap(({ roles }) => roles));
  governance.directory?.roles.forEach(({ role }) => held.add(role));
  return [
    ...policy.warnings,
    ...policy.roles
      .filter((role) => !held.has(role))
      .map((role) => `role ${role} is named by a policy, and nobody has it`),
    ...policy.invisibleArguments.map(
      (hidden) => `no policy can see argument ${hidden.path} of ${hidden.tool}: ${hidden.why}`,
    ),
  ];
}
