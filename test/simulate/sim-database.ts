import {
  CompiledQuery,
  Kysely,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
  type DatabaseConnection,
  type Driver,
} from 'kysely';
import { createLogger } from '@steward/service-kit';
import { createPostgres } from '@steward/postgres';
import { createTestDatabase } from '@steward/testkit';
import type { Scheduler, SimProcess } from './scheduler.ts';

/**
 * A real Postgres with the real migrations, under a clock of the simulation's: `now()` and
 * `clock_timestamp()` are found in schema `simclock` first, in statements, functions and column defaults.
 */
export type SimDatabase = {
  /** What a process of the simulation sees: every statement waits for the scheduler, transactions exclude each other. */
  connect<T>(schema: string, process: SimProcess, scheduler: Scheduler): Kysely<T>;
  /** As the owner, at once. */
  rows<T>(text: string, values?: readonly unknown[]): Promise<T[]>;
  setClock(ms: number): void;
  drop(): Promise<void>;
  /** A process died: its transaction is rolled back. */
  forget(process: SimProcess): Promise<void>;
};

export async function createSimDatabase(): Promise<SimDatabase> {
  const log = createLogger({ service: 'simulate', level: 'error' });
  const created = await createTestDatabase();
  const owner = createPostgres<unknown>({ url: created.adminUrl, poolSize: 1, log });
  const connection = await new Promise<Kysely<unknown>>((resolve, reject) => {
    // Kept for ever: it is the only one there is.
    owner.db
      .connection()
      .execute((only) => new Promise<never>(() => resolve(only)))
      .catch(reject);
  });
  const ask = (text: string, values: readonly unknown[] = []) =>
    connection.executeQuery<Record<string, unknown>>(CompiledQuery.raw(text, [...values]));
  await ask(clockSql);
  let clock = { ms: 0, isSet: true };
  let isAborted = false;
  /** A rollback takes the clock back too, so it is set again; in a transaction that has failed nothing can be set. */
  const run = async (text: string, values: readonly unknown[] = []) => {
    if (!clock.isSet && !isAborted) {
      await ask(`select set_config('sim.now', $1, false)`, [new Date(clock.ms).toISOString()]);
      clock.isSet = true;
    }
    try {
      return await ask(text, values);
    } catch (error) {
      isAborted = holder !== null;
      throw error;
    }
  };
  const endTransaction = async (word: 'commit' | 'rollback') => {
    await run(word);
    // What failed is rolled back, whatever it was told.
    if (word === 'rollback' || isAborted) clock.isSet = false;
    isAborted = false;
    holder = null;
  };

  let holder: { process: SimProcess; id: object } | null = null;

  const createDriver = (process: SimProcess, scheduler: Scheduler): Driver => {
    const acquire = (): DatabaseConnection & { id: object } => {
      const id = {};
      return {
        id,
        executeQuery: ({ sql, parameters }) =>
          // Whoever asks knows what the rows are.
          scheduler.perform(process, labelOf(sql), () => run(sql, parameters) as Promise<never>, {
            isReady: () => holder === null || holder.id === id,
            // Inside a transaction a lost connection takes everything back: then nothing is uncertain.
            mayLoseAnswer: holder?.id !== id,
          }),
        streamQuery: () => {
          throw new Error('no streams here');
        },
      };
    };
    const idOf = (connection: DatabaseConnection) => (connection as unknown as { id: object }).id;
    const end = (connection: DatabaseConnection, word: 'commit' | 'rollback') =>
      scheduler.perform(process, word, () => endTransaction(word), {
        mayLoseAnswer: word === 'commit',
        isReady: () => holder?.id === idOf(connection),
      });
    return {
      init: () => Promise.resolve(),
      acquireConnection: () => Promise.resolve(acquire()),
      beginTransaction: (connection) =>
        scheduler.perform(
          process,
          'begin',
          async () => {
            await run('begin');
            holder = { process, id: idOf(connection) };
          },
          { isReady: () => holder === null },
        ),
      commitTransaction: (connection) => end(connection, 'commit'),
      rollbackTransaction: (connection) =>
        // The answer of the commit was lost: there is nothing left to take back.
        holder?.id === idOf(connection) ? end(connection, 'rollback') : Promise.resolve(),
      releaseConnection: () => Promise.resolve(),
      destroy: () => Promise.resolve(),
    };
  };

  return {
    connect: <T>(schema: string, process: SimProcess, scheduler: Scheduler) =>
      new Kysely<T>({
        dialect: {
          createAdapter: () => new PostgresAdapter(),
          createDriver: () => createDriver(process, scheduler),
          createIntrospector: (db) => new PostgresIntrospector(db),
          createQueryCompiler: () => new PostgresQueryCompiler(),
        },
      }).withSchema(schema),
    rows: async <T>(text: string, values: readonly unknown[] = []) => (await run(text, values)).rows as T[],
    setClock: (ms) => {
      clock = { ms, isSet: false };
    },
    drop: () => created.drop(),
    forget: async (process) => {
      if (holder?.process === process) await endTransaction('rollback');
    },
  };
}

/** The beginning of a statement tells which one it is. */
const labelOf = (text: string): string => text.slice(0, 120).trim().replace(/\s+/g, ' ').slice(0, 60);

const clockSql = `
  create schema simclock;
  create function simclock.now() returns timestamptz language sql stable as
    $$ select pg_catalog.current_setting('sim.now')::timestamptz $$;
  create function simclock.clock_timestamp() returns timestamptz language sql volatile as
    $$ select pg_catalog.current_setting('sim.now')::timestamptz $$;
  do $$
  declare one record;
  begin
    for one in
      select p.oid::regprocedure as name, substr(c.setting, length('search_path=') + 1) as path
      from pg_proc p, unnest(p.proconfig) as c (setting)
      where c.setting like 'search_path=%' and p.pronamespace <> 'pg_catalog'::regnamespace
    loop
      execute format('alter function %s set search_path = simclock, %s, pg_catalog', one.name, replace(one.path, ', pg_catalog', ''));
    end loop;
    for one in
      select d.adrelid::regclass as name, a.attname, pg_get_expr(d.adbin, d.adrelid) as expression
      from pg_attrdef d join pg_attribute a on a.attrelid = d.adrelid and a.attnum = d.adnum
      where pg_get_expr(d.adbin, d.adrelid) ~ '\\m(now|clock_timestamp)\\(\\)'
    loop
      execute format('alter table %s alter column %I set default %s', one.name, one.attname,
        regexp_replace(one.expression, '\\m(now|clock_timestamp)\\(\\)', 'simclock.now()', 'g'));
    end loop;
  end $$;
  -- Between two seeds everything goes: a seed has the same ids each time.
  alter table audit.entry disable trigger entry_refuses_row_changes;
  alter table audit.detail disable trigger detail_refuses_truncate;
  set search_path = simclock, pg_catalog, public;
  set sim.now = '2026-01-01T00:00:00Z';`;
