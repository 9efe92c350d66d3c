import { checkSignature, endOfEpoch, hashBlock, noHash, type Block } from './block.ts';
import type { Checkpoint } from './checkpoint.ts';
import type { Fault } from './fault.ts';
import type { PublicKeys } from './seal-key.ts';

/** Whether a block is what was signed. Pure. */
export function verifySignedBlock(block: Block, publicKeys: PublicKeys): Fault[] {
  const of = { block: block.number };
  if (hashBlock(block) !== block.hash) {
    return [
      { ...of, code: 'block_altered', text: `block ${block.number} was altered: its hash is not that of its content` },
    ];
  }
  return verifyHead(block, publicKeys, `block ${block.number}`).map((fault) => ({ ...of, ...fault }));
}

/** Whether a checkpoint was signed by a known key. Pure. */
export function verifyCheckpoint(checkpoint: Checkpoint, publicKeys: PublicKeys): Fault[] {
  const [fault] = verifyHead(checkpoint, publicKeys, `the checkpoint of block ${checkpoint.number}`);
  return fault === undefined ? [] : [{ ...fault, code: 'checkpoint_bad' }];
}

function verifyHead(head: Checkpoint, publicKeys: PublicKeys, name: string): Fault[] {
  switch (checkSignature(head, publicKeys)) {
    case 'good':
      return [];
    case 'bad':
      return [{ code: 'signature_bad', text: `${name} is not signed by key ${head.keyId}` }];
    case 'unknown_key':
      return [{ code: 'key_unknown', text: `${name} is signed by key ${head.keyId}, whose public key was not given` }];
  }
}

/** Whether a block follows the one before (null: it is the first of all) without a gap. Pure. */
export function verifyLink(previous: Block | null, block: Block): Fault[] {
  const of = { block: block.number };
  const expected = (previous?.number ?? 0) + 1;
  if (block.number !== expected) {
    const missing =
      block.number - 1 === expected ? `block ${expected} is` : `blocks ${expected} to ${block.number - 1} are`;
    return [{ block: expected, code: 'block_missing', text: `${missing} missing` }];
  }
  if (block.previousHash !== (previous?.hash ?? noHash)) {
    const text = `block ${block.number} was sealed after another block ${expected - 1} than the one that is there`;
    return [{ ...of, code: 'block_unchained', text }];
  }
  const startsAnew = previous === null || previous.kind === 'restore';
  const followsInEpoch = block.epoch === (previous === null ? 1 : previous.epoch + (startsAnew ? 1 : 0));
  const followsInOrder = block.fromTransaction === (startsAnew ? '0' : previous.toTransaction);
  const endsRight = (block.kind === 'restore') === (block.toTransaction === endOfEpoch);
  if (followsInEpoch && followsInOrder && endsRight) return [];
  return [{ ...of, code: 'block_gap', text: `block ${block.number} leaves a gap after block ${expected - 1}` }];
}
