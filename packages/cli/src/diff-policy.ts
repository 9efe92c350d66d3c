import { statSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import { buildPolicy, diffVerdicts, readPolicyFiles, type Flip, type ToolDefinition } from '@steward/governance';
import type { StewardConfig } from '@steward/service-kit';
import type { Query } from '@steward/postgres';
import { exitCodes, type CliContext, type ExitCode } from './cli-context.ts';
import { loadTools, policyFolder, type PolicyOptions } from './policy-files.ts';
import { readCalls, toInput, type RecordedCall } from './recorded-calls.ts';
import { toLocalTime } from './to-local-time.ts';
import { toVisible } from './to-visible.ts';

export type DiffOptions = PolicyOptions & { against: string; days: number; json?: boolean };

/** A call whose verdict flips; `audited` null: whether the audit log works or not. */
type Found = { call: RecordedCall; audited: boolean | null; flip: Flip<unknown> };

/**
 * `policy diff`: judges the real calls of the last days by the policies of `--against` and by those of the folder, and lists
 * every verdict that flips. People have the roles of the configuration; each call is judged both with a working audit log and
 * without, since it does not say which it had.
 */
export async function diffPolicy(context: CliContext, query: Query, options: DiffOptions): Promise<ExitCode> {
  const { config, tools } = await loadTools(context, options);
  const folder = policyFolder(context, options);
  const before = buildPolicy({ files: await readAgainst(folder, options.against), tools });
  const after = buildPolicy({ files: readPolicyFiles({ folder }), tools });
  const found: Found[] = [];
  const counts = { judged: 0, skipped: 0 };
  for await (const page of readCalls(query, { days: options.days })) {
    const known = page.flatMap((call) => toInputs(config, tools, call) ?? []);
    counts.skipped += page.length - known.length / 2;
    counts.judged += known.length / 2;
    found.push(...mergeFlips(diffVerdicts(before, after, known)));
  }
  tell(context, options, config.timeZone, { before: before.hash, after: after.hash, ...counts, found });
  return found.length === 0 ? exitCodes.done : exitCodes.no;
}

async function readAgainst(folder: string, against: string) {
  if (statSync(against, { throwIfNoEntry: false })?.isDirectory() === true) return readPolicyFiles({ folder: against });
  const { readPolicyAt } = await import('./git-policy.ts');
  return readPolicyAt({ folder, revision: against });
}

type Key = { call: RecordedCall; audited: boolean };

/** Null for a call that cannot be judged by either: its tool or its robot is gone. */
function toInputs(config: StewardConfig, tools: readonly ToolDefinition[], call: RecordedCall) {
  const tool = tools.find(({ name }) => name === call.tool);
  const input = tool && toInput(config, tool, call);
  if (input === undefined || input === null) return null;
  return [true, false].map((audited) => ({ key: { call, audited }, input: { ...input, audited } }));
}

/** A call that flips the same way with and without a working audit log is one line. */
function mergeFlips(flips: readonly Flip<Key>[]): Found[] {
  const found: Found[] = [];
  for (const flip of flips) {
    const { call, audited } = flip.key;
    const twin = found.at(-1);
    const isSame =
      twin?.call === call &&
      isDeepStrictEqual([twin.flip.kind, twin.flip.before, twin.flip.after], [flip.kind, flip.before, flip.after]);
    if (isSame) twin.audited = null;
    else found.push({ call, audited, flip });
  }
  return found;
}

type Told = { before: string; after: string; judged: number; skipped: number; found: readonly Found[] };

function tell(context: CliContext, options: DiffOptions, timeZone: string, told: Told): void {
  if (options.json === true) {
    const flips = told.found.map(({ call, audited, flip: { kind, before, after } }) => ({
      call,
      audited,
      kind,
      before,
      after,
    }));
    context.print(JSON.stringify({ ...told, found: undefined, flips }, null, 2));
    return;
  }
  told.found.forEach((found) => context.print(toVisible(toLine(found, timeZone))));
  context.print(
    `${told.found.length} flips among ${told.judged} calls of ${options.days} days, from set ${told.before.slice(0, 12)} to ${told.after.slice(0, 12)}`,
  );
  if (told.skipped > 0)
    context.warn(`${told.skipped} calls were not judged: their tool or robot is not configured any more`);
}

function toLine({ call, audited, flip }: Found, timeZone: string): string {
  const { before, after } = flip;
  const when = audited === null ? '' : audited ? ' while audited' : ' while not audited';
  const change =
    flip.kind === 'verdict' ? `${before.verdict} -> ${after.verdict}` : `${after.verdict} with other obligations`;
  const ids = (policyIds: readonly string[]) => policyIds.join(' ') || 'no policy';
  return (
    `${toLocalTime(call.createdAt, timeZone)}  ${call.tool} by ${call.requesterStaffId ?? 'nobody known'} in ${call.environment}: ` +
    `${change}${when}  (${ids(before.policyIds)} -> ${ids(after.policyIds)})  call ${call.id}`
  );
}
