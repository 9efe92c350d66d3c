import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { createTestDatabase, type DatabaseRole } from '@steward/testkit';
import {
  generateSealKey,
  readPublicKeys,
  readSealKey,
  sealEntries,
  verifyAudit,
  type Query,
  type SealOptions,
  type SealOutcome,
  type Transact,
  type VerifyOptions,
} from './index.ts';

const pair = generateSealKey();
export const sealKey = readSealKey(pair.privateKeyPem);
export const publicKeys = readPublicKeys(pair.publicKeyPem);
export const zeroUuid = '00000000-0000-0000-0000-000000000000';

/** A migrated database of one test file, seen by the roles that matter here. */
export async function openAuditDatabase() {
  const database = await createTestDatabase();
  const pools: pg.Pool[] = [];
  const poolOf = (url: string) => {
    const pool = new pg.Pool({ connectionString: url, max: 10 });
    pool.on('error', () => undefined);
    pools.push(pool);
    return pool;
  };
  const roles = new Map<DatabaseRole | 'admin', pg.Pool>();
  const as = (role: DatabaseRole | 'admin'): pg.Pool => {
    const known = roles.get(role) ?? poolOf(role === 'admin' ? database.adminUrl : database.url(role));
    roles.set(role, known);
    return known;
  };
  const queryAs = (role: DatabaseRole | 'admin'): Query => toQuery(as(role));
  const seal = (o: Partial<SealOptions> = {}): Promise<SealOutcome> =>
    sealEntries({ transact: transactOn(as('steward_sealer')), key: sealKey, emptyAfterSeconds: 0, ...o });
  const verify = (o: Partial<VerifyOptions> = {}) =>
    verifyAudit({ query: queryAs('steward_operator'), publicKeys, ...o });
  return {
    as,
    admin: queryAs('admin'),
    operator: queryAs('steward_operator'),
    seal,
    verify,
    /** Adds entries as the adapter does; returns their ids in order. */
    add: async (count = 1, over: { correlationId?: string; detail?: unknown } = {}) => {
      const ids = Array.from({ length: count }, () => randomUUID());
      for (const id of ids) await addEntry(queryAs('steward_adapter'), id, over);
      return ids;
    },
    /** Does what only somebody with the whole server in hand can: changes rows although triggers refuse it. */
    tamper: (text: string, values: readonly unknown[] = []) => tamper(as('admin'), text, values),
    close: async () => {
      for (const pool of pools) await pool.end();
      await database.drop();
    },
  };
}

export const addEntry = (query: Query, id: string, over: { correlationId?: string; detail?: unknown } = {}) =>
  query(
    `insert into audit.entry (id, service, kind, outcome, correlation_id, detail) values ($1, 'adapter', 'x.tried', 'ok', $2, $3)`,
    [id, over.correlationId ?? null, JSON.stringify(over.detail ?? { n: 1.5, text: '值' })],
  );

export const toQuery =
  (client: pg.Pool | pg.PoolClient): Query =>
  async <T>(text: string, values: readonly unknown[] = []) =>
    (await client.query(text, [...values])).rows as T[];

export const transactOn =
  (pool: pg.Pool): Transact =>
  async (work) => {
    const client = await pool.connect();
    try {
      await client.query('begin');
      const result = await work(toQuery(client));
      await client.query('commit');
      return result;
    } catch (error) {
      await client.query('rollback').catch(() => undefined);
      throw error;
    } finally {
      client.release();
    }
  };

async function tamper(pool: pg.Pool, text: string, values: readonly unknown[]): Promise<void> {
  const client = await pool.connect();
  const forAll = async (verb: 'disable' | 'enable always') => {
    const { rows } = await client.query<{ name: string; trigger: string }>(
      `select t.tgrelid::regclass::text as name, quote_ident(t.tgname) as trigger
       from pg_trigger t join pg_class c on c.oid = t.tgrelid
       where c.relnamespace = 'audit'::regnamespace and not t.tgisinternal`,
    );
    for (const { name, trigger } of rows) await client.query(`alter table ${name} ${verb} trigger ${trigger}`);
  };
  try {
    await client.query('begin');
    await forAll('disable');
    await client.query(text, [...values]);
    await forAll('enable always');
    await client.query('commit');
  } catch (error) {
    await client.query('rollback');
    throw error;
  } finally {
    client.release();
  }
}
