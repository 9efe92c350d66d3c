import { loadToolDefinitions, type ToolDefinition } from '@steward/governance';
import type { StewardConfig } from '@steward/service-kit';
import type { CliContext } from './cli-context.ts';
import { loadConfig, orDefault, type ConfigOptions } from './load-config.ts';

export type PolicyOptions = ConfigOptions & { policy?: string; tools?: string };

/** Which folder of policies is meant: the option, else STEWARD_POLICY_DIR, else config/policy. */
export const policyFolder = ({ env }: Pick<CliContext, 'env'>, { policy }: PolicyOptions): string =>
  policy ?? orDefault(env['STEWARD_POLICY_DIR'], 'config/policy');

/** Which folder of tools is meant: the option, else STEWARD_TOOLS_DIR, else config/tools. */
export const toolsFolder = ({ env }: Pick<CliContext, 'env'>, { tools }: PolicyOptions): string =>
  tools ?? orDefault(env['STEWARD_TOOLS_DIR'], 'config/tools');

/** The configuration and every tool of it, the built-in ones too. Rejects with CONFIG_INVALID, TOOLS_INVALID. */
export async function loadTools(
  context: Pick<CliContext, 'env'>,
  options: PolicyOptions,
): Promise<{ config: StewardConfig; tools: readonly ToolDefinition[] }> {
  const config = loadConfig(context, options);
  return { config, tools: await loadToolDefinitions({ folder: toolsFolder(context, options), config: config.tools }) };
}
