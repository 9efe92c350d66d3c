import { sign, verify } from 'node:crypto';
import { canonicalJson, sha256 } from './canonical-json.ts';
import type { PublicKeys, SealKey } from './seal-key.ts';

/** A sealed run of entries. Hashes in hex, transactions as decimal text, times in UTC microseconds. */
export type Block = {
  number: number;
  epoch: number;
  kind: 'block' | 'restore';
  previousHash: string;
  fromTransaction: string;
  /** The first transaction that is not in it. */
  toTransaction: string;
  entryCount: number;
  root: string;
  sealedAt: string;
  keyId: string;
  hash: string;
  signature: string;
};
export type BlockContent = Omit<Block, 'hash' | 'signature'>;
/** The part of a block that is signed: all that a checkpoint needs. */
export type BlockHead = Pick<Block, 'number' | 'epoch' | 'hash' | 'sealedAt' | 'keyId'>;

/** What the first block names as its predecessor. */
export const noHash = '00'.repeat(32);
/** The end of a restore block: whatever is left in its epoch. */
export const endOfEpoch = '9223372036854775807';

/** SHA-256 of the canonical JSON of everything but hash and signature, in hex. Pure. */
export function hashBlock(block: BlockContent): string {
  const { number, epoch, kind, previousHash, fromTransaction, toTransaction, entryCount, root, sealedAt, keyId } =
    block;
  const content = {
    number,
    epoch,
    kind,
    previousHash,
    fromTransaction,
    toTransaction,
    entryCount,
    root,
    sealedAt,
    keyId,
  };
  return sha256(canonicalJson({ ...content, form: 'steward audit block v1' })).toString('hex');
}

/** Seals a block's content. Pure: Ed25519 signatures are deterministic. */
export function signBlock(content: BlockContent, key: SealKey): Block {
  const block = { ...content, keyId: key.keyId };
  const hash = hashBlock(block);
  const signature = sign(null, signedBytes({ ...block, hash }), key.privateKey).toString('hex');
  return { ...block, hash, signature };
}

/** Whether a known key signed this head: 'unknown_key' when it is not among the keys given. Pure. */
export function checkSignature(
  head: BlockHead & { signature: string },
  publicKeys: PublicKeys,
): 'good' | 'bad' | 'unknown_key' {
  const key = publicKeys.get(head.keyId);
  if (key === undefined) return 'unknown_key';
  return verify(null, signedBytes(head), key, Buffer.from(head.signature, 'hex')) ? 'good' : 'bad';
}

function signedBytes({ number, epoch, hash, sealedAt, keyId }: BlockHead): Buffer {
  return Buffer.from(canonicalJson({ form: 'steward audit head v1', number, epoch, hash, sealedAt, keyId }));
}
