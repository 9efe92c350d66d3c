import { PGlite, types as pgliteTypes } from '@electric-sql/pglite';
import { PostgresDialect, type PostgresPool, type PostgresPoolClient } from 'kysely';
import { databaseRoles, type DatabaseRole } from '@steward/contracts';
import { AppError } from '@steward/service-kit';
import { toDatabase, type Database } from './connection.ts';

/** The roles that deployment creates for Postgres; the embedded database gets them here. */
export const serviceRoles = databaseRoles;
export type ServiceRole = DatabaseRole;

/** Longer than any honest wait for the one connection; a transaction that awaits another connection hangs for ever. */
const acquireTimeoutMs = 5_000;

/**
 * Postgres inside this process, kept in a folder (or in memory without one): one connection that everybody shares.
 * The roles are exercised (`set role`), but nothing here is a security boundary, and fsync is off: a power loss may
 * cost the last moments. `role: null` works as the owner.
 */
export type Embedded = {
  database<T>(o: { schema?: string; role: ServiceRole | null }): Database<T>;
  close(): Promise<void>;
};

export async function createEmbedded(o: { folder?: string }): Promise<Embedded> {
  const pglite = await PGlite.create({ dataDir: o.folder, parsers: { [pgliteTypes.INT8]: Number } });
  for (const role of serviceRoles) {
    await pglite.exec(
      `do $$ begin if not exists (select from pg_roles where rolname = '${role}') then create role ${role}; end if; end $$`,
    );
  }
  const gate = createGate();
  return {
    database: ({ schema, role }) =>
      toDatabase(
        new PostgresDialect({ pool: createEmbeddedPool({ pglite, gate, role, name: role ?? 'owner' }) }),
        schema,
      ),
    close: () => pglite.close(),
  };
}

/** One at a time, in the order of asking. Whoever waits too long is told who holds the connection. */
type Gate = { enter(name: string): Promise<() => void> };

function createGate(): Gate {
  let tail: Promise<void> = Promise.resolve();
  let holder = 'nobody';
  return {
    async enter(name) {
      const before = tail;
      let leave: () => void = () => undefined;
      tail = new Promise<void>((resolve) => (leave = resolve));
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<'late'>((resolve) => (timer = setTimeout(resolve, acquireTimeoutMs, 'late')));
      const first = await Promise.race([before, late]);
      clearTimeout(timer);
      if (first === 'late') {
        void before.then(leave);
        throw new AppError(
          'EMBEDDED_DATABASE_BUSY',
          `${name} waited ${acquireTimeoutMs} ms for the embedded database, held by ${holder}`,
          { retryable: true },
        );
      }
      holder = name;
      return leave;
    },
  };
}

/** The part of a pg pool that Kysely uses, over PGlite. */
function createEmbeddedPool(o: { pglite: PGlite; gate: Gate; role: string | null; name: string }): PostgresPool {
  return {
    async connect() {
      const leave = await o.gate.enter(o.name);
      try {
        await o.pglite.exec(o.role === null ? 'reset role' : `set role ${o.role}`);
      } catch (error) {
        leave();
        throw error;
      }
      return createEmbeddedClient(o.pglite, leave);
    },
    end: () => Promise.resolve(),
  } as PostgresPool;
}

function createEmbeddedClient(pglite: PGlite, leave: () => void): PostgresPoolClient {
  const query = async (text: string, parameters: readonly unknown[]) => {
    // Several statements at once (a migration) pass only through exec, and those have no parameters.
    const result =
      parameters.length === 0 ? (await pglite.exec(text)).at(-1) : await pglite.query(text, [...parameters]);
    const rows = result?.rows ?? [];
    const command = /^\s*(with|insert|update|delete|select)/i.exec(text)?.[1]?.toUpperCase() ?? 'OTHER';
    // PGlite tells no command tag: a WITH that changed rows ended in a change.
    const changed = (result?.affectedRows ?? 0) > 0 ? 'UPDATE' : 'SELECT';
    return { command: command === 'WITH' ? changed : command, rowCount: result?.affectedRows ?? rows.length, rows };
  };
  return { query, release: leave } as unknown as PostgresPoolClient;
}
