import { sql, type Kysely, type Transaction } from 'kysely';
import { databasePrivileges, databaseRoles, readVerbs, type DatabasePrivileges } from '@steward/contracts';
import type { Logger } from '@steward/service-kit';

/** One right as GRANT words it, and who has it: `update (answer) on table adapter.operator_request`, `steward_adapter`. */
type Privilege = { what: string; grantee: string };

/** Everybody; a role that is not in our file (an exporter of yours) is none of our business. */
const grantees = [...databaseRoles, 'public'];

/**
 * Makes the rights of the services' roles and of PUBLIC, on what the owner has in our schemas, equal to
 * `packages/contracts/src/privileges.ts`: what is too much is revoked, what is missing granted, in one transaction, so that no
 * running service ever lacks what both versions of the file give it. Needs the owner role; one at a time; harmless to repeat.
 * Rejects with Postgres' error where the file names something that does not exist.
 */
export async function applyPrivileges(o: { db: Kysely<unknown>; log: Logger }): Promise<void> {
  await o.db.transaction().execute(async (trx) => {
    await sql`select pg_advisory_xact_lock(hashtext('steward privileges'))`.execute(trx);
    // Otherwise every new function is everybody's until the next line of this file has run.
    await sql`alter default privileges revoke execute on functions from public`.execute(trx);
    const intended = await intendPrivileges(trx);
    const tooMuch = without(await readPrivileges(trx), intended);
    await run(
      trx,
      tooMuch.map(({ what, grantee }) => `revoke ${what} from ${grantee}`),
    );
    // Read again: revoking a verb on a table takes it from each of its columns too.
    const missing = without(intended, await readPrivileges(trx));
    await run(
      trx,
      missing.map(({ what, grantee }) => `grant ${what} to ${grantee}`),
    );
    if (tooMuch.length + missing.length > 0)
      o.log.info('privileges.applied', { revoked: tooMuch.length, granted: missing.length });
  });
}

async function run(trx: Transaction<unknown>, statements: string[]): Promise<void> {
  // Words of the catalogue and of our own file, quoted where they come from.
  if (statements.length > 0) await sql.raw(statements.join(';\n')).execute(trx);
}

function without(these: Privilege[], those: Privilege[]): Privilege[] {
  const known = new Set(those.map(({ what, grantee }) => `${what} to ${grantee}`));
  return these.filter(({ what, grantee }) => !known.has(`${what} to ${grantee}`));
}

/** The file, in the words of `readPrivileges`. */
async function intendPrivileges(trx: Transaction<unknown>): Promise<Privilege[]> {
  const { rows } = await sql<{ name: string; signature: string }>`
    select n.nspname || '.' || p.proname as name, p.oid::regprocedure::text as signature
    from pg_proc p join pg_namespace n on n.oid = p.pronamespace where n.nspname = any (${ourSchemas()}::text[])`.execute(
    trx,
  );
  const signaturesOf = (name: string) => {
    const found = rows.filter((row) => row.name === name).map(({ signature }) => signature);
    // No such function: let Postgres say so.
    return found.length > 0 ? found : [name];
  };
  return databaseRoles.flatMap((grantee) => {
    const { schemas, tables, functions }: DatabasePrivileges = databasePrivileges[grantee];
    return [
      ...schemas.map((schema) => `usage on schema ${schema}`),
      ...Object.entries(tables).flatMap(([table, verbs]) =>
        readVerbs(verbs).flatMap(({ verb, columns }) =>
          columns === null
            ? [`${verb} on table ${table}`]
            : columns.map((column) => `${verb} (${column}) on table ${table}`),
        ),
      ),
      ...functions.flatMap(signaturesOf).map((signature) => `execute on routine ${signature}`),
    ].map((what) => ({ what, grantee }));
  });
}

const ourSchemas = () => [
  ...new Set(databaseRoles.flatMap((role): readonly string[] => databasePrivileges[role].schemas)),
];

/** What our roles and PUBLIC may do with what the owner has in our schemas, by the catalogue. */
async function readPrivileges(trx: Transaction<unknown>): Promise<Privilege[]> {
  const { rows } = await sql<Privilege>`
    with ours as (select oid, nspname from pg_namespace where nspname = any (${ourSchemas()}::text[])),
    object (what, owner, acl) as (
      select format('on schema %I', nspname), nspowner, coalesce(nspacl, acldefault('n', nspowner))
      from pg_namespace where oid in (select oid from ours)
      union all
      select format('on %s %I.%I', case relkind when 'S' then 'sequence' else 'table' end, nspname, relname), relowner,
        coalesce(relacl, acldefault(case relkind when 'S' then 's' else 'r' end::"char", relowner))
      from pg_class join ours on ours.oid = relnamespace where relkind in ('r', 'p', 'v', 'm', 'f', 'S')
      union all
      select format('(%I) on table %I.%I', attname, nspname, relname), relowner, attacl
      from pg_attribute join pg_class on pg_class.oid = attrelid join ours on ours.oid = relnamespace
      where attacl is not null and not attisdropped
      union all
      select format('on routine %s', p.oid::regprocedure), proowner, coalesce(proacl, acldefault('f', proowner))
      from pg_proc p join ours on ours.oid = pronamespace)
    select case when is_option then 'grant option for ' else '' end || lower(privilege_type) || ' ' || what as what, name as grantee
    from object
    cross join lateral aclexplode(acl) as held
    cross join lateral (select coalesce((select rolname::text from pg_roles where oid = held.grantee), 'public')) as known (name)
    cross join lateral (select false union select is_grantable) as option (is_option)
    where known.name = any (${grantees}::text[]) and pg_has_role(owner, 'usage')`.execute(trx);
  return rows;
}
