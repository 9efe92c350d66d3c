import { entryColumns, type EntryRow } from './canonical-entry.ts';
import type { RetiredSpan } from './compare-entries.ts';
import { compareLeaves, hashOfLeaf, leafOf, toMicroseconds } from './leaf.ts';
import { merkleRoot } from './merkle.ts';
import type { Query } from './query.ts';
import { findBlockOf, readLeaves } from './read-log.ts';
import type { PublicKeys } from './seal-key.ts';
import { verifySignedBlock } from './verify-chain.ts';

/**
 * A partition that was dropped after its export. `isRecorded`: it is the whole span of a partition that was over, and an entry
 * of the chain says in so many words that it was retired. Rows of audit.retirement are signed by nobody, so they prove nothing.
 */
export type Retirement = RetiredSpan & { rows: number; exportSha256: string; by: string; isRecorded: boolean };

const beginningOfTime = -(2n ** 63n);

type RetirementRow = {
  name: string;
  fromAt: string | null;
  toAt: string;
  rows: string;
  exportSha256: string;
  by: string;
  isWhole: boolean;
};

/** All retirements, oldest first. */
export async function readRetirements({ query, publicKeys }: Chain): Promise<Retirement[]> {
  const rows = await query<RetirementRow>(
    `select r.name as "name", case when r.from_at > '-infinity' then audit.utc_text(r.from_at) end as "fromAt",
       audit.utc_text(r.to_at) as "toAt", r.exported_rows::text as "rows", r.export_sha256 as "exportSha256",
       r.retired_by as "by",
       r.retired_at >= r.to_at
         and exists (select from audit.partition p where p.name = r.name and p.from_at = r.from_at and p.to_at = r.to_at)
         and not exists (select from audit.partition o where o.name <> r.name and o.from_at < r.to_at and o.to_at > r.from_at)
         as "isWhole"
     from audit.retirement r order by r.to_at`,
  );
  const retirements: Retirement[] = [];
  for (const { fromAt, toAt, isWhole, ...row } of rows) {
    retirements.push({
      ...row,
      rows: Number(row.rows),
      from: fromAt === null ? beginningOfTime : toMicroseconds(fromAt),
      to: toMicroseconds(toAt),
      isRecorded: isWhole && (await isSaid({ query, publicKeys }, row.name)),
    });
  }
  return retirements;
}

type Chain = { query: Query; publicKeys: PublicKeys };

/** Whether the entry of a retirement is there, and is what was sealed. One that is not sealed yet must still be in the log. */
async function isSaid(chain: Chain, name: string): Promise<boolean> {
  for (const table of ['audit.entry', 'audit.retirement_entry']) {
    const said = await chain.query<EntryRow>(
      `select ${entryColumns} from ${table} e join audit.retirement r on r.name = $1 and e.id = r.entry_id
       where e.kind = 'partition.retired' and e.service = 'operator' and e.subject_id = r.name
         and e.detail ->> 'exportSha256' = r.export_sha256 and e.detail ->> 'rows' = r.exported_rows::text
         and e.detail ->> 'by' = r.retired_by and e.detail ->> 'to' = audit.utc_text(r.to_at)
         and (r.from_at = '-infinity' or e.detail ->> 'from' = audit.utc_text(r.from_at))
         and e.occurred_at between r.retired_at - interval '1 hour' and r.retired_at + interval '1 hour'
       limit 1`,
      [name],
    );
    for (const row of said) if (await isSealed(chain, row, { orWaits: table === 'audit.entry' })) return true;
  }
  return false;
}

async function isSealed({ query, publicKeys }: Chain, row: EntryRow, o: { orWaits: boolean }): Promise<boolean> {
  const block = await findBlockOf(query, row);
  if (block === null) return o.orWaits;
  if (verifySignedBlock(block, publicKeys).length > 0) return false;
  const leaves = await readLeaves(query, block.number).catch(() => []);
  if (merkleRoot(leaves.map(hashOfLeaf)).toString('hex') !== block.root) return false;
  const own = leafOf(row);
  return leaves.some((leaf) => compareLeaves(leaf, own) === 0 && leaf.entryHash.equals(own.entryHash));
}
