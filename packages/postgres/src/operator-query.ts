import pg from 'pg';
import { AppError, redactText } from '@steward/service-kit';

/**
 * Runs one SQL statement with `$1` parameters and returns its rows. Values are JSON on either side: times come as UTC text
 * with milliseconds, bytes as `\x…` in hex, bigint as a number. What is none of these (dates, intervals) is cast to text in SQL.
 * Rejects with OPERATOR_STATEMENT_REFUSED, OPERATOR_DATABASE_REFUSED (`details.sqlState`) or OPERATOR_DATABASE_LOST (retryable).
 */
export type Query = <T>(text: string, values?: readonly unknown[]) => Promise<T[]>;

/** An operator's way to the database, the same for a server and for the running embedded demo. */
export type OperatorConnection = { query: Query; close(): Promise<void> };

const connectMs = 5_000;
/** Longer than a service would wait: verifying and exporting read whole months. */
export const statementMs = 120_000;

/**
 * One statement and no transaction control: what runs here must mean the same on the embedded database, whose one connection
 * everybody shares. Values travel as parameters, so no honest statement has a semicolon. Throws OPERATOR_STATEMENT_REFUSED.
 */
export function assertStatement(text: string): void {
  if (/^\s*(?:select|with|insert)\b/i.test(text) && !text.includes(';') && !text.includes('\0')) return;
  throw new AppError(
    'OPERATOR_STATEMENT_REFUSED',
    'only one select, with or insert statement at a time may be run here, without a semicolon',
    { retryable: false },
  );
}

/** What the database said no to. The text is the database's own, without the rows that it might show as detail. */
export function databaseRefused(sqlState: string, text: string, cause?: unknown): AppError {
  return new AppError('OPERATOR_DATABASE_REFUSED', `the database refused: ${redactText(text).slice(0, 1_000)}`, {
    retryable: false,
    cause,
    details: { sqlState },
  });
}

/** SQLSTATE of an error of the database itself; null for any other failure. */
export function sqlStateOf(error: unknown): string | null {
  const { code, severity } = Object(error) as { code?: unknown; severity?: unknown };
  return typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code) && severity !== undefined ? code : null;
}

/** Connects as the operator's role, with limits on every wait. Rejects with OPERATOR_DATABASE_LOST, which never holds the URL. */
export async function connectOperatorPostgres(url: string): Promise<OperatorConnection> {
  const client = new pg.Client({
    connectionString: url,
    types: buildTypes(),
    connectionTimeoutMillis: connectMs,
    statement_timeout: statementMs,
    query_timeout: statementMs + 5_000,
    application_name: 'steward cli',
    keepAlive: true,
  });
  // A connection that breaks between two statements is found by the next one.
  client.on('error', () => undefined);
  try {
    await client.connect();
  } catch (cause) {
    throw lost('the database cannot be reached, or does not let this user in; check STEWARD_DATABASE_URL', cause);
  }
  const ask = async (text: string, values: readonly unknown[]): Promise<Record<string, unknown>[]> => {
    const parameters = toParameters(text, values);
    try {
      return (await client.query<Record<string, unknown>>(text, parameters)).rows.map(toPlainRow);
    } catch (error) {
      const sqlState = sqlStateOf(error);
      // Class 57P: an administrator ended the session or the server.
      if (sqlState !== null && !sqlState.startsWith('57P')) {
        throw databaseRefused(sqlState, (error as Error).message, error);
      }
      throw lost('the connection to the database broke; try again', error);
    }
  };
  return { query: oneAfterTheOther(ask), close: () => client.end().catch(() => undefined) };
}

/** An answer belongs to the question before it, so the next question waits for it. */
export function oneAfterTheOther(
  ask: (text: string, values: readonly unknown[]) => Promise<Record<string, unknown>[]>,
): Query {
  let before: Promise<unknown> = Promise.resolve();
  return <T>(text: string, values: readonly unknown[] = []) => {
    const answer = before.then(() => ask(text, values)) as Promise<T[]>;
    before = answer.catch(() => undefined);
    return answer;
  };
}

/** The values as every way to a database can carry them. Throws OPERATOR_STATEMENT_REFUSED, for the statement too. */
export function toParameters(text: string, values: readonly unknown[]): unknown[] {
  assertStatement(text);
  return values.map((value) => {
    if (value === undefined) return null;
    if (typeof value === 'bigint') return String(value);
    if (value instanceof Date) return value.toISOString();
    if (value instanceof Uint8Array) {
      throw new AppError('OPERATOR_STATEMENT_REFUSED', "bytes are passed as hex: decode($1, 'hex')", {
        retryable: false,
      });
    }
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? JSON.stringify(value) : value;
  });
}

/** The error of a database that does not answer. */
export const lost = (text: string, cause?: unknown): AppError =>
  new AppError('OPERATOR_DATABASE_LOST', text, { retryable: true, cause });

function buildTypes(): pg.TypeOverrides {
  const types = new pg.TypeOverrides();
  types.setTypeParser(pg.types.builtins.INT8, Number);
  return types;
}

/** A row as JSON can carry it, the same from either database. Pure. */
export const toPlainRow = (row: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(row).map(([name, value]) => [name, toPlainValue(value)]));

function toPlainValue(value: unknown): unknown {
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? null : value.toISOString();
  if (value instanceof Uint8Array) return `\\x${Buffer.from(value).toString('hex')}`;
  if (Array.isArray(value)) return value.map(toPlainValue);
  return value;
}
