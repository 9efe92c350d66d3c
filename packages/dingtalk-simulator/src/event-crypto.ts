import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';

export type EventKeys = { token: string; aesKey: string; ownerKey: string };
export type SealedEvent = { encrypt: string; signature: string; timestamp: string; nonce: string };
type SealOptions = { timestamp: string; nonce: string; random?: Buffer; pad?: 'pkcs32' | 'wrong' };

const BLOCK_BYTES = 32;

/**
 * Encrypts and signs one push as the official docs describe for event subscription (reference section 3.3):
 * AES-256-CBC over random(16) | length(4, big endian) | text | ownerKey with PKCS#7 padding in blocks of 32.
 */
export function sealEvent(keys: EventKeys, text: string, o: SealOptions): SealedEvent {
  const body = Buffer.from(text);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(body.length);
  const plain = Buffer.concat([o.random ?? randomBytes(16), length, body, Buffer.from(keys.ownerKey)]);
  const padBytes = BLOCK_BYTES - (plain.length % BLOCK_BYTES);
  // The wrong padding keeps the block size, so that decryption works and only the check of the padding can object.
  const padValue = o.pad === 'wrong' ? BLOCK_BYTES + 1 : padBytes;
  const { key, iv } = keyOf(keys.aesKey);
  const cipher = createCipheriv('aes-256-cbc', key, iv).setAutoPadding(false);
  const sealed = Buffer.concat([
    cipher.update(Buffer.concat([plain, Buffer.alloc(padBytes, padValue)])),
    cipher.final(),
  ]);
  const encrypt = sealed.toString('base64');
  const { timestamp, nonce } = o;
  return { encrypt, timestamp, nonce, signature: buildEventSignature(keys.token, timestamp, nonce, encrypt) };
}

/** sha1 over the four parts in lexicographic order (reference section 3.3). */
export function buildEventSignature(token: string, timestamp: string, nonce: string, encrypt: string): string {
  return createHash('sha1').update([token, timestamp, nonce, encrypt].sort().join('')).digest('hex');
}

/** The text of a sealed answer, or the reason why it cannot be accepted. */
export function openEvent(keys: EventKeys, sealed: SealedEvent): { text: string } | { refused: string } {
  const expected = buildEventSignature(keys.token, sealed.timestamp, sealed.nonce, sealed.encrypt);
  if (expected !== sealed.signature) return { refused: '900005 signature' };
  const { key, iv } = keyOf(keys.aesKey);
  try {
    const decipher = createDecipheriv('aes-256-cbc', key, iv).setAutoPadding(false);
    const padded = Buffer.concat([decipher.update(Buffer.from(sealed.encrypt, 'base64')), decipher.final()]);
    const last = padded.at(-1) ?? 0;
    const plain = last >= 1 && last <= BLOCK_BYTES ? padded.subarray(0, -last) : padded;
    const end = 20 + plain.readUInt32BE(16);
    if (plain.subarray(end).toString() !== keys.ownerKey) return { refused: '900010 owner' };
    return { text: plain.subarray(20, end).toString() };
  } catch {
    return { refused: '900008 decrypt' };
  }
}

function keyOf(aesKey: string): { key: Buffer; iv: Buffer } {
  const key = Buffer.from(`${aesKey}=`, 'base64');
  return { key, iv: key.subarray(0, 16) };
}
