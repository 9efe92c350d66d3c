import { open } from 'node:fs/promises';
import { exportEntries, retirePartition, type ExportFormat } from '@steward/audit';
import { AppError } from '@steward/service-kit';
import type { Query } from '@steward/postgres';
import { exitCodes, type CliContext, type ExitCode } from './cli-context.ts';
import { buildBundleText } from './audit-log.ts';

export type ExportOptions = { since: string; until?: string; format: ExportFormat; output?: string };
export type EraseOptions = { reason: string; yes?: boolean };
export type RetireOptions = { export: string; yes?: boolean };

/** `audit export`: to a new file, else to where results go. */
export async function exportLog(context: CliContext, query: Query, options: ExportOptions): Promise<ExitCode> {
  const { since, until, format, output } = options;
  const pieces = exportEntries({ query, format, since, ...(until === undefined ? {} : { until }) });
  await writeTo(context, output, async (write) => {
    for await (const piece of pieces) await write(piece);
  });
  return exitCodes.done;
}

/** `audit bundle`: to a new file, else to where results go. */
export async function writeBundle(
  context: CliContext,
  query: Query,
  correlationId: string,
  options: { output?: string },
): Promise<ExitCode> {
  const text = await buildBundleText(context, query, correlationId);
  await writeTo(context, options.output, (write) => write(text));
  return exitCodes.done;
}

/** `audit erase`: nulls the personal text of one entry, for good; that it was erased, by whom and why, becomes an entry. */
export async function eraseDetail(
  context: CliContext,
  query: Query,
  entryId: string,
  options: EraseOptions,
): Promise<ExitCode> {
  const question = `erase the personal text of entry ${entryId} for good?`;
  if (!(await isMeant(context, question, options.yes))) return exitCodes.no;
  await query('select audit.erase_detail($1::uuid, $2, $3)', [entryId, `os ${context.account()}`, options.reason]);
  context.print(`erased: ${entryId}`);
  return exitCodes.done;
}

/** `audit retire`: exports a month that is over and sealed, then drops it; the database checks count and seal. */
export async function retireMonth(
  context: CliContext,
  query: Query,
  name: string,
  options: RetireOptions,
): Promise<ExitCode> {
  if (!(await isMeant(context, `export ${name} to ${options.export} and drop it?`, options.yes))) return exitCodes.no;
  const by = `os ${context.account()}`;
  const file = await openNew(options.export);
  try {
    const { exportSha256, rows } = await retirePartition({
      query,
      name,
      by,
      // On the disk before the partition goes: the last piece is followed by the statement that drops it.
      write: async (text) => {
        await file.write(text);
        await file.sync();
      },
    });
    context.print(`retired: ${name}, ${rows} entries, sha256 ${exportSha256} ${options.export}`);
  } finally {
    await file.close();
  }
  return exitCodes.done;
}

/** `audit checkpoint`: the newest block as the line that a witness keeps. */
export async function printCheckpoint(context: CliContext, query: Query): Promise<ExitCode> {
  const [row] = await query<{ line: string }>('select line from audit.newest_checkpoint()');
  if (row === undefined)
    throw new AppError('AUDIT_NOT_FOUND', 'nothing was sealed yet; see whether audit-sealer is up', {
      retryable: true,
    });
  context.print(row.line);
  return exitCodes.done;
}

async function isMeant(context: CliContext, question: string, yes: boolean | undefined): Promise<boolean> {
  if (yes === true || (await context.confirm(question))) return true;
  context.warn('nothing was changed; at a terminal answer y, in a script give --yes');
  return false;
}

/** Gives `work` a way to write, which is a new file where one is named. */
async function writeTo(
  context: CliContext,
  path: string | undefined,
  work: (write: (text: string) => Promise<void>) => Promise<void>,
): Promise<void> {
  if (path === undefined) return work(context.write);
  const file = await openNew(path);
  try {
    await work(async (text) => {
      await file.writeFile(text);
    });
    await file.sync();
  } finally {
    await file.close();
  }
}

/** For its owner alone: exports hold personal text. Rejects with FILE_EXISTS, FILE_UNWRITABLE. */
async function openNew(path: string) {
  try {
    return await open(path, 'wx', 0o600);
  } catch (cause) {
    const isThere = (Object(cause) as { code?: unknown }).code === 'EEXIST';
    const text = isThere ? 'there is such a file already; choose another name' : 'the file cannot be written';
    throw new AppError(isThere ? 'FILE_EXISTS' : 'FILE_UNWRITABLE', text, { retryable: false, cause });
  }
}
