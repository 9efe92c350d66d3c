import { environmentSchema, type Environment } from '@steward/contracts';
import type { Query } from '@steward/postgres';
import { askOperator } from './ask-operator.ts';
import type { CliContext, ExitCode } from './cli-context.ts';
import { findPerson } from './find-person.ts';
import { loadConfig, type ConfigOptions } from './load-config.ts';
import { signClaims } from './operator-key.ts';

export type FreezeOptions = { environment?: Environment; reason: string };
export type UnfreezeOptions = ConfigOptions & {
  environment: Environment;
  reason: string;
  key: string;
  as: string;
  corp?: string;
};

/**
 * `freeze`: stops every write and destructive call before it starts, on the operating system's word; in both environments
 * unless one is named.
 */
export function freezeEnvironments(context: CliContext, query: Query, options: FreezeOptions): Promise<ExitCode> {
  const { reason } = options;
  const wanted = options.environment === undefined ? environmentSchema.options : [options.environment];
  return askOperator(
    context,
    query,
    wanted.map((environment) => ({ verb: 'freeze', body: { environment, reason } })),
  );
}

/** `unfreeze`: needs the key of a person with the role, and another one than who froze (note A6). */
export async function unfreezeEnvironment(
  context: CliContext,
  query: Query,
  options: UnfreezeOptions,
): Promise<ExitCode> {
  const { staffId, corpId } = findPerson(loadConfig(context, options), options.as, options.corp);
  const { environment, reason } = options;
  const claims = { environment, reason, staffId, corpId, at: context.now().toISOString() };
  const signature = signClaims({ keyFile: options.key, verb: 'unfreeze', claims });
  return askOperator(context, query, [{ verb: 'unfreeze', body: { ...claims, signature } }]);
}
