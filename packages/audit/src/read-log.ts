import type { Block } from './block.ts';
import { entryColumns, type EntryRow } from './canonical-entry.ts';
import { decodeLeaves, type Leaf } from './leaf.ts';
import type { Query } from './query.ts';

/** Which entries: an epoch's transactions from one (inclusive) to another (exclusive), as decimal text. */
export type Range = Pick<Block, 'epoch' | 'fromTransaction' | 'toTransaction'>;

/** What lies beside an entry; all null when there is nothing. Bytes in hex, the body as Postgres spells it. */
export type DetailColumns = {
  salt: string | null;
  body: string | null;
  erasedAt: string | null;
  erasedBy: string | null;
  eraseReason: string | null;
};

const pageRows = 2_000;
const blocksAtOnce = 500;

export const detailColumns = `encode(d.salt, 'hex') as "salt", d.body::text as "body", audit.utc_text(d.erased_at) as "erasedAt",
  d.erased_by as "erasedBy", d.erase_reason as "eraseReason"`;

/** The entries of a range in the order of sealing, page by page. */
export const readEntries = (query: Query, range: Range): AsyncGenerator<EntryRow[]> =>
  readPages<EntryRow>(query, range, `select ${entryColumns} from audit.entry e`);

/** The same with what lies beside them; only roles that may read audit.detail can. */
export const readEntriesWithDetail = (query: Query, range: Range): AsyncGenerator<(EntryRow & DetailColumns)[]> =>
  readPages<EntryRow & DetailColumns>(
    query,
    range,
    `select ${entryColumns}, ${detailColumns} from audit.entry e left join audit.detail d on d.entry_id = e.id`,
  );

async function* readPages<Row extends EntryRow>(query: Query, range: Range, select: string): AsyncGenerator<Row[]> {
  const text = `${select}
    where e.epoch = $1 and e.transaction_id >= $2::bigint and e.transaction_id < $3::bigint
      and (e.transaction_id, e.id, e.occurred_at) > ($4::bigint, $5::uuid, $6::timestamptz)
    order by e.transaction_id, e.id, e.occurred_at limit ${pageRows}`;
  let after: [string, string, string] = [range.fromTransaction, '00000000-0000-0000-0000-000000000000', '-infinity'];
  for (;;) {
    const page: Row[] = await query<Row>(text, [range.epoch, range.fromTransaction, range.toTransaction, ...after]);
    if (page.length > 0) yield page;
    const last = page.at(-1);
    if (last === undefined || page.length < pageRows) return;
    after = [last.transactionId, last.id, last.occurredAt];
  }
}

const blockColumns = `number::text::integer as "number", epoch as "epoch", kind as "kind", encode(previous_hash, 'hex') as "previousHash",
  from_transaction::text as "fromTransaction", to_transaction::text as "toTransaction", entry_count::text as "entryCount",
  encode(root, 'hex') as "root", audit.utc_text(sealed_at) as "sealedAt", key_id as "keyId", encode(hash, 'hex') as "hash",
  encode(signature, 'hex') as "signature"`;
type BlockRow = Omit<Block, 'entryCount'> & { entryCount: string };
const toBlock = (row: BlockRow): Block => ({ ...row, entryCount: Number(row.entryCount) });

/** Blocks in order of their numbers, from one on, up to and including another. */
export async function* readBlocks(query: Query, o: { from: number; to?: number }): AsyncGenerator<Block> {
  let next = o.from;
  for (;;) {
    const rows = await query<BlockRow>(
      `select ${blockColumns} from audit.block where number >= $1 and number <= $2 order by audit.block.number limit ${blocksAtOnce}`,
      [next, o.to ?? Number.MAX_SAFE_INTEGER],
    );
    for (const row of rows) yield toBlock(row);
    const last = rows.at(-1);
    if (last === undefined || rows.length < blocksAtOnce) return;
    next = last.number + 1;
  }
}

/** The newest block; null before the first. */
export async function findNewestBlock(query: Query): Promise<Block | null> {
  const [row] = await query<BlockRow>(
    `select ${blockColumns} from audit.block order by audit.block.number desc limit 1`,
  );
  return row === undefined ? null : toBlock(row);
}

/** The block that holds a transaction of an epoch; null when it is not sealed. */
export async function findBlockOf(
  query: Query,
  entry: { epoch: number; transactionId: string },
): Promise<Block | null> {
  const [row] = await query<BlockRow>(
    `select ${blockColumns} from audit.block
     where epoch = $1 and from_transaction <= $2::bigint and to_transaction > $2::bigint`,
    [entry.epoch, entry.transactionId],
  );
  return row === undefined ? null : toBlock(row);
}

/** The leaves that a block was made of, as they are kept beside it. Throws AUDIT_FORM_INVALID when they cannot be read. */
export async function readLeaves(query: Query, blockNumber: number): Promise<Leaf[]> {
  const rows = await query<{ leaves: string }>(
    `select encode(leaves, 'hex') as "leaves" from audit.block_leaves where block_number = $1 order by chunk`,
    [blockNumber],
  );
  return rows.flatMap(({ leaves }) => decodeLeaves(Buffer.from(leaves, 'hex')));
}
