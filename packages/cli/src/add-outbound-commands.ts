import { Option, type Command } from 'commander';
import type { Acts } from './acts.ts';
import { configOption, environmentOption, jsonOption } from './command-options.ts';
import type { OutboundListOptions, OutboundShowOptions, ResolveOptions } from './outbound.ts';

const states = ['queued', 'sending', 'accepted', 'merged', 'failed', 'discarded', 'unknown'];

/** `steward outbound …`: the delivery ledger, and what only people can know about it. */
export function addOutboundCommands(program: Command, { actOnDatabase }: Acts): void {
  const outbound = program
    .command('outbound')
    .description('Outbound messages, and settling those of which nobody knows whether they arrived.');
  outbound
    .command('list')
    .description('Lists outbound messages in one state, the oldest first.')
    .addOption(new Option('--state <name>', 'which state').choices(states).default('unknown'))
    .addOption(environmentOption('only of this one'))
    .addOption(configOption())
    .addOption(jsonOption())
    .action((options: OutboundListOptions) =>
      actOnDatabase(async (context, query) => (await import('./outbound.ts')).listOutbound(context, query, options)),
    );
  outbound
    .command('show <id>')
    .description('Shows a message: its words, its attempts, what was decided.')
    .addOption(configOption())
    .addOption(jsonOption())
    .action((id: string, options: OutboundShowOptions) =>
      actOnDatabase(async (context, query) =>
        (await import('./outbound.ts')).showOutbound(context, query, id, options),
      ),
    );
  outbound
    .command('resolve <id>')
    .description('Says what you know about a message that ended unknown, once for each time it ended so.')
    .option('--happened', 'it arrived: it counts as accepted, and parts that were not sent yet follow')
    .option('--did-not', 'it did not arrive: it is sent again')
    .option('--discard', 'it need not arrive any more')
    .requiredOption('--reason <text>', 'how you know; it is audited')
    .action((id: string, options: ResolveOptions) =>
      actOnDatabase(async (context, query) =>
        (await import('./outbound.ts')).resolveOutbound(context, query, id, options),
      ),
    );
}
