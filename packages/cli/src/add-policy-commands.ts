import { Option, type Command } from 'commander';
import type { Lane } from '@steward/contracts';
import type { CheckOptions } from './check-policy.ts';
import type { DiffOptions } from './diff-policy.ts';
import type { DirectoryOptions } from './directory.ts';
import type { ExplainOptions } from './explain-policy.ts';
import { configOption, jsonOption, toCount } from './command-options.ts';
import type { Acts } from './acts.ts';
import type { TestOptions } from './test-policy.ts';

/** Said again here: a schema would be loaded for every `--help`. */
const lanes = ['control', 'approval', 'answer', 'bulk'] as const satisfies readonly Lane[];

/** `steward policy …`, `rooms list`, `people list`. */
export function addPolicyCommands(program: Command, acts: Acts): void {
  const policy = program.command('policy').description('What may be called, by whom, and who must approve it.');
  addPolicyChecks(policy, acts);
  addPolicyExplain(policy, acts);
  addPolicyDiff(policy, acts);
  addDirectory(program, acts);
}

const withFiles = (command: Command): Command =>
  command
    .addOption(configOption())
    .option('--policy <folder>', 'the policies (STEWARD_POLICY_DIR, config/policy)')
    .option('--tools <folder>', 'the tools (STEWARD_TOOLS_DIR, config/tools)')
    .addOption(jsonOption());

function addPolicyChecks(policy: Command, { act }: Acts): void {
  withFiles(policy.command('check'))
    .description('Checks configuration, tools and policies together, and lists every fault.')
    .action((options: CheckOptions) =>
      act(async (context) => (await import('./check-policy.ts')).checkPolicy(context, options)),
    );
  withFiles(policy.command('test'))
    .description('Holds the policies to their cases: given this, expect that verdict.')
    .option('--cases <file>', 'the cases (cases.yaml in the folder of the policies)')
    .action((options: TestOptions) =>
      act(async (context) => (await import('./test-policy.ts')).testPolicy(context, options)),
    );
}

function addPolicyExplain(policy: Command, { act }: Acts): void {
  withFiles(policy.command('explain'))
    .description('Says what a call would come to, which policies decide, and which role would lead further.')
    .requiredOption('--user <staffId or name>', 'who asks')
    .requiredOption('--tool <name>', 'what would be called')
    .option('--room <name or id>', 'where; without it in the single chat with --robot')
    .option('--robot <name>', 'through which robot, in a single chat')
    .option('--args <name=value...>', 'with which arguments, as /run takes them')
    .option('--args-json <object>', 'the same as JSON')
    .option('--roles <role...>', 'with these roles instead of those of the configuration')
    .option('--at <time>', 'at this time, such as 2026-11-25T10:00:00+08:00, instead of now')
    .option('--audited', 'while the audit log is sealed and working')
    .addOption(new Option('--lane <name>', 'in this lane').choices(lanes).default('answer'))
    .action((options: ExplainOptions) =>
      act(async (context) => (await import('./explain-policy.ts')).explainPolicy(context, options)),
    );
}

function addPolicyDiff(policy: Command, { actOnDatabase }: Acts): void {
  withFiles(policy.command('diff'))
    .description('Judges the real calls of the last days by other policies too, and lists every verdict that flips.')
    .requiredOption('--against <folder or git revision>', 'the other policies')
    .option('--days <number>', 'how far back', toCount, 7)
    .action((options: DiffOptions) =>
      actOnDatabase(async (context, query) => (await import('./diff-policy.ts')).diffPolicy(context, query, options)),
    );
}

function addDirectory(program: Command, { act }: Acts): void {
  const list = (name: string, what: string) =>
    program
      .command(name)
      .description(what)
      .command('list')
      .description(what)
      .addOption(configOption())
      .addOption(jsonOption());
  list('rooms', 'The rooms of the configuration.').action((options: DirectoryOptions) =>
    act(async (context) => (await import('./directory.ts')).listRooms(context, options)),
  );
  list('people', 'The people of the configuration, with their roles.').action((options: DirectoryOptions) =>
    act(async (context) => (await import('./directory.ts')).listPeople(context, options)),
  );
}
