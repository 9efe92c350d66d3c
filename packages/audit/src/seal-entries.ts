import { AppError } from '@steward/service-kit';
import { endOfEpoch, noHash, signBlock, type Block } from './block.ts';
import { encodeLeaf, leafBytes, leafOf } from './leaf.ts';
import { hashLeaf, merkleRoot } from './merkle.ts';
import type { Query, Transact } from './query.ts';
import { findNewestBlock, readEntries, type Range } from './read-log.ts';
import type { SealKey } from './seal-key.ts';

/**
 * `sealed`: a block was added; `more`: there is more to seal at once; `oldestSeconds`: how long its oldest entry waited.
 * `elsewhere`: another process seals just now. `overtaken`: another one sealed the same block first; nothing was added.
 */
export type SealOutcome =
  { kind: 'sealed'; block: Block; more: boolean; oldestSeconds: number } | { kind: 'idle' | 'elsewhere' | 'overtaken' };

export type SealOptions = {
  transact: Transact;
  key: SealKey;
  /** An empty block after so long, so that a quiet log stays "sealed and working". Default 30. */
  emptyAfterSeconds?: number;
  /** Entries of a block, unless one transaction alone wrote more. Default 20,000. */
  maxEntries?: number;
};

const chunkLeaves = 16_384;

/**
 * One round of sealing. Takes only entries of transactions below the snapshot horizon: none of those can still be open, so no
 * entry is skipped, whatever the order of commits. Rejects with AUDIT_EPOCH_CHANGED in a restored database.
 */
export async function sealEntries(o: SealOptions): Promise<SealOutcome> {
  try {
    return await o.transact((query) => sealOnce(query, o));
  } catch (error) {
    // The unique keys and block_follows: this process slept while another one worked.
    if (isBlockRefused(error)) return { kind: 'overtaken' };
    throw error;
  }
}

async function sealOnce(query: Query, o: SealOptions): Promise<SealOutcome> {
  // The horizon is read afterwards: this statement gives the transaction its number, which the horizon never passes.
  const lock = await query('select only_one from audit.sealer for update skip locked');
  if (lock.length === 0) return { kind: 'elsewhere' };
  const state = await readState(query);
  const newest = await findNewestBlock(query);
  const range = await chooseRange(query, { newest, state, maxEntries: o.maxEntries ?? 20_000 });
  const { chunks, root, count } = await readRange(query, range);
  const [clock] = await query<{ sealedAt: string; idleSeconds: number | null; oldestSeconds: number }>(
    `select audit.utc_text(greatest(clock_timestamp(), $1::timestamptz)) as "sealedAt",
       extract(epoch from clock_timestamp() - $1::timestamptz)::double precision as "idleSeconds",
       coalesce(extract(epoch from clock_timestamp() - (
         select min(e.occurred_at) from (select f.occurred_at from audit.entry f
           where f.epoch = $2 and f.transaction_id >= $3::bigint and f.transaction_id < $4::bigint
           order by f.transaction_id, f.id limit 100) e)), 0)::double precision as "oldestSeconds"`,
    [newest?.sealedAt ?? null, range.epoch, range.fromTransaction, range.toTransaction],
  );
  if (clock === undefined) return { kind: 'idle' };
  const isDue = clock.idleSeconds === null || clock.idleSeconds >= (o.emptyAfterSeconds ?? 30);
  if (count === 0 && range.kind === 'block' && !isDue) return { kind: 'idle' };
  const block = signBlock(
    {
      ...range,
      number: (newest?.number ?? 0) + 1,
      previousHash: newest?.hash ?? noHash,
      entryCount: count,
      root: root.toString('hex'),
      sealedAt: clock.sealedAt,
      keyId: o.key.keyId,
    },
    o.key,
  );
  await insertBlock(query, block, chunks);
  const more = range.kind === 'restore' || range.toTransaction !== state.horizon;
  return { kind: 'sealed', block, more, oldestSeconds: clock.oldestSeconds };
}

type State = { horizon: string; newestEpoch: number };

/** The horizon, in a statement of its own: what is read after it sees every transaction below. */
async function readState(query: Query): Promise<State> {
  const [row] = await query<State & { isHome: boolean }>(
    `select pg_snapshot_xmin(pg_current_snapshot())::text as "horizon", e.number as "newestEpoch",
       e.system_identifier = s.system_identifier::text as "isHome"
     from pg_control_system() s, (select * from audit.epoch order by audit.epoch.number desc limit 1) e`,
  );
  if (row?.isHome !== true) throw epochChanged();
  return row;
}

async function chooseRange(
  query: Query,
  { newest, state, maxEntries }: { newest: Block | null; state: State; maxEntries: number },
): Promise<Range & Pick<Block, 'kind'>> {
  const epoch = newest === null ? 1 : newest.epoch + (newest.kind === 'restore' ? 1 : 0);
  const fromTransaction = newest?.kind === 'block' ? newest.toTransaction : '0';
  if (epoch < state.newestEpoch) return { kind: 'restore', epoch, fromTransaction, toTransaction: endOfEpoch };
  // Numbers only grow within a cluster; a copy of its files that was put back begins again at an earlier one.
  if (BigInt(state.horizon) < BigInt(fromTransaction)) throw epochChanged();
  const rows = await query<{ transactionId: string }>(
    `(select e.transaction_id::text as "transactionId" from audit.entry e
      where e.epoch = $1 and e.transaction_id >= $2::bigint and e.transaction_id < $3::bigint
      order by e.transaction_id, e.id limit 1)
     union all
     (select e.transaction_id::text from audit.entry e
      where e.epoch = $1 and e.transaction_id >= $2::bigint and e.transaction_id < $3::bigint
      order by e.transaction_id, e.id offset $4 limit 1)`,
    [epoch, fromTransaction, state.horizon, maxEntries],
  );
  const [first, beyond] = rows.map(({ transactionId }) => BigInt(transactionId));
  const toTransaction =
    first === undefined || beyond === undefined ? state.horizon : String(first < beyond ? beyond : beyond + 1n);
  return { kind: 'block', epoch, fromTransaction, toTransaction };
}

async function readRange(query: Query, range: Range): Promise<{ chunks: Buffer[]; root: Buffer; count: number }> {
  const leafHashes: Buffer[] = [];
  const leaves: Buffer[] = [];
  for await (const page of readEntries(query, range)) {
    for (const row of page) {
      const bytes = encodeLeaf(leafOf(row));
      leaves.push(bytes);
      leafHashes.push(hashLeaf(bytes));
    }
  }
  const chunks: Buffer[] = [];
  for (let at = 0; at < leaves.length; at += chunkLeaves) {
    const chunk = leaves.slice(at, at + chunkLeaves);
    chunks.push(Buffer.concat(chunk, chunk.length * leafBytes));
  }
  return { chunks, root: merkleRoot(leafHashes), count: leaves.length };
}

async function insertBlock(query: Query, block: Block, chunks: readonly Buffer[]): Promise<void> {
  await query(
    `insert into audit.block (number, epoch, kind, previous_hash, from_transaction, to_transaction, entry_count, root,
       sealed_at, key_id, hash, signature)
     values ($1, $2, $3, decode($4, 'hex'), $5::bigint, $6::bigint, $7, decode($8, 'hex'), $9::timestamptz, $10,
       decode($11, 'hex'), decode($12, 'hex'))`,
    [
      ...[block.number, block.epoch, block.kind, block.previousHash, block.fromTransaction, block.toTransaction],
      ...[block.entryCount, block.root, block.sealedAt, block.keyId, block.hash, block.signature],
    ],
  );
  for (const [chunk, leaves] of chunks.entries()) {
    await query(`insert into audit.block_leaves (block_number, chunk, leaves) values ($1, $2, decode($3, 'hex'))`, [
      block.number,
      chunk,
      leaves.toString('hex'),
    ]);
  }
}

const epochChanged = () =>
  new AppError(
    'AUDIT_EPOCH_CHANGED',
    "this database was restored from a copy: as its owner run select audit.begin_epoch('why'), then sealing goes on",
    { retryable: false },
  );

/** 23505 unique_violation, 23000 block_follows. */
function isBlockRefused(error: unknown): boolean {
  return error instanceof Error && 'code' in error && ['23505', '23000'].includes(String(error.code));
}
