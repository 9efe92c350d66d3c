import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import {
  databasePrivileges,
  databaseRoles,
  ownerOnly,
  readVerbs,
  type DatabasePrivileges,
  type DatabaseRole,
  type TableVerb,
} from '@steward/contracts';
import { createLogger } from '@steward/service-kit';
import { createTestDatabase, type TestDatabase } from '@steward/testkit';
import { createPostgres, migrate } from './index.ts';

const log = createLogger({ service: 'test', write: () => undefined });
const rightsOf = (role: DatabaseRole): DatabasePrivileges => databasePrivileges[role];

/** A table or view, with the columns a statement may name; a function, with as many NULLs as it takes. */
type Table = { name: string; kind: string; columns: string[] };
type Routine = { name: string; call: string };

let database: TestDatabase;
let admin: pg.Client;
let tables: Table[];
let routines: Routine[];
let schemas: string[];
const clients: pg.Client[] = [];

async function connect(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  clients.push(client);
  return client;
}

beforeAll(async () => {
  database = await createTestDatabase();
  admin = await connect(database.adminUrl);
  const isOurs = `n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'public')`;
  const read = async <T extends pg.QueryResultRow>(sql: string) => (await admin.query<T>(sql)).rows;
  schemas = (await read<{ name: string }>(`select nspname as name from pg_namespace n where ${isOurs}`)).map(
    (row) => row.name,
  );
  tables = await read<Table>(`
    select n.nspname || '.' || c.relname as name, c.relkind as kind, array_agg(a.attname::text order by a.attnum) as columns
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
      join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
    where ${isOurs} and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S') group by 1, 2 order by 1`);
  routines = await read<Routine>(`
    select n.nspname || '.' || p.proname as name, format('%I.%I(%s)', n.nspname, p.proname,
      (select string_agg('null::' || format_type(type, null), ', ' order by at) from unnest(p.proargtypes) with ordinality as x (type, at))) as call
    from pg_proc p join pg_namespace n on n.oid = p.pronamespace where ${isOurs} order by 1`);
});
afterAll(async () => {
  for (const client of clients) await client.end();
  await database.drop();
});

/** Made every month by the sealer; nobody but the owner reaches one directly. */
const isMonth = (name: string) => /^audit\.entry_\d{4}_\d{2}$/.test(name);

/** `allowed`, or the code of the refusal, whatever else the statement would meet; nothing of it stays. */
async function attempt(client: pg.Client, sql: string): Promise<'allowed' | '42501'> {
  await client.query('begin');
  try {
    await client.query(sql);
    return 'allowed';
  } catch (error) {
    const { code, message } = error as pg.DatabaseError;
    return code === '42501' && /^(permission denied|must be owner)/.test(message) ? '42501' : 'allowed';
  } finally {
    await client.query('rollback');
  }
}

describe('the file of privileges', () => {
  const named = (kind: 'tables' | 'functions') =>
    databaseRoles.flatMap((role) =>
      kind === 'tables' ? Object.keys(rightsOf(role).tables) : rightsOf(role).functions,
    );

  it('says of every table, view, function and schema who may do what with it, and names nothing else', () => {
    const inDatabase = [...tables, ...routines].map(({ name }) => name).filter((name) => !isMonth(name));
    const inFile = [...named('tables'), ...named('functions'), ...ownerOnly.tables, ...ownerOnly.functions];
    const unsaid = inDatabase.filter((name) => !inFile.includes(name));
    expect(unsaid.map((name) => `say in packages/contracts/src/privileges.ts who may do what with ${name}`)).toEqual(
      [],
    );
    expect(inFile.filter((name) => !inDatabase.includes(name))).toEqual([]);
    expect([...new Set(databaseRoles.flatMap((role) => rightsOf(role).schemas))].sort()).toEqual(schemas.toSorted());
  });

  it('gives nobody what is for the owner alone', () => {
    const forOwner: string[] = [...ownerOnly.tables, ...ownerOnly.functions];
    expect([...named('tables'), ...named('functions')].filter((name) => forOwner.includes(name))).toEqual([]);
  });

  // The database follows the file, so what the file must never say is said here.
  it('lets a service change its own schema alone and only add to the audit log, and lets people look on and ask', () => {
    const isExpected = (role: DatabaseRole, table: string, { verb, columns }: TableVerb): boolean => {
      const [schema = '', name = ''] = table.split('.');
      if (role === 'ops_reader') return schema === 'ops' && verb === 'select';
      if (role === 'steward_operator') return verb === 'select' || (verb === 'insert' && name === 'operator_request');
      if (role === 'steward_sealer')
        return ['select', 'insert'].includes(verb) || (verb === 'update' && String(columns) === 'only_one');
      if (schema === 'audit') return verb === 'insert' && columns !== null;
      return `steward_${schema}` === role ? ['select', 'insert', 'update', 'delete'].includes(verb) : verb === 'select';
    };
    const odd = databaseRoles.flatMap((role) =>
      Object.entries(rightsOf(role).tables).flatMap(([table, verbs]) =>
        readVerbs(verbs)
          .filter((verb) => !isExpected(role, table, verb))
          .map(({ verb }) => `${role} ${verb} ${table}`),
      ),
    );
    expect(odd).toEqual([]);
  });

  it('lets nobody change or delete what decides and what proves', () => {
    const may = (table: string) =>
      databaseRoles.flatMap((role) => readVerbs(rightsOf(role).tables[table] ?? '')).map(({ verb }) => verb);
    const added = ['approval_vote', 'approval_shown', 'inbox', 'step', 'tool_call_resolution'].map(
      (name) => `agent_core.${name}`,
    );
    for (const table of [
      ...added,
      'outbound_sender.inbox',
      'outbound_sender.outbound_resolution',
      'adapter.stream_gap',
    ])
      expect([table, may(table).filter((verb) => !['select', 'insert'].includes(verb))]).toEqual([table, []]);
    for (const name of ['approval_request', 'tool_call', 'tool_grant', 'tool_attempt', 'break_glass', 'turn', 'freeze'])
      expect([name, may(`agent_core.${name}`).includes('delete')]).toEqual([name, false]);
  });
});

describe.each(databaseRoles)('%s', (role) => {
  /** MAINTAIN came with Postgres 17. */
  const tableVerbs = async () => {
    const { rows } = await admin.query<{ is: boolean }>(
      `select current_setting('server_version_num')::int >= 170000 as is`,
    );
    const verbs = ['select', 'insert', 'update', 'delete', 'truncate', 'references', 'trigger'];
    return rows[0]?.is ? [...verbs, 'maintain'] : verbs;
  };
  const columnVerbs = ['select', 'insert', 'update', 'references'];
  /** Which columns of a table the role may use with a verb: all, some, none. */
  const columnsFor = ({ name, columns }: Table, verb: string): readonly string[] =>
    readVerbs(rightsOf(role).tables[name] ?? '')
      .filter((one) => one.verb === verb)
      .flatMap((one) => one.columns ?? columns);
  const isWhole = (table: Table, verb: string) =>
    readVerbs(rightsOf(role).tables[table.name] ?? '').some((one) => one.verb === verb && one.columns === null);

  let client: pg.Client;
  beforeAll(async () => {
    client = await connect(database.url(role));
  });

  it('has in the catalogue what the file gives it for every table, column, function and schema, and nothing else', async () => {
    const verbs = await tableVerbs();
    const { rows } = await admin.query<{ held: string }>(
      `with ours as (select oid, nspname from pg_namespace where nspname = any ($2)),
         relation as (select c.oid, n.nspname || '.' || c.relname as name from pg_class c join ours n on n.oid = c.relnamespace
           where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S'))
       select verb || ' ' || name as held from relation, unnest($3::text[]) as verb where has_table_privilege($1, oid, verb)
       union all select verb || ' (' || a.attname || ') ' || name
         from relation join pg_attribute a on a.attrelid = oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = '',
           unnest($4::text[]) as verb where has_column_privilege($1, oid, a.attnum, verb)
       union all select 'execute ' || n.nspname || '.' || p.proname from pg_proc p join ours n on n.oid = p.pronamespace
         where has_function_privilege($1, p.oid, 'execute')
       union all select verb || ' ' || nspname from ours, unnest(array['usage', 'create']) as verb
         where has_schema_privilege($1, oid, verb)`,
      [role, schemas, verbs, columnVerbs],
    );
    const intended = [
      ...tables.flatMap((table) => [
        ...verbs.filter((verb) => isWhole(table, verb)).map((verb) => `${verb} ${table.name}`),
        ...columnVerbs.flatMap((verb) => columnsFor(table, verb).map((column) => `${verb} (${column}) ${table.name}`)),
      ]),
      ...rightsOf(role).functions.map((name) => `execute ${name}`),
      ...rightsOf(role).schemas.map((name) => `usage ${name}`),
    ];
    expect(rows.map(({ held }) => held).sort()).toEqual(intended.sort());
  });

  // A statement that touches no row asks for the same rights as one that does. Views refuse changes before they ask.
  it('can do with each table what the file says, tried, and is refused the rest', async () => {
    const faults: string[] = [];
    const expectRight = async (sql: string, isGiven: boolean) => {
      const seen = await attempt(client, sql);
      if ((seen === 'allowed') !== isGiven) faults.push(`${sql}: ${seen}`);
    };
    for (const table of tables) {
      const { name, kind, columns } = table;
      const readable = columnsFor(table, 'select');
      for (const column of columns)
        await expectRight(`select ${column} from ${name} where false`, readable.includes(column));
      if (kind === 'v') continue;
      for (const column of columns) {
        await expectRight(
          `insert into ${name} (${column}) select null where false`,
          columnsFor(table, 'insert').includes(column),
        );
        await expectRight(
          `update ${name} set ${column} = null where false`,
          columnsFor(table, 'update').includes(column),
        );
      }
      await expectRight(`delete from ${name} where false`, isWhole(table, 'delete'));
      // Only ever refused: these would ask for a lock that stops the services.
      await expectRight(`truncate ${name}`, false);
      await expectRight(
        `create trigger mine before insert on ${name} for each row execute function pg_catalog.suppress_redundant_updates_trigger()`,
        false,
      );
      await expectRight(`alter table ${name} add column mine int`, false);
    }
    expect(faults).toEqual([]);
  }, 60_000);

  it('can call the functions that the file gives it, tried, and is refused the rest', async () => {
    const faults: string[] = [];
    for (const { name, call } of routines) {
      const seen = await attempt(client, `select ${call}`);
      if ((seen === 'allowed') !== rightsOf(role).functions.includes(name)) faults.push(`${call}: ${seen}`);
    }
    expect(faults).toEqual([]);
  });

  it('owns nothing, makes nothing, grants nothing, and is no other role', async () => {
    const { rows } = await admin.query<Record<string, unknown>>(
      `select rolsuper or rolcreaterole or rolcreatedb or rolreplication or rolbypassrls as mighty,
         exists (select from pg_auth_members where member = r.oid) as "in another",
         exists (select from pg_shdepend where refobjid = r.oid and deptype = 'o') as owner,
         exists (select from pg_namespace where has_schema_privilege(r.oid, oid, 'create')) as "makes objects",
         has_database_privilege(r.oid, current_database(), 'create') as "makes schemas",
         exists (select from pg_class, aclexplode(relacl) as acl where acl.grantee = r.oid and acl.is_grantable) as "passes on"
       from pg_roles r where rolname = $1`,
      [role],
    );
    expect(rows).toEqual([
      {
        mighty: false,
        'in another': false,
        owner: false,
        'makes objects': false,
        'makes schemas': false,
        'passes on': false,
      },
    ]);
    for (const sql of [
      `create schema mine`,
      `create table ${schemas[0]}.mine (id int)`,
      'create table public.mine (id int)',
    ])
      expect(await attempt(client, sql)).toBe('42501');
    expect(await attempt(client, 'set role steward_owner')).toBe('42501');
  });
});

describe('PUBLIC', () => {
  const heldByPublic = `
    select n.nspname || '.' || c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace, aclexplode(c.relacl) as acl
      where acl.grantee = 0 and n.nspname = any ($1)
    union all select attrelid::regclass || '.' || attname from pg_attribute join pg_class c on c.oid = attrelid
      join pg_namespace n on n.oid = c.relnamespace, aclexplode(attacl) as acl where acl.grantee = 0 and n.nspname = any ($1)
    union all select n.nspname || '.' || p.proname from pg_proc p join pg_namespace n on n.oid = p.pronamespace,
      aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) as acl where acl.grantee = 0 and n.nspname = any ($1)
    union all select nspname from pg_namespace, aclexplode(nspacl) as acl where acl.grantee = 0 and nspname = any ($1)`;

  it('may do nothing with anything in our schemas', async () => {
    expect((await admin.query(heldByPublic, [schemas])).rows).toEqual([]);
  });

  it('gets nothing of what the owner makes later', async () => {
    const owner = await connect(database.url('steward_owner'));
    await owner.query('begin');
    await owner.query('create function ops.later() returns int language sql as $$ select 1 $$');
    await owner.query('create table ops.later_table (id int generated always as identity)');
    expect((await owner.query(heldByPublic, [schemas])).rows).toEqual([]);
    await owner.query('rollback');
  });
});

describe('migrating', () => {
  /** Everything that anybody but the owner was given in our schemas, as the catalogue keeps it. */
  const readGrants = async () => {
    const { rows } = await admin.query<{ held: string }>(
      `select nspname || '.' || relname || ' ' || acl::text as held from pg_class c join pg_namespace n on n.oid = relnamespace,
         aclexplode(relacl) as acl where nspname = any ($1) and acl.grantee <> relowner
       union all select attrelid::regclass || '.' || attname || ' ' || acl::text from pg_attribute join pg_class c on c.oid = attrelid
         join pg_namespace n on n.oid = relnamespace, aclexplode(attacl) as acl where nspname = any ($1)
       union all select p.oid::regprocedure || ' ' || acl::text from pg_proc p join pg_namespace n on n.oid = pronamespace,
         aclexplode(proacl) as acl where nspname = any ($1) and acl.grantee <> proowner
       union all select nspname || ' ' || acl::text from pg_namespace, aclexplode(nspacl) as acl
         where nspname = any ($1) and acl.grantee <> nspowner`,
      [schemas],
    );
    return rows.map(({ held }) => held).sort();
  };
  const migrateAgain = async () => {
    const owner = createPostgres<unknown>({ url: database.url('steward_owner'), poolSize: 2, log });
    try {
      await Promise.all([migrate({ db: owner.db, log }), migrate({ db: owner.db, log })]);
    } finally {
      await owner.close();
    }
  };
  const drift = `
    grant delete, truncate on adapter.outbox to steward_sealer;
    grant update on agent_core.tool_grant to steward_agent_core with grant option;
    grant select (text) on agent_core.transcript to ops_reader;
    grant execute on function audit.begin_epoch(text) to public;
    grant usage, create on schema audit to public;
    revoke insert on agent_core.turn from steward_agent_core;
    revoke usage on schema ops from ops_reader;
    revoke execute on function outbound_sender.admit(jsonb, boolean, text) from steward_outbound_sender`;

  it('takes back what was given beside the file, gives back what was taken, and leaves other roles alone', async () => {
    const before = await readGrants();
    const owner = await connect(database.url('steward_owner'));
    await owner.query(drift);
    // A role that every server has and no file of ours names.
    await owner.query('grant usage on schema ops to pg_monitor; grant select on ops.sealing to pg_monitor');
    expect(await readGrants()).not.toEqual(before);
    await migrateAgain();
    await owner.query('revoke usage on schema ops from pg_monitor; revoke select on ops.sealing from pg_monitor');
    expect(await readGrants()).toEqual(before);
  });

  it('leaves the rights of a newer version as they are', async () => {
    const owner = await connect(database.url('steward_owner'));
    const before = await readGrants();
    await owner.query(
      `insert into migration.kysely_migration (name, timestamp) values ('9999_newer', '2030-01-01T00:00:00.000Z')`,
    );
    await owner.query('grant select on adapter.outbox to steward_sealer');
    const drifted = await readGrants();
    await migrateAgain();
    expect(await readGrants()).toEqual(drifted);
    await owner.query(`delete from migration.kysely_migration where name = '9999_newer'`);
    await migrateAgain();
    expect(await readGrants()).toEqual(before);
  });
});
