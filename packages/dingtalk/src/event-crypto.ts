import { createCipheriv, createDecipheriv, createHash } from 'node:crypto';
import { AppError } from '@steward/service-kit';
import { equalsInConstantTime } from './signatures.ts';

/** What the console shows for the encrypted HTTP push. `ownerKey` is the AppKey for app-level subscriptions (official docs, "encryption and decryption"). */
export type EventKeys = { token: string; aesKey: string; ownerKey: string };

/** The signed parts of one push: three from the query, `encrypt` from the body. */
export type SealedEvent = { signature: string; timestamp: string; nonce: string; encrypt: string };

/** The platform's own numbers for what went wrong, and our code for each. */
const faults = {
  900004: { code: 'EVENT_AES_KEY_INVALID', text: 'The aes_key must have 43 letters or digits' },
  900005: { code: 'EVENT_SIGNATURE_MISMATCH', text: 'The signature of the encrypted push is wrong' },
  900008: { code: 'EVENT_DECRYPT_FAILED', text: 'The encrypted push cannot be decrypted' },
  900010: { code: 'EVENT_OWNER_MISMATCH', text: 'The encrypted push belongs to another app or organisation' },
} as const;

/** Callers limit bodies; this is the last line. */
const maxEncryptedLength = 1_000_000;
const paddingBlockBytes = 32;

/** Reads the query of a push in both spellings the platform uses: msg_signature | signature, timestamp | timeStamp. Null when a part is absent. */
export function readEventQuery(query: Record<string, unknown>): Omit<SealedEvent, 'encrypt'> | null {
  const first = (...names: string[]) =>
    names.map((name) => query[name]).find((value): value is string => typeof value === 'string' && value !== '');
  const signature = first('msg_signature', 'signature');
  const timestamp = first('timestamp', 'timeStamp');
  const nonce = first('nonce');
  return signature && timestamp && nonce ? { signature, timestamp, nonce } : null;
}

/** sha1hex of token, timestamp, nonce and ciphertext in lexicographic order. */
export function signEvent(o: { token: string; timestamp: string; nonce: string; encrypt: string }): string {
  const sorted = [o.token, o.timestamp, o.nonce, o.encrypt].sort();
  return createHash('sha1').update(sorted.join('')).digest('hex');
}

/**
 * Checks signature and owner of a push and returns its plain text. Throws AppError (not retryable) whose
 * `details.platformCode` is 900004 bad key, 900005 signature, 900008 ciphertext or 900010 owner.
 */
export function decryptEvent(keys: EventKeys, sealed: SealedEvent): string {
  const key = toAesKey(keys.aesKey);
  if (!equalsInConstantTime(sealed.signature, signEvent({ token: keys.token, ...sealed }))) throw fault(900005);
  const plain = decipher(key, sealed.encrypt);
  // random(16) | length(4, big endian) | text | ownerKey
  if (plain.length < 20) throw fault(900008);
  const textEnd = 20 + plain.readUInt32BE(16);
  if (textEnd > plain.length) throw fault(900008);
  if (!equalsInConstantTime(plain.toString('utf8', textEnd), keys.ownerKey)) throw fault(900010);
  return plain.toString('utf8', 20, textEnd);
}

/** The encrypted answer to a push (the word `success`), or a push itself. `random` has 16 bytes. Note the platform's capital S in `timeStamp`. */
export function encryptEvent(
  keys: EventKeys,
  o: { text: string; timestamp: string; nonce: string; random: Buffer },
): { msg_signature: string; timeStamp: string; nonce: string; encrypt: string } {
  const text = Buffer.from(o.text, 'utf8');
  const length = Buffer.alloc(4);
  length.writeUInt32BE(text.length);
  const plain = Buffer.concat([o.random.subarray(0, 16), length, text, Buffer.from(keys.ownerKey, 'utf8')]);
  const pad = paddingBlockBytes - (plain.length % paddingBlockBytes);
  const key = toAesKey(keys.aesKey);
  const cipher = createCipheriv('aes-256-cbc', key, key.subarray(0, 16)).setAutoPadding(false);
  const padded = Buffer.concat([plain, Buffer.alloc(pad, pad)]);
  const encrypt = Buffer.concat([cipher.update(padded), cipher.final()]).toString('base64');
  const msg_signature = signEvent({ token: keys.token, timestamp: o.timestamp, nonce: o.nonce, encrypt });
  return { msg_signature, timeStamp: o.timestamp, nonce: o.nonce, encrypt };
}

function decipher(key: Buffer, encrypt: string): Buffer {
  if (encrypt.length > maxEncryptedLength || !/^[A-Za-z0-9+/]+={0,2}$/.test(encrypt)) throw fault(900008);
  try {
    const cipher = createDecipheriv('aes-256-cbc', key, key.subarray(0, 16)).setAutoPadding(false);
    const padded = Buffer.concat([cipher.update(Buffer.from(encrypt, 'base64')), cipher.final()]);
    const pad = padded.at(-1) ?? 0;
    // As the official implementation does: a last byte outside 1..32 means "no padding".
    return pad >= 1 && pad <= paddingBlockBytes ? padded.subarray(0, Math.max(0, padded.length - pad)) : padded;
  } catch (cause) {
    throw fault(900008, cause);
  }
}

function toAesKey(aesKey: string): Buffer {
  if (!/^[A-Za-z0-9]{43}$/.test(aesKey)) throw fault(900004);
  return Buffer.from(`${aesKey}=`, 'base64');
}

function fault(platformCode: keyof typeof faults, cause?: unknown): AppError {
  const { code, text } = faults[platformCode];
  return new AppError(code, text, { retryable: false, cause, details: { platformCode } });
}
