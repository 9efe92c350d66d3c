import { appendFile, open } from 'node:fs/promises';
import { AppError } from '@steward/service-kit';
import type { BlockHead } from './block.ts';

/** The head of a block, kept where nobody who can change the database can change it: a witness. */
export type Checkpoint = BlockHead & { signature: string };

const form =
  /steward-checkpoint v1 number=(\d{1,15}) epoch=(\d{1,9}) hash=([0-9a-f]{64}) sealed_at=(\S{27}) key=([0-9a-f]{16}) signature=([0-9a-f]{128})(?![0-9a-f])/g;
const textLimit = 64 * 1024 * 1024;

/** One line, the same as audit.newest_checkpoint() gives. Pure. */
export function checkpointLine({ number, epoch, hash, sealedAt, keyId, signature }: Checkpoint): string {
  return `steward-checkpoint v1 number=${number} epoch=${epoch} hash=${hash} sealed_at=${sealedAt} key=${keyId} signature=${signature}`;
}

/**
 * Every checkpoint in a text, in its order, whatever stands around them: a file of them, or a message copied from a room.
 * Throws CHECKPOINT_INVALID when there is none. Pure.
 */
export function readCheckpoints(text: string): Checkpoint[] {
  if (text.length > textLimit) throw invalid('the text with checkpoints is too long');
  const found = [...text.matchAll(form)].map(
    ([, number, epoch, hash = '', sealedAt = '', keyId = '', signature = '']): Checkpoint => ({
      number: Number(number),
      epoch: Number(epoch),
      hash,
      sealedAt,
      keyId,
      signature,
    }),
  );
  if (found.length === 0) throw invalid('there is no checkpoint in this text');
  return found;
}

/** Adds a line to a file of checkpoints and waits until the disk has it. Rejects with CHECKPOINT_NOT_WRITTEN (retryable). */
export async function appendCheckpoint(path: string, line: string): Promise<void> {
  try {
    await appendFile(path, `${line}\n`, { mode: 0o644 });
    const file = await open(path, 'r+');
    try {
      await file.sync();
    } finally {
      await file.close();
    }
  } catch (cause) {
    const text = 'the checkpoint file cannot be written; check that its folder exists and belongs to the sealer';
    throw new AppError('CHECKPOINT_NOT_WRITTEN', text, { retryable: true, cause });
  }
}

const invalid = (text: string) => new AppError('CHECKPOINT_INVALID', text, { retryable: false });
