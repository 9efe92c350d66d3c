import { readFileSync } from 'node:fs';
import path from 'node:path';
import { readPolicyFiles, runPolicyCases, type ToolDefinition } from '@steward/governance';
import { AppError, isAppErrorCode } from '@steward/service-kit';
import { exitCodes, type CliContext, type ExitCode } from './cli-context.ts';
import { loadTools, policyFolder, type PolicyOptions } from './policy-files.ts';
import { toVisible } from './to-visible.ts';

export type TestOptions = PolicyOptions & { cases?: string; json?: boolean };

/** `policy test`: holds the policies to their cases. */
export async function testPolicy(context: CliContext, options: TestOptions): Promise<ExitCode> {
  const folder = policyFolder(context, options);
  const result = runPolicyCases({
    files: readPolicyFiles({ folder }),
    tools: await loadToolsIfConfigured(context, options),
    casesText: readCases(options.cases ?? path.join(folder, 'cases.yaml')),
  });
  if (options.json === true) context.print(JSON.stringify(result, null, 2));
  else {
    for (const { name, faults } of result.failed) {
      context.print(`FAILED ${toVisible(name)}`);
      faults.forEach((fault) => context.print(`  ${toVisible(fault)}`));
    }
    context.print(`${result.passed} passed, ${result.failed.length} failed, set ${result.policyHash}`);
  }
  return result.failed.length === 0 ? exitCodes.done : exitCodes.no;
}

/** Cases bring the tools they need; those of the configuration stand beside them where there is one. */
async function loadToolsIfConfigured(context: CliContext, options: TestOptions): Promise<readonly ToolDefinition[]> {
  try {
    return (await loadTools(context, options)).tools;
  } catch (error) {
    if (options.config !== undefined || !isAppErrorCode(error, 'CONFIG_INVALID')) throw error;
    context.warn('without a configuration: only the tools that the cases declare are known');
    return [];
  }
}

function readCases(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    throw new AppError('FILE_UNREADABLE', `${file} cannot be read; name the cases with --cases`, {
      retryable: false,
      cause,
    });
  }
}
