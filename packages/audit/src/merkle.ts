import { sha256 } from './canonical-json.ts';

/*
 * The tree of RFC 6962 (Certificate Transparency): leaves and nodes are hashed under different prefixes, so that a node
 * cannot pose as a leaf. Pairing level by level, the odd one going up unchanged, gives the tree of that text.
 */
const leafPrefix = Buffer.from([0]);
const nodePrefix = Buffer.from([1]);

/** The hash of a leaf's bytes. Pure. */
export const hashLeaf = (bytes: Buffer): Buffer => sha256(leafPrefix, bytes);

const hashNode = (left: Buffer, right: Buffer): Buffer => sha256(nodePrefix, left, right);

/** The root over leaf hashes in order; of none, the SHA-256 of nothing. Pure. */
export function merkleRoot(leafHashes: readonly Buffer[]): Buffer {
  let level = leafHashes;
  while (level.length > 1) level = raiseLevel(level);
  return level[0] ?? sha256();
}

/** What has to be hashed with a leaf, from the bottom up, to come to the root. Pure. */
export function inclusionPath(leafHashes: readonly Buffer[], index: number): Buffer[] {
  const path: Buffer[] = [];
  let level = leafHashes;
  for (let at = index; level.length > 1; at = Math.floor(at / 2)) {
    const sibling = level[at % 2 === 0 ? at + 1 : at - 1];
    if (sibling !== undefined) path.push(sibling);
    level = raiseLevel(level);
  }
  return path;
}

/** The root that a leaf and its path lead to; null when the path cannot belong to this place in a tree of that size. Pure. */
export function rootOfPath(o: {
  leafHash: Buffer;
  index: number;
  size: number;
  path: readonly Buffer[];
}): Buffer | null {
  if (!Number.isSafeInteger(o.index) || o.index < 0 || o.index >= o.size) return null;
  let hash = o.leafHash;
  let used = 0;
  for (let at = o.index, width = o.size; width > 1; at = Math.floor(at / 2), width = Math.ceil(width / 2)) {
    if (at % 2 === 0 && at + 1 >= width) continue;
    const sibling = o.path[used];
    if (sibling === undefined) return null;
    used += 1;
    hash = at % 2 === 0 ? hashNode(hash, sibling) : hashNode(sibling, hash);
  }
  return used === o.path.length ? hash : null;
}

function raiseLevel(level: readonly Buffer[]): Buffer[] {
  const above: Buffer[] = [];
  for (let at = 0; at < level.length; at += 2) {
    const left = level[at];
    const right = level[at + 1];
    if (left !== undefined) above.push(right === undefined ? left : hashNode(left, right));
  }
  return above;
}
