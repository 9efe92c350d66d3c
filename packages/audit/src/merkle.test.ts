import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { sha256 } from './canonical-json.ts';
import { hashLeaf, inclusionPath, merkleRoot, rootOfPath } from './merkle.ts';

/** The definition of RFC 6962, section 2.1, word for word. */
function rootByDefinition(leaves: readonly Buffer[]): Buffer {
  if (leaves.length === 0) return sha256();
  const [only] = leaves;
  if (leaves.length === 1 && only !== undefined) return hashLeaf(only);
  let split = 1;
  while (split * 2 < leaves.length) split *= 2;
  return sha256(Buffer.from([1]), rootByDefinition(leaves.slice(0, split)), rootByDefinition(leaves.slice(split)));
}
const leafLists = fc.array(
  fc.uint8Array({ maxLength: 8 }).map((bytes) => Buffer.from(bytes)),
  { maxLength: 40 },
);

describe('the tree', () => {
  it('has the root of RFC 6962 for every number of leaves', () => {
    fc.assert(
      fc.property(leafLists, (leaves) => {
        expect(merkleRoot(leaves.map(hashLeaf))).toEqual(rootByDefinition(leaves));
      }),
    );
  });

  // The test vectors of the reference implementation of Certificate Transparency.
  it.each([
    [0, 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'],
    [1, '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d'],
    [2, 'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125'],
    [3, 'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77'],
    [8, '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328'],
  ])('has the known root of the first %i known leaves', (count, root) => {
    const hex = ['', '00', '10', '2021', '3031', '40414243', '5051525354555657', '606162636465666768696a6b6c6d6e6f'];
    const leaves = hex.slice(0, count).map((text) => hashLeaf(Buffer.from(text, 'hex')));
    expect(merkleRoot(leaves).toString('hex')).toBe(root);
  });

  it('proves each leaf in its own place, and in no other', () => {
    fc.assert(
      fc.property(
        leafLists.filter(({ length }) => length > 0),
        fc.nat(),
        fc.nat(),
        (leaves, one, other) => {
          const hashes = leaves.map((leaf, at) => hashLeaf(Buffer.concat([leaf, Buffer.from([at])])));
          const size = hashes.length;
          const index = one % size;
          const leafHash = hashes[index] ?? sha256();
          const path = inclusionPath(hashes, index);
          const root = merkleRoot(hashes);
          expect(rootOfPath({ leafHash, index, size, path })).toEqual(root);
          const elsewhere = other % size;
          if (elsewhere !== index) expect(rootOfPath({ leafHash, index: elsewhere, size, path })).not.toEqual(root);
          expect(rootOfPath({ leafHash: sha256(leafHash), index, size, path })).not.toEqual(root);
          expect(rootOfPath({ leafHash, index, size, path: [...path, root] })).toBeNull();
          if (path.length > 0) expect(rootOfPath({ leafHash, index, size, path: path.slice(1) })).toBeNull();
        },
      ),
    );
  });

  it.each([-1, 3, 1.5, Number.NaN])('knows no place %d in a tree of three', (index) => {
    expect(rootOfPath({ leafHash: sha256(), index, size: 3, path: [] })).toBeNull();
  });
});
