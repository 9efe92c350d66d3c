import { Command, CommanderError } from 'commander';
import type { Act, ActOnDatabase, Acts } from './acts.ts';
import { addApprovalCommands } from './add-approval-commands.ts';
import { addAuditCommands } from './add-audit-commands.ts';
import { addCallCommands } from './add-call-commands.ts';
import { addDeadCommands } from './add-dead-commands.ts';
import { addOutboundCommands } from './add-outbound-commands.ts';
import { addPolicyCommands } from './add-policy-commands.ts';
import { exitCodes, type CliContext, type ExitCode } from './cli-context.ts';
import { toVisible } from './to-visible.ts';

/** Runs `steward` with these arguments and says how it ended. Never rejects: what goes wrong is told, with its code. */
export async function runCli(context: CliContext, args: readonly string[]): Promise<ExitCode> {
  let ended: ExitCode = exitCodes.done;
  const act: Act = async (work) => {
    ended = await work(context);
  };
  const actOnDatabase: ActOnDatabase = async (work) => {
    const connection = await context.connect();
    try {
      ended = await work(context, connection.query);
    } finally {
      await connection.close();
    }
  };
  try {
    await createProgram(context, { act, actOnDatabase }).parseAsync([...args], { from: 'user' });
    return ended;
  } catch (error) {
    // Commander has told what is wrong with the words; help and version end this way too.
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.done : exitCodes.failed;
    const { describeError } = await import('@steward/service-kit');
    const { code, text } = describeError(error);
    context.warn(`steward: ${toVisible(text, { lines: true })} (${code})`);
    return exitCodes.failed;
  }
}

/** The whole command line, without effect until it is parsed. */
export function createProgram(context: Pick<CliContext, 'print' | 'warn'>, acts: Acts): Command {
  const program = new Command('steward')
    .description('What an operator does at the command line.')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => context.print(text.trimEnd()),
      writeErr: (text) => context.warn(text.trimEnd()),
    })
    .addHelpText(
      'after',
      '\nExit codes: 0 done, 1 the answer is no, 2 it could not be done, 3 nothing wrong but not witnessed.',
    )
    .showHelpAfterError('(add --help for how to say it)');
  addPolicyCommands(program, acts);
  addApprovalCommands(program, acts);
  addOutboundCommands(program, acts);
  addCallCommands(program, acts);
  addDeadCommands(program, acts);
  addAuditCommands(program, acts);
  return program;
}
