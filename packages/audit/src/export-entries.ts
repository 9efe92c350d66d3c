import { createHash } from 'node:crypto';
import { AppError } from '@steward/service-kit';
import { canonicalEntry, entryColumns, type EntryRow } from './canonical-entry.ts';
import type { Query } from './query.ts';
import { detailColumns, type DetailColumns } from './read-log.ts';

export type ExportFormat = 'jsonl' | 'csv';
export type ExportOptions = {
  query: Query;
  format: ExportFormat;
  /** From this time on, up to another (exclusive); UTC text or anything that Postgres reads as a time with a zone. */
  since: string;
  until?: string;
};

const pageRows = 1_000;
const columns = [
  'occurredAt',
  'service',
  'kind',
  'outcome',
  'environment',
  'robotCode',
  'conversationId',
  'actorStaffId',
  'actorCorpId',
  'actorRole',
  'door',
  'subjectId',
  'correlationId',
  'digest',
  'policyHash',
  'model',
  'promptHash',
  'detail',
  'detailHash',
  'transactionId',
  'epoch',
  'id',
] as const satisfies readonly (keyof EntryRow)[];

/**
 * The entries of a time, oldest first, as text in pieces. `jsonl`: one object a line, `entry` in its canonical form (its
 * SHA-256 is what the chain holds) and `personal` beside it. `csv`: one line an entry, RFC 4180, without personal text.
 */
export async function* exportEntries(o: ExportOptions): AsyncGenerator<string> {
  if (o.format === 'csv') yield `${columns.join(',')}\r\n`;
  let after: [string, string] | null = null;
  for (;;) {
    const page: (EntryRow & DetailColumns)[] = await readPage(o, after);
    if (page.length > 0) yield page.map(o.format === 'csv' ? toCsvLine : toJsonLine).join('');
    const last = page.at(-1);
    if (last === undefined || page.length < pageRows) return;
    after = [last.occurredAt, last.id];
  }
}

function readPage(o: ExportOptions, after: [string, string] | null): Promise<(EntryRow & DetailColumns)[]> {
  return o.query<EntryRow & DetailColumns>(
    `select ${entryColumns}, ${detailColumns} from audit.entry e left join audit.detail d on d.entry_id = e.id
     where e.occurred_at >= $1::timestamptz and ($2::timestamptz is null or e.occurred_at < $2::timestamptz)
       and ($3::timestamptz is null or (e.occurred_at, e.id) > ($3::timestamptz, $4::uuid))
     order by e.occurred_at, e.id limit ${pageRows}`,
    [o.since, o.until ?? null, after?.[0] ?? null, after?.[1] ?? null],
  );
}

function toJsonLine(row: EntryRow & DetailColumns): string {
  const personal =
    row.salt === null
      ? 'null'
      : JSON.stringify({ salt: row.salt, body: row.body, erasedBy: row.erasedBy, erasedAt: row.erasedAt });
  return `{"entry":${canonicalEntry(row)},"personal":${personal}}\n`;
}

const toCsvLine = (row: EntryRow): string => `${columns.map((name) => toCell(row[name])).join(',')}\r\n`;

/** Spreadsheets run what begins like a formula, so such a cell gets an apostrophe in front. */
function toCell(value: string | number | null): string {
  if (value === null) return '';
  const text = String(value);
  const safe = /^[=+\-@\t\r]/.test(text) && !/^-?\d+$/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/**
 * Exports a whole partition as jsonl for `write`, then retires it: recorded, audited, dropped. Returns what was recorded. The
 * database refuses what is not over, not sealed, or not the same number of rows. Rejects with PARTITION_UNKNOWN.
 */
export async function retirePartition(o: {
  query: Query;
  name: string;
  by: string;
  write: (text: string) => Promise<void>;
}): Promise<{ exportSha256: string; rows: number }> {
  const [span] = await o.query<{ since: string; until: string }>(
    `select p.from_at::text as "since", p.to_at::text as "until" from audit.partition p
     where p.name = $1 and not exists (select from audit.retirement r where r.name = p.name)`,
    [o.name],
  );
  if (span === undefined) {
    const text = 'there is no such partition; `select name from audit.partition` lists them';
    throw new AppError('PARTITION_UNKNOWN', text, { retryable: false });
  }
  const hash = createHash('sha256');
  let rows = 0;
  for await (const text of exportEntries({ query: o.query, format: 'jsonl', ...span })) {
    hash.update(text);
    rows += text.split('\n').length - 1;
    await o.write(text);
  }
  const exportSha256 = hash.digest('hex');
  await o.query('select audit.retire_partition($1, $2, $3, $4)', [o.name, exportSha256, rows, o.by]);
  return { exportSha256, rows };
}
