import type { Command } from 'commander';
import type { Acts } from './acts.ts';
import type { CallListOptions, CallResolveOptions } from './calls.ts';
import { configOption, environmentOption, jsonOption, toCount } from './command-options.ts';

/** `steward calls …`: calls of tools, and settling those of which nobody knows whether they happened. */
export function addCallCommands(program: Command, { actOnDatabase }: Acts): void {
  const calls = program
    .command('calls')
    .description('Calls of tools, and settling those of which nobody knows whether they happened.');
  calls
    .command('list')
    .description('Lists the calls of the last days, the newest first.')
    .option('--unknown', 'those of unknown outcome that nobody has settled, however old')
    .option('--days <number>', 'how many days back (7)', toCount)
    .addOption(environmentOption('only of this one'))
    .addOption(configOption())
    .addOption(jsonOption())
    .action((options: CallListOptions) =>
      actOnDatabase(async (context, query) => (await import('./calls.ts')).listCalls(context, query, options)),
    );
  calls
    .command('resolve <id>')
    .description('Says what you know about a call that ended unknown. Nothing is called again by it.')
    .option('--happened', 'the change was made')
    .option('--did-not', 'the change was not made')
    .requiredOption('--reason <text>', 'how you know; the room reads it')
    .action((id: string, options: CallResolveOptions) =>
      actOnDatabase(async (context, query) => (await import('./calls.ts')).resolveCall(context, query, id, options)),
    );
}
