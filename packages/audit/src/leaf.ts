import { AppError } from '@steward/service-kit';
import { hashEntry, type EntryRow } from './canonical-entry.ts';
import { hashLeaf } from './merkle.ts';

/**
 * What a block keeps of an entry, and what its root is made of: enough to say which entry was changed, removed or put in,
 * and in which month it lay. `transactionId` and `microseconds` (since 1970) are 64-bit.
 */
export type Leaf = { id: string; transactionId: bigint; microseconds: bigint; entryHash: Buffer };

/** Bytes of a leaf: id 16, transaction 8, time 8, hash 32. */
export const leafBytes = 64;

/** The leaf of an entry as it is now. Throws AUDIT_FORM_INVALID for a time or number that cannot be. Pure. */
export function leafOf(row: EntryRow): Leaf {
  return {
    id: row.id,
    transactionId: BigInt(row.transactionId),
    microseconds: toMicroseconds(row.occurredAt),
    entryHash: hashEntry(row),
  };
}

/** Pure. */
export function encodeLeaf(leaf: Leaf): Buffer {
  const bytes = Buffer.alloc(leafBytes);
  bytes.write(leaf.id.replaceAll('-', ''), 0, 'hex');
  bytes.writeBigInt64BE(leaf.transactionId, 16);
  bytes.writeBigInt64BE(leaf.microseconds, 24);
  leaf.entryHash.copy(bytes, 32);
  return bytes;
}

/** All leaves of the bytes of a block's list. Throws AUDIT_FORM_INVALID when the length is wrong. Pure. */
export function decodeLeaves(bytes: Buffer): Leaf[] {
  if (bytes.length % leafBytes !== 0) throw invalid('a list of leaves has a length that cannot be');
  return Array.from({ length: bytes.length / leafBytes }, (_, at) => {
    const leaf = bytes.subarray(at * leafBytes, (at + 1) * leafBytes);
    const hex = leaf.toString('hex', 0, 16);
    return {
      id: [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-'),
      transactionId: leaf.readBigInt64BE(16),
      microseconds: leaf.readBigInt64BE(24),
      entryHash: leaf.subarray(32),
    };
  });
}

/** The hash of a leaf in the tree. Pure. */
export const hashOfLeaf = (leaf: Leaf): Buffer => hashLeaf(encodeLeaf(leaf));

/** The order within a block: transaction, id, time. One transaction may have written two entries of one id. Pure. */
export function compareLeaves(a: LeafPlace, b: LeafPlace): number {
  const byName = compareNames(a, b);
  if (byName !== 0 || a.microseconds === b.microseconds) return byName;
  return a.microseconds < b.microseconds ? -1 : 1;
}

type LeafPlace = Pick<Leaf, 'id' | 'transactionId' | 'microseconds'>;

/** The same without the time, which somebody may have altered. Pure. */
export function compareNames(a: Pick<Leaf, 'id' | 'transactionId'>, b: Pick<Leaf, 'id' | 'transactionId'>): number {
  if (a.transactionId !== b.transactionId) return a.transactionId < b.transactionId ? -1 : 1;
  return a.id === b.id ? 0 : a.id < b.id ? -1 : 1;
}

const utcForm = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.(\d{6})Z$/;

/** Microseconds since 1970 of a time as this package writes it. Throws AUDIT_FORM_INVALID for another form. Pure. */
export function toMicroseconds(utcText: string): bigint {
  const [, seconds = '', micros = ''] = utcForm.exec(utcText) ?? [];
  const milliseconds = Date.parse(`${seconds}Z`);
  if (Number.isNaN(milliseconds)) throw invalid('a time is not in the form of the audit log');
  return BigInt(milliseconds) * 1_000n + BigInt(micros);
}

/** The same time as text, UTC with microseconds. Pure. */
export function toUtcText(microseconds: bigint): string {
  const second = microseconds / 1_000_000n - (microseconds % 1_000_000n < 0n ? 1n : 0n);
  const micros = String(microseconds - second * 1_000_000n).padStart(6, '0');
  return `${new Date(Number(second) * 1_000).toISOString().slice(0, 19)}.${micros}Z`;
}

const invalid = (text: string) => new AppError('AUDIT_FORM_INVALID', text, { retryable: false });
