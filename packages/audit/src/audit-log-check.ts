import type { Block } from './block.ts';
import type { Checkpoint } from './checkpoint.ts';
import { createComparison, type RetiredSpan } from './compare-entries.ts';
import type { Fault } from './fault.ts';
import { compareLeaves, hashOfLeaf, type Leaf } from './leaf.ts';
import { merkleRoot } from './merkle.ts';
import type { Query } from './query.ts';
import { findUncovered, findUnsealed, readErasures } from './read-edges.ts';
import { readBlocks, readEntriesWithDetail, readLeaves } from './read-log.ts';
import { readRetirements, type Retirement } from './read-retirements.ts';
import type { PublicKeys } from './seal-key.ts';
import { verifyCheckpoint, verifyLink, verifySignedBlock } from './verify-chain.ts';
import { verifyDetail } from './verify-detail.ts';

/** What verifying found. `faults` holds the first hundred in the order of the chain; `faultCount` counts all. */
export type VerifyReport = {
  outcome: 'fine' | 'bad' | 'unwitnessed';
  /** 0 fine, 1 bad, 3 nothing wrong, but no checkpoint says that the end is still there. */
  exitCode: 0 | 1 | 3;
  faults: Fault[];
  faultCount: number;
  blocks: number;
  entries: number;
  details: { whole: number; erased: { entryId: string; by: string; at: string }[]; erasedCount: number };
  retired: { name: string; rows: number; exportSha256: string; by: string }[];
  /** Younger than the limit: not sealed yet, and nothing wrong with that. */
  unsealed: number;
  first: { number: number; sealedAt: string } | null;
  newest: { number: number; sealedAt: string } | null;
  /** The newest checkpoint that fits. */
  witnessed: { number: number; sealedAt: string } | null;
  keys: { keyId: string; fromBlock: number; toBlock: number }[];
};

export type VerifyOptions = {
  /** The operator's connection: it reads the audit schema and needs no secret. */
  query: Query;
  publicKeys: PublicKeys;
  /** Begin at this block instead of the first. */
  from?: number;
  /** What witnesses outside the database say. */
  checkpoints?: readonly Checkpoint[];
  /** Entries that are older and not sealed count as wrong. Default 120. */
  unsealedLimitSeconds?: number;
};

type Tally = VerifyReport & {
  query: Query;
  retiredSpans: readonly RetiredSpan[];
  add: (faults: readonly Fault[]) => void;
};

const listed = 100;

/** Recomputes the whole log with public keys alone. Memory is bounded by the largest block, not by the log. */
export async function verifyAudit(o: VerifyOptions): Promise<VerifyReport> {
  const retirements = await readRetirements(o);
  const tally = createTally(o.query, retirements);
  const checkpoints = [...(o.checkpoints ?? [])].sort((a, b) => a.number - b.number);
  for (const checkpoint of checkpoints) tally.add(verifyCheckpoint(checkpoint, o.publicKeys));
  const from = o.from ?? 1;
  let previous = await findBlockBefore(o.query, from);
  let expected = previous;
  for await (const block of readBlocks(o.query, { from })) {
    if (expected !== null || from === 1) tally.add(verifyLink(expected, block));
    tally.add(verifySignedBlock(block, o.publicKeys));
    await checkEntries(tally, block);
    witness(tally, block, checkpoints);
    noteBlock(tally, block);
    previous = expected = block;
  }
  await checkEdges(tally, previous, o.unsealedLimitSeconds ?? 120);
  checkTail(tally, previous, checkpoints);
  await checkErasures(tally);
  checkRetirements(tally, retirements, { isWholeLog: from === 1 });
  return finish(tally, checkpoints.length > 0);
}

async function findBlockBefore(query: Query, number: number): Promise<Block | null> {
  for await (const block of readBlocks(query, { from: number - 1, to: number - 1 })) return block;
  return null;
}

function createTally(query: Query, retirements: readonly Retirement[]): Tally {
  const tally: Tally = {
    query,
    retiredSpans: retirements,
    outcome: 'fine',
    exitCode: 0,
    faults: [],
    faultCount: 0,
    blocks: 0,
    entries: 0,
    details: { whole: 0, erased: [], erasedCount: 0 },
    retired: retirements.map(({ name, exportSha256, by }) => ({ name, rows: 0, exportSha256, by })),
    unsealed: 0,
    first: null,
    newest: null,
    witnessed: null,
    keys: [],
    add: (faults) => {
      tally.faultCount += faults.length;
      tally.faults.push(...faults.slice(0, Math.max(0, listed - tally.faults.length)));
    },
  };
  return tally;
}

async function checkEntries(tally: Tally, block: Block): Promise<void> {
  const { leaves, faults } = await loadLeaves(tally.query, block);
  tally.add(faults);
  const comparison = createComparison({ block: block.number, leaves, retired: tally.retiredSpans });
  for await (const page of readEntriesWithDetail(tally.query, block)) {
    for (const row of page) {
      tally.entries += 1;
      tally.add(comparison.take(row));
      const detail = verifyDetail(row);
      if (detail.state === 'bad') tally.add([{ ...detail.fault, block: block.number }]);
      if (detail.state === 'whole') tally.details.whole += 1;
      if (detail.state === 'erased') noteErased(tally, row.id, row.erasedBy ?? '', row.erasedAt ?? '');
    }
  }
  const end = comparison.end();
  tally.add(end.faults);
  for (const retired of tally.retired) retired.rows += end.retired.get(retired.name) ?? 0;
  if (faults.length > 0 && end.root.toString('hex') !== block.root) {
    const text = `the entries of block ${block.number} are not those that were sealed; its list of leaves cannot say which`;
    tally.add([{ code: 'entries_altered', block: block.number, text }]);
  }
}

/** The list beside the block, if it is the one that was signed; otherwise what it says is no evidence, only a hint. */
async function loadLeaves(query: Query, block: Block): Promise<{ leaves: Leaf[]; faults: Fault[] }> {
  const leaves = await readLeaves(query, block.number).catch(() => []);
  const isInOrder = leaves.every((leaf, at) => at === 0 || compareLeaves(leaves[at - 1] ?? leaf, leaf) < 0);
  const root = merkleRoot(leaves.map(hashOfLeaf)).toString('hex');
  if (isInOrder && root === block.root && leaves.length === block.entryCount) return { leaves, faults: [] };
  const text = `the list of leaves of block ${block.number} was altered`;
  return { leaves, faults: [{ code: 'leaves_altered', block: block.number, text }] };
}

function noteErased(tally: Tally, entryId: string, by: string, at: string): void {
  tally.details.erasedCount += 1;
  if (tally.details.erased.length < listed) tally.details.erased.push({ entryId, by, at });
}

function noteBlock(tally: Tally, block: Block): void {
  tally.blocks += 1;
  tally.first ??= { number: block.number, sealedAt: block.sealedAt };
  tally.newest = { number: block.number, sealedAt: block.sealedAt };
  const last = tally.keys.at(-1);
  if (last?.keyId === block.keyId) last.toBlock = block.number;
  else tally.keys.push({ keyId: block.keyId, fromBlock: block.number, toBlock: block.number });
}

function witness(tally: Tally, block: Block, checkpoints: readonly Checkpoint[]): void {
  for (const checkpoint of checkpoints.filter(({ number }) => number === block.number)) {
    if (checkpoint.hash === block.hash) {
      tally.witnessed = { number: block.number, sealedAt: block.sealedAt };
      continue;
    }
    const text = `block ${block.number} is not the one that was witnessed at ${checkpoint.sealedAt}: the log was sealed anew`;
    tally.add([{ code: 'resealed', block: block.number, text }]);
  }
}

function checkTail(tally: Tally, newest: Block | null, checkpoints: readonly Checkpoint[]): void {
  const lost = checkpoints.findLast(({ number }) => number > (newest?.number ?? 0));
  if (lost === undefined) return;
  const text = `the log ends at block ${newest?.number ?? 0}, but block ${lost.number} was witnessed at ${lost.sealedAt}: the tail was deleted`;
  tally.add([{ code: 'tail_deleted', block: (newest?.number ?? 0) + 1, text }]);
}

async function checkEdges(tally: Tally, newest: Block | null, limitSeconds: number): Promise<void> {
  for (const { id, epoch } of await findUncovered(tally.query, newest)) {
    const text = `entry ${id} says epoch ${epoch} and a transaction that no block can hold`;
    tally.add([{ code: 'entry_out_of_range', entryId: id, text }]);
  }
  const unsealed = await findUnsealed(tally.query, newest, limitSeconds);
  tally.unsealed = unsealed.young;
  if (unsealed.old > 0) {
    const text = `${unsealed.old} entries, the first of them ${unsealed.firstId ?? ''}, are older than ${limitSeconds} s and not sealed`;
    tally.add([{ code: 'entry_not_sealed', entryId: unsealed.firstId ?? undefined, text }]);
  }
}

async function checkErasures(tally: Tally): Promise<void> {
  if (tally.details.erasedCount === 0) return;
  for (const entryId of await readErasures(tally.query)) {
    const text = `the detail of entry ${entryId} was erased, and no entry says so`;
    tally.add([{ code: 'detail_erased_unrecorded', entryId, text }]);
  }
}

function checkRetirements(tally: Tally, retirements: readonly Retirement[], o: { isWholeLog: boolean }): void {
  for (const { name, rows, isRecorded } of retirements) {
    const seen = tally.retired.find((retired) => retired.name === name)?.rows ?? 0;
    if (o.isWholeLog && seen !== rows) {
      const text = `partition ${name} was retired with ${rows} entries, but ${seen} sealed entries of its time are gone`;
      tally.add([{ code: 'retirement_wrong', text }]);
    }
    if (!isRecorded) {
      const text = `no entry of the chain says that partition ${name} was retired as it is written down`;
      tally.add([{ code: 'retirement_wrong', text }]);
    }
  }
}

function finish(
  { query: _query, retiredSpans: _spans, add: _add, ...report }: Tally,
  hadCheckpoints: boolean,
): VerifyReport {
  if (report.faultCount > 0) return { ...report, outcome: 'bad', exitCode: 1 };
  // Checkpoints of blocks before `from` say nothing about what was looked at.
  if (!hadCheckpoints || report.witnessed === null) return { ...report, outcome: 'unwitnessed', exitCode: 3 };
  return report;
}
