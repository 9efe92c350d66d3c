import { readFileSync } from 'node:fs';
import {
  collectBundle,
  describeBundleReport,
  describeReport,
  explainTrace,
  readCheckpoints,
  readPublicKeys,
  verifyAudit,
  verifyBundle,
  whoTouched,
  type Checkpoint,
  type PublicKeys,
} from '@steward/audit';
import { AppError } from '@steward/service-kit';
import type { Query } from '@steward/postgres';
import { exitCodes, type CliContext, type ExitCode } from './cli-context.ts';
import { orDefault, readTimeZone, type ConfigOptions } from './load-config.ts';
import { renderTable } from './render-table.ts';
import { toLocalTime } from './to-local-time.ts';
import { toVisible } from './to-visible.ts';

export type VerifyOptions = { from?: number; checkpoint?: string[]; key?: string[]; json?: boolean };
export type WhyOptions = ConfigOptions;
export type TouchedOptions = ConfigOptions & { since: string; json?: boolean };
export type BundleOptions = { key?: string[]; json?: boolean };

const maxFileBytes = 256 * 1024 * 1024;

/** `audit verify`: recomputes the chain with public keys alone. Its exit code is the report's: 0 fine, 1 bad, 3 not witnessed. */
export async function verifyLog(context: CliContext, query: Query, options: VerifyOptions): Promise<ExitCode> {
  const report = await verifyAudit({
    query,
    publicKeys: loadPublicKeys(context, options.key),
    checkpoints: (options.checkpoint ?? []).flatMap((file): Checkpoint[] => readCheckpoints(readText(file))),
    ...(options.from === undefined ? {} : { from: options.from }),
  });
  if (options.json === true) context.print(JSON.stringify(report, null, 2));
  else describeReport(report).forEach((line) => context.print(toVisible(line)));
  return report.exitCode;
}

/** `audit why`: the whole story of one message. */
export async function explainWhy(
  context: CliContext,
  query: Query,
  id: string,
  options: WhyOptions,
): Promise<ExitCode> {
  const lines = await explainTrace({ query, id, timeZone: readTimeZone(context, options) });
  lines.forEach((line) => context.print(toVisible(line)));
  return exitCodes.done;
}

/** `audit who-touched`: who had a tool called, or something done to a target. */
export async function listTouches(
  context: CliContext,
  query: Query,
  target: string,
  options: TouchedOptions,
): Promise<ExitCode> {
  const touches = await whoTouched({ query, target, since: options.since });
  if (options.json === true) {
    context.print(JSON.stringify(touches, null, 2));
    return exitCodes.done;
  }
  const timeZone = readTimeZone(context, options);
  const titles = [
    'WHEN',
    'TOOL',
    'STATUS',
    'ENVIRONMENT',
    'REQUESTER',
    'BY',
    'DECIDED BY',
    'ARGUMENTS',
    'CORRELATION ID',
  ];
  const rows = touches.map((touch) => [
    toLocalTime(touch.at, timeZone),
    touch.tool,
    touch.status,
    touch.environment,
    touch.requester,
    touch.proposedBy,
    touch.approvers.join(' '),
    JSON.stringify(touch.arguments),
    touch.correlationId,
  ]);
  const lines = touches.length === 0 ? [`nobody, since ${toVisible(options.since)}`] : renderTable(titles, rows);
  lines.forEach(context.print);
  return exitCodes.done;
}

/** `audit bundle`: the evidence about one correlation id, as text. Rejects with AUDIT_NOT_FOUND. */
export async function buildBundleText(context: CliContext, query: Query, correlationId: string): Promise<string> {
  if (!/^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$/i.test(correlationId)) {
    const text = 'that is no correlation id; `steward audit why` tells it for any other id';
    throw new AppError('AUDIT_NOT_FOUND', text, { retryable: false });
  }
  const bundle = await collectBundle({ query, correlationId, now: context.now });
  return `${JSON.stringify(bundle, null, 2)}\n`;
}

/** `audit verify-bundle`: with the public keys alone: no database, no secret. */
export function checkBundle(context: CliContext, file: string, options: BundleOptions): ExitCode {
  const report = verifyBundle(readText(file), loadPublicKeys(context, options.key));
  if (options.json === true) context.print(JSON.stringify(report, null, 2));
  else describeBundleReport(report).forEach((line) => context.print(toVisible(line)));
  return report.exitCode;
}

/** The public keys of the files that are named, else of those in STEWARD_SEAL_PUBLIC_KEYS (paths with commas between them). */
function loadPublicKeys({ env }: Pick<CliContext, 'env'>, files: readonly string[] | undefined): PublicKeys {
  const named = files ?? orDefault(env['STEWARD_SEAL_PUBLIC_KEYS'], '').split(',').filter(Boolean);
  if (named.length === 0) {
    const text = "name the sealer's public keys with --key (or STEWARD_SEAL_PUBLIC_KEYS): those of all times";
    throw new AppError('SEAL_KEY_MISSING', text, { retryable: false });
  }
  return readPublicKeys(...named.map(readText));
}

/** Throws FILE_UNREADABLE. */
function readText(file: string): string {
  try {
    const bytes = readFileSync(file);
    if (bytes.length <= maxFileBytes) return bytes.toString('utf8');
  } catch (cause) {
    throw new AppError('FILE_UNREADABLE', `${file} cannot be read`, { retryable: false, cause });
  }
  throw new AppError('FILE_UNREADABLE', `${file} is larger than anything that belongs here`, { retryable: false });
}
