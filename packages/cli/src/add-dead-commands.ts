import type { Command } from 'commander';
import type { Acts } from './acts.ts';
import { configOption, jsonOption } from './command-options.ts';
import type { DeadDecideOptions, DeadListOptions, DeadShowOptions } from './dead.ts';

/** `steward dead …`: what ended badly, and trying it again or letting it rest. */
export function addDeadCommands(program: Command, { actOnDatabase }: Acts): void {
  const dead = program
    .command('dead')
    .description('Bus messages that died in a queue, and outbound messages that failed.');
  dead
    .command('list')
    .description('Lists what waits for a decision, the newest first.')
    .option('--all', 'also what was decided')
    .addOption(configOption())
    .addOption(jsonOption())
    .action((options: DeadListOptions) =>
      actOnDatabase(async (context, query) => (await import('./dead.ts')).listDead(context, query, options)),
    );
  dead
    .command('show <id>')
    .description('Shows one with what it holds, without credentials.')
    .addOption(configOption())
    .addOption(jsonOption())
    .action((id: string, options: DeadShowOptions) =>
      actOnDatabase(async (context, query) => (await import('./dead.ts')).showDead(context, query, id, options)),
    );
  const deciding = [
    ['redrive', 'Has it go its way once more: through its queue, or to DingTalk.'],
    ['discard', 'Lets it rest.'],
  ] as const;
  for (const [verb, description] of deciding)
    dead
      .command(`${verb} <id>`)
      .description(description)
      .requiredOption('--reason <text>', 'why; it is audited')
      .action((id: string, options: DeadDecideOptions) =>
        actOnDatabase(async (context, query) =>
          (await import('./dead.ts')).decideDead(context, query, { id, verb }, options),
        ),
      );
}
