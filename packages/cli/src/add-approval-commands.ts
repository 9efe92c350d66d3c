import { type Command } from 'commander';
import type { Acts } from './acts.ts';
import type { ApproveOptions, DenyOptions, ListOptions, ShowOptions } from './approvals.ts';
import { configOption, environmentOption, jsonOption, toCount } from './command-options.ts';
import type { FreezeOptions, UnfreezeOptions } from './freeze.ts';

const keyOption = ['--key <file>', 'your private key, made by `steward key new`'] as const;
const asOption = ['--as <staffId or name>', 'who you are: the person whose operatorKey it is'] as const;

/** `steward approvals …`, `freeze`, `unfreeze`, `key …`. */
export function addApprovalCommands(program: Command, acts: Acts): void {
  const approvals = program.command('approvals').description('What waits for a decision, and deciding it here.');
  addReading(approvals, acts);
  addDeciding(approvals, acts);
  addSwitch(program, acts);
  addKeys(program, acts);
}

const withCorp = (command: Command): Command =>
  command
    .addOption(environmentOption('if several have this code'))
    .option('--corp <corpId>', 'of this organisation, if several have this code');

function addReading(approvals: Command, { actOnDatabase }: Acts): void {
  approvals
    .command('list')
    .description('Lists the open requests.')
    .addOption(environmentOption('only of this one'))
    .option('--days <number>', 'also those of the last days that have ended', toCount)
    .addOption(configOption())
    .addOption(jsonOption())
    .action((options: ListOptions) =>
      actOnDatabase(async (context, query) => (await import('./approvals.ts')).listApprovals(context, query, options)),
    );
  withCorp(approvals.command('show <code>'))
    .description('Shows a request: every byte of what would be called, and who decided what.')
    .addOption(configOption())
    .addOption(jsonOption())
    .action((code: string, options: ShowOptions) =>
      actOnDatabase(async (context, query) =>
        (await import('./approvals.ts')).showApproval(context, query, code, options),
      ),
    );
}

function addDeciding(approvals: Command, { actOnDatabase }: Acts): void {
  withCorp(approvals.command('deny <code>'))
    .description('Ends a request before its call begins.')
    .requiredOption('--reason <text>', 'why; the requester reads it')
    .action((code: string, options: DenyOptions) =>
      actOnDatabase(async (context, query) =>
        (await import('./approvals.ts')).denyApproval(context, query, code, options),
      ),
    );
  withCorp(approvals.command('approve <code>'))
    .description('Shows a request, asks, and votes for it with your own key.')
    .requiredOption(...keyOption)
    .requiredOption(...asOption)
    .option('--reason <text>', 'why; some policies want one')
    .option('--yes', 'do not ask')
    .addOption(configOption())
    .action((code: string, options: ApproveOptions) =>
      actOnDatabase(async (context, query) =>
        (await import('./approvals.ts')).approveApproval(context, query, code, options),
      ),
    );
}

function addSwitch(program: Command, { actOnDatabase }: Acts): void {
  program
    .command('freeze')
    .description('Stops every write and destructive call before it starts; reads go on, approved calls are held.')
    .addOption(environmentOption('only of this one; without it both'))
    .requiredOption('--reason <text>', 'why')
    .action((options: FreezeOptions) =>
      actOnDatabase(async (context, query) =>
        (await import('./freeze.ts')).freezeEnvironments(context, query, options),
      ),
    );
  program
    .command('unfreeze')
    .description('Opens an environment again, with the key of another person than who froze it.')
    .addOption(environmentOption('which one').makeOptionMandatory())
    .requiredOption('--reason <text>', 'why')
    .requiredOption(...keyOption)
    .requiredOption(...asOption)
    .option('--corp <corpId>', 'your organisation, if several have this staffId')
    .addOption(configOption())
    .action((options: UnfreezeOptions) =>
      actOnDatabase(async (context, query) =>
        (await import('./freeze.ts')).unfreezeEnvironment(context, query, options),
      ),
    );
}

function addKeys(program: Command, { act }: Acts): void {
  const key = program.command('key').description('Keys of operators and of the audit sealer.');
  key
    .command('new <file>')
    .description('Makes your own key; prints the public half, for operatorKey in steward.yaml.')
    .action((file: string) => act(async (context) => (await import('./keys.ts')).newKey(context, file)));
  key
    .command('show <file>')
    .description('Prints the public half of your own key again.')
    .action((file: string) => act(async (context) => (await import('./keys.ts')).showKey(context, file)));
  key
    .command('seal <file>')
    .description("Makes the sealer's key pair: the file and, beside it, <file>.pub.")
    .action((file: string) => act(async (context) => (await import('./keys.ts')).newSealKey(context, file)));
}
