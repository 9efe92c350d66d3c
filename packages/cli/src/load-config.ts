import { loadStewardConfig, type StewardConfig } from '@steward/service-kit';
import type { CliContext } from './cli-context.ts';

export type ConfigOptions = { config?: string };

/** Which configuration file is meant: the option, else STEWARD_CONFIG, else config/steward.yaml. */
export const configPath = ({ env }: Pick<CliContext, 'env'>, { config }: ConfigOptions): string =>
  config ?? orDefault(env['STEWARD_CONFIG'], 'config/steward.yaml');

/** The configuration that the option or the environment names. Throws CONFIG_INVALID with every fault. */
export const loadConfig = (context: Pick<CliContext, 'env'>, options: ConfigOptions): StewardConfig =>
  loadStewardConfig({ path: configPath(context, options) });

/** An empty variable counts as none, as for the services. */
export const orDefault = (value: string | undefined, other: string): string =>
  value === undefined || value === '' ? other : value;

const usualZone = 'Asia/Shanghai';

/**
 * The time zone that people see. A command that only shows times does not fail for a configuration that is not there: then it
 * is the usual one, and every time says which.
 */
export function readTimeZone(context: Pick<CliContext, 'env' | 'warn'>, options: ConfigOptions): string {
  try {
    return loadConfig(context, options).timeZone;
  } catch {
    context.warn(`${configPath(context, options)} cannot be used; times are shown in ${usualZone}`);
    return usualZone;
  }
}
