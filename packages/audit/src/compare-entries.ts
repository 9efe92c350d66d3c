import { hashOfLeaf, compareLeaves, compareNames, leafOf, toUtcText, type Leaf } from './leaf.ts';
import type { EntryRow } from './canonical-entry.ts';
import type { Fault } from './fault.ts';
import { merkleRoot } from './merkle.ts';

/** A partition that was exported and dropped: entries of its time may be gone. Times in microseconds, `to` exclusive. */
export type RetiredSpan = { name: string; from: bigint; to: bigint };

/** Compares entries, in the order of sealing, with the leaves of their block. Keeps state between rows; no I/O. */
export type Comparison = {
  take(row: EntryRow): Fault[];
  end(): { faults: Fault[]; retired: Map<string, number>; root: Buffer };
};

/** `block` is the number of the block, for the texts; `leaves` in the order of sealing. */
export function createComparison(o: {
  block: number;
  leaves: readonly Leaf[];
  retired: readonly RetiredSpan[];
}): Comparison {
  const retired = new Map<string, number>();
  const rowHashes: Buffer[] = [];
  let at = 0;

  const passLeaf = (leaf: Leaf): Fault[] => {
    at += 1;
    const span = o.retired.find(({ from, to }) => leaf.microseconds >= from && leaf.microseconds < to);
    if (span !== undefined) {
      retired.set(span.name, (retired.get(span.name) ?? 0) + 1);
      // It is proved by the leaf alone.
      rowHashes.push(hashOfLeaf(leaf));
      return [];
    }
    const text = `entry ${leaf.id} of block ${o.block}, written at ${toUtcText(leaf.microseconds)}, was deleted`;
    return [{ code: 'entry_deleted', block: o.block, entryId: leaf.id, text }];
  };

  /** A leaf of the same name and another time is this entry with its time altered, unless the next leaf fits better. */
  const isPassed = (leaf: Leaf, found: Leaf): boolean => {
    if (compareNames(leaf, found) !== 0) return compareNames(leaf, found) < 0;
    const next = o.leaves[at + 1];
    return leaf.microseconds < found.microseconds && next !== undefined && compareLeaves(next, found) <= 0;
  };

  return {
    take(row) {
      const faults: Fault[] = [];
      const found = leafOf(row);
      rowHashes.push(hashOfLeaf(found));
      let leaf = o.leaves[at];
      for (; leaf !== undefined && isPassed(leaf, found); leaf = o.leaves[at]) faults.push(...passLeaf(leaf));
      if (leaf === undefined || compareNames(leaf, found) > 0) return [...faults, insertedFault(o.block, row)];
      at += 1;
      const fault = differenceOf(o.block, leaf, found, row);
      return fault === null ? faults : [...faults, fault];
    },
    end() {
      const faults = o.leaves.slice(at).flatMap(passLeaf);
      return { faults, retired, root: merkleRoot(rowHashes) };
    },
  };
}

function insertedFault(block: number, row: EntryRow): Fault {
  const text = `entry ${row.id} (${row.service}, ${row.kind}) was put into block ${block} after it was sealed`;
  return { code: 'entry_inserted', block, entryId: row.id, text };
}

function differenceOf(block: number, leaf: Leaf, found: Leaf, row: EntryRow): Fault | null {
  if (leaf.microseconds !== found.microseconds) {
    const text = `entry ${row.id} of block ${block} was written at ${toUtcText(leaf.microseconds)}, but its time was changed to ${row.occurredAt}`;
    return { code: 'entry_time_altered', block, entryId: row.id, text };
  }
  if (leaf.entryHash.equals(found.entryHash)) return null;
  const text = `entry ${row.id} of block ${block} (${row.service}, ${row.kind}, ${row.occurredAt}) was edited`;
  return { code: 'entry_edited', block, entryId: row.id, text };
}
