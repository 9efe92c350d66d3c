import { createPrivateKey, createPublicKey, generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { AppError } from '@steward/service-kit';
import { toSignedClaims } from '@steward/governance';

const maxKeyBytes = 4_096;
/** What of an Ed25519 public key in DER form comes before its 32 bytes (RFC 8410). */
const derHeadBytes = 12;

/**
 * Makes an operator's key: the private half goes into a new file that only its owner may read (PKCS #8 PEM), the public half
 * is returned as `people[].operatorKey` wants it. Throws KEY_FILE_EXISTS, KEY_FILE_UNUSABLE.
 */
export function createOperatorKey(file: string): { publicKey: string } {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  writeKeyFile(file, privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(), 0o600);
  return { publicKey: toOperatorKey(publicKey) };
}

/** The public half of an operator's key file. Throws KEY_FILE_UNUSABLE. */
export const publicKeyOf = (file: string): string => toOperatorKey(createPublicKey(readOperatorKey(file)));

/**
 * Writes a new file and never over an old one: a key that is lost cannot be made again. Throws KEY_FILE_EXISTS, KEY_FILE_UNUSABLE.
 */
export function writeKeyFile(file: string, text: string, mode: number): void {
  try {
    writeFileSync(file, text, { mode, flag: 'wx' });
  } catch (cause) {
    const isThere = (Object(cause) as { code?: unknown }).code === 'EEXIST';
    const why = isThere ? 'there is such a file already; choose another name' : 'the file cannot be written';
    throw new AppError(isThere ? 'KEY_FILE_EXISTS' : 'KEY_FILE_UNUSABLE', why, { retryable: false, cause });
  }
}

/** Signs what an operator asks for with the key of a file; returns base64. Throws KEY_FILE_UNUSABLE. */
export function signClaims(o: { keyFile: string; verb: string; claims: object }): string {
  return sign(null, toSignedClaims(o.verb, o.claims), readOperatorKey(o.keyFile)).toString('base64');
}

function readOperatorKey(file: string): KeyObject {
  let key: KeyObject;
  try {
    const { mode, size } = statSync(file);
    if ((mode & 0o077) !== 0) throw unusable('others may read the key file; run `chmod 600` on it');
    if (size > maxKeyBytes) throw unusable('the key file is no key');
    key = createPrivateKey(readFileSync(file));
  } catch (cause) {
    if (cause instanceof AppError) throw cause;
    // What OpenSSL says about a secret stays here.
    throw unusable('the key file cannot be read, or holds no private key; `steward key new` makes one');
  }
  if (key.asymmetricKeyType === 'ed25519') return key;
  throw unusable('the key file holds no Ed25519 key; `steward key new` makes one');
}

const toOperatorKey = (publicKey: KeyObject): string =>
  publicKey.export({ type: 'spki', format: 'der' }).subarray(derHeadBytes).toString('base64');

const unusable = (text: string) => new AppError('KEY_FILE_UNUSABLE', text, { retryable: false });
