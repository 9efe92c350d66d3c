import { Kysely, PostgresDialect, sql, type Transaction } from 'kysely';
import pg from 'pg';
import { describeError, withinLimit, type Logger, type Metrics } from '@steward/service-kit';
import { createPreparedClient } from './prepared-client.ts';

/** A service's database: queries without a schema name mean the service's own schema. */
export type Db<T> = Kysely<T>;
/** "Inside a transaction": a function that takes this runs as part of its caller's durable fact. */
export type Trx<T> = Transaction<T>;
/** Either: a function that takes this makes one statement and does not care. */
export type DbOrTrx<T> = Kysely<T> | Transaction<T>;

/**
 * What a service holds of its database. `check` says within two seconds whether it answers; `countInto` counts statements
 * in these metrics from now on.
 */
export type Database<T> = {
  db: Db<T>;
  check(): Promise<{ ok: boolean; detail?: string }>;
  countInto(metrics: Metrics): void;
  close(): Promise<void>;
};

/** bigint columns here are counters far below 2^53, so they are read as numbers, the same on Postgres and PGlite. */
const int8 = 20;
const checkMs = 1_500;

/**
 * A service looks rows up by an index and never reads a table. Left to itself the planner believes its statistics, which are
 * older than any flood ("nothing is open"), and joins by reading all that waits: each claim then costs the whole backlog.
 * What still has to read much is dearer than 10^9 by these settings, and must not be compiled for that.
 */
const lookUpOnly = ['enable_seqscan', 'enable_hashjoin', 'enable_mergejoin', 'jit'].map((name) => `-c ${name}=off`);

const types = new pg.TypeOverrides();
types.setTypeParser(int8, Number);

/**
 * Connects to Postgres. No query waits for ever: connecting 5 s, a statement 15 s, an idle transaction 30 s unless told
 * (one stuck transaction would otherwise hold back vacuum and every lock it took).
 * A lost connection is logged and replaced by the pool; the query that was on it rejects.
 */
export function createPostgres<T>(o: {
  url: string;
  schema?: string;
  poolSize: number;
  log: Logger;
  /** For a service whose rows others take over when it is silent: its locks must not outlive its leases. */
  idleInTransactionMs?: number;
}): Database<T> {
  let count = () => {};
  const pool = new pg.Pool({
    Client: createPreparedClient(() => count()),
    connectionString: o.url,
    max: o.poolSize,
    types,
    connectionTimeoutMillis: 5_000,
    idleTimeoutMillis: 30_000,
    statement_timeout: 15_000,
    query_timeout: 20_000,
    idle_in_transaction_session_timeout: o.idleInTransactionMs ?? 30_000,
    application_name: `steward ${o.schema ?? 'migrate'}`,
    ...(o.schema === undefined ? {} : { options: lookUpOnly.join(' ') }),
    keepAlive: true,
  });
  pool.on('error', (error) => o.log.warn('database.connection.lost', { error }));
  // A client may also fail while it is checked out and idle (between two statements of a transaction).
  pool.on('connect', (client) => client.on('error', (error) => o.log.debug('database.client.failed', { error })));
  const countInto = (metrics: Metrics) => {
    const statements = metrics.counter(
      'steward_database_statements_total',
      'Statements sent to Postgres, BEGIN and COMMIT included',
    );
    count = () => statements.inc();
  };
  return { ...toDatabase<T>(new PostgresDialect({ pool }), o.schema), countInto };
}

/** The same handle over any pool that speaks pg: the embedded mode brings its own. */
export function toDatabase<T>(dialect: PostgresDialect, schema?: string): Database<T> {
  const root = new Kysely<T>({ dialect });
  const db = schema === undefined ? root : root.withSchema(schema);
  return {
    db,
    check: async () => {
      try {
        await withinLimit(sql`select 1`.execute(root), checkMs, 'the database');
        return { ok: true };
      } catch (error) {
        return { ok: false, detail: describeError(error).code };
      }
    },
    // In a pool without statements to count: the embedded one.
    countInto: () => {},
    close: () => root.destroy(),
  };
}
