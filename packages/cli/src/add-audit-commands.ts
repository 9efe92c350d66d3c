import { Option, type Command } from 'commander';
import type { Acts } from './acts.ts';
import type { EraseOptions, ExportOptions, RetireOptions } from './audit-changes.ts';
import type { BundleOptions, TouchedOptions, VerifyOptions, WhyOptions } from './audit-log.ts';
import { collect, configOption, jsonOption, toCount } from './command-options.ts';

const keyOption = () =>
  new Option('--key <file>', 'a public key of the sealer, of each there was (STEWARD_SEAL_PUBLIC_KEYS)').argParser(
    collect,
  );
const sinceHelp = 'from this time on, such as 2026-11-01 or 2026-11-25T10:00:00+08:00';

/** `steward audit …`. */
export function addAuditCommands(program: Command, acts: Acts): void {
  const audit = program.command('audit').description('The audit log: what it says, and whether it can be believed.');
  addVerify(audit, acts);
  addReading(audit, acts);
  addEvidence(audit, acts);
  addChanges(audit, acts);
}

function addVerify(audit: Command, { actOnDatabase }: Acts): void {
  audit
    .command('verify')
    .description(
      'Recomputes the whole log with public keys alone. Exits 1 if it is bad, 3 if its end is not witnessed.',
    )
    .addOption(keyOption())
    .addOption(new Option('--checkpoint <file>', 'what a witness kept; several are good').argParser(collect))
    .option('--from <number>', 'begin at this block', toCount)
    .addOption(jsonOption())
    .action((options: VerifyOptions) =>
      actOnDatabase(async (context, query) => (await import('./audit-log.ts')).verifyLog(context, query, options)),
    );
  audit
    .command('checkpoint')
    .description('Prints the newest block as the line that a witness keeps.')
    .action(() =>
      actOnDatabase(async (context, query) => (await import('./audit-changes.ts')).printCheckpoint(context, query)),
    );
}

function addReading(audit: Command, { actOnDatabase }: Acts): void {
  audit
    .command('why <id>')
    .description('Tells the whole story of one message: give a msgId, an approval code, or any id of Steward.')
    .addOption(configOption())
    .action((id: string, options: WhyOptions) =>
      actOnDatabase(async (context, query) => (await import('./audit-log.ts')).explainWhy(context, query, id, options)),
    );
  audit
    .command('who-touched <target>')
    .description('Says who had a tool called, or something done to a target.')
    .option('--since <time>', sinceHelp, '-infinity')
    .addOption(configOption())
    .addOption(jsonOption())
    .action((target: string, options: TouchedOptions) =>
      actOnDatabase(async (context, query) =>
        (await import('./audit-log.ts')).listTouches(context, query, target, options),
      ),
    );
  audit
    .command('export')
    .description('Writes the entries of a time, oldest first. jsonl holds personal text, csv does not.')
    .requiredOption('--since <time>', sinceHelp)
    .option('--until <time>', 'before this time')
    .addOption(new Option('--format <name>', 'how').choices(['jsonl', 'csv']).default('jsonl'))
    .option('-o, --output <file>', 'to this new file')
    .action((options: ExportOptions) =>
      actOnDatabase(async (context, query) => (await import('./audit-changes.ts')).exportLog(context, query, options)),
    );
}

function addEvidence(audit: Command, { act, actOnDatabase }: Acts): void {
  audit
    .command('bundle <correlationId>')
    .description('Writes the evidence about one correlation id, which anybody can check.')
    .option('-o, --output <file>', 'to this new file')
    .action((correlationId: string, options: { output?: string }) =>
      actOnDatabase(async (context, query) =>
        (await import('./audit-changes.ts')).writeBundle(context, query, correlationId, options),
      ),
    );
  audit
    .command('verify-bundle <file>')
    .description(
      'Checks such evidence with public keys alone: no database, no secret. Exits 1 if it is bad, 3 if an entry is unproved.',
    )
    .addOption(keyOption())
    .addOption(jsonOption())
    .action((file: string, options: BundleOptions) =>
      act(async (context) => (await import('./audit-log.ts')).checkBundle(context, file, options)),
    );
}

function addChanges(audit: Command, { actOnDatabase }: Acts): void {
  audit
    .command('erase <entryId>')
    .description('Erases the personal text of an entry for good. The chain stays whole and says who erased it.')
    .requiredOption('--reason <text>', 'why')
    .option('--yes', 'do not ask')
    .action((entryId: string, options: EraseOptions) =>
      actOnDatabase(async (context, query) =>
        (await import('./audit-changes.ts')).eraseDetail(context, query, entryId, options),
      ),
    );
  audit
    .command('retire <partition>')
    .description('Exports a month that is over and sealed, then drops it.')
    .requiredOption('--export <file>', 'to this new file (jsonl)')
    .option('--yes', 'do not ask')
    .action((partition: string, options: RetireOptions) =>
      actOnDatabase(async (context, query) =>
        (await import('./audit-changes.ts')).retireMonth(context, query, partition, options),
      ),
    );
}
