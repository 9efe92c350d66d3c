import { createCipheriv, createDecipheriv, createSecretKey, randomBytes, type KeyObject } from 'node:crypto';
import { AppError } from './errors.ts';
import { registerSecret } from './secret-registry.ts';

/** Keys by id. The first of the file seals; all of them open, so that old seals outlive a rotation. */
export type SealKeys = { sealWith: string; keys: ReadonlyMap<string, KeyObject> };

const KEY_BYTES = 32;
const IV_BYTES = 12;
const TAG_BYTES = 16;
const KEY_LINE = /^([A-Za-z0-9_-]{1,32}):([A-Za-z0-9+/]{43}=)$/;

/**
 * Reads key lines `<id>:<base64 of 32 bytes>`; empty lines and lines that begin with # are skipped.
 * Throws AppError SEAL_KEYS_INVALID that names the line, never its content. The keys are masked in logs from here on.
 */
export function parseSealKeys(text: string): SealKeys {
  const keys = new Map<string, KeyObject>();
  for (const [at, line] of text.split(/\r?\n/).entries()) {
    if (/^\s*(?:#|$)/.test(line)) continue;
    const [, id, base64] = KEY_LINE.exec(line.trim()) ?? [];
    if (id === undefined || base64 === undefined) throw invalidKeys(`line ${at + 1} is not <id>:<base64 of 32 bytes>`);
    if (keys.has(id)) throw invalidKeys(`line ${at + 1} repeats an id`);
    registerSecret(base64);
    keys.set(id, createSecretKey(Buffer.from(base64, 'base64').subarray(0, KEY_BYTES)));
  }
  const [sealWith] = keys.keys();
  if (sealWith === undefined) throw invalidKeys('there is no key');
  return { sealWith, keys };
}

/**
 * Seals a text with AES-256-GCM under the first key: `v1.<key id>.<base64url of iv, ciphertext, tag>`.
 * `aad` says what the text belongs to; it is not hidden, but the seal opens only with the same one.
 */
export function sealText(keys: SealKeys, text: string, aad: string): string {
  const key = findKey(keys, keys.sealWith);
  const iv = randomBytes(IV_BYTES);
  const cipher = createCipheriv('aes-256-gcm', key, iv, { authTagLength: TAG_BYTES });
  cipher.setAAD(bindAad(keys.sealWith, aad));
  const sealed = Buffer.concat([iv, cipher.update(text, 'utf8'), cipher.final(), cipher.getAuthTag()]);
  return `v1.${keys.sealWith}.${sealed.toString('base64url')}`;
}

/**
 * Opens what `sealText` made. Throws AppError SEAL_KEY_UNKNOWN (its key was removed, or is not here yet) or SEAL_BROKEN
 * (altered, cut, or sealed for another `aad`); neither is retryable and neither says what was inside.
 */
export function openText(keys: SealKeys, sealed: string, aad: string): string {
  const [, id, base64] = /^v1\.([A-Za-z0-9_-]{1,32})\.([A-Za-z0-9_-]+)$/.exec(sealed) ?? [];
  const bytes = Buffer.from(base64 ?? '', 'base64url');
  if (id === undefined || bytes.length < IV_BYTES + TAG_BYTES) throw broken();
  const key = findKey(keys, id);
  try {
    const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, IV_BYTES), { authTagLength: TAG_BYTES });
    decipher.setAAD(bindAad(id, aad));
    decipher.setAuthTag(bytes.subarray(-TAG_BYTES));
    const text = decipher.update(bytes.subarray(IV_BYTES, -TAG_BYTES));
    return Buffer.concat([text, decipher.final()]).toString('utf8');
  } catch {
    throw broken();
  }
}

/** The header is authenticated too: nobody can move a seal under another version or key id. */
function bindAad(id: string, aad: string): Buffer {
  return Buffer.from(`v1.${id}.${aad}`, 'utf8');
}

function findKey({ keys }: SealKeys, id: string): KeyObject {
  const key = keys.get(id);
  if (key === undefined)
    throw new AppError('SEAL_KEY_UNKNOWN', 'sealed with a key that is not here', { retryable: false });
  return key;
}

function broken(): AppError {
  return new AppError('SEAL_BROKEN', 'the seal does not open', { retryable: false });
}

function invalidKeys(why: string): AppError {
  return new AppError('SEAL_KEYS_INVALID', `seal keys: ${why}`, { retryable: false });
}
