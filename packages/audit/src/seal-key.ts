import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { AppError } from '@steward/service-kit';
import { sha256 } from './canonical-json.ts';

/** The key that seals: Ed25519. `keyId` names it in every block. */
export type SealKey = { privateKey: KeyObject; keyId: string };

/** Public keys by their id: the present one and every retired one, whose blocks still verify. */
export type PublicKeys = ReadonlyMap<string, KeyObject>;

/** A new key: the private part for the sealer's secret file (PKCS #8 PEM), the public part for whoever verifies (SPKI PEM). */
export function generateSealKey(): { privateKeyPem: string; publicKeyPem: string; keyId: string } {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  return {
    privateKeyPem: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    publicKeyPem: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
    keyId: keyIdOf(publicKey),
  };
}

/** Reads the private key of a secret file. Throws SEAL_KEY_INVALID. */
export function readSealKey(pem: string): SealKey {
  const privateKey = readKey(() => createPrivateKey(pem));
  return { privateKey, keyId: keyIdOf(createPublicKey(privateKey)) };
}

/** Reads public keys of one or more texts, each with one or more SPKI PEM blocks. Throws SEAL_KEY_INVALID, also for none. */
export function readPublicKeys(...texts: readonly string[]): PublicKeys {
  const blocks = texts.join('\n').match(/-----BEGIN PUBLIC KEY-----[^-]+-----END PUBLIC KEY-----/g) ?? [];
  if (blocks.length === 0) throw invalidKey();
  const keys = blocks.map((pem) => readKey(() => createPublicKey(pem)));
  return new Map(keys.map((key) => [keyIdOf(key), key]));
}

/** The public part of a private key, as the PEM text that verifying needs. Throws SEAL_KEY_INVALID. */
export function publicKeyPemOf(privateKeyPem: string): string {
  const key = readKey(() => createPrivateKey(privateKeyPem));
  return createPublicKey(key).export({ type: 'spki', format: 'pem' }).toString();
}

/** How a block names its key: the first 16 hex digits of the SHA-256 of the public key (SPKI, DER). Pure. */
export const keyIdOf = (publicKey: KeyObject): string =>
  sha256(publicKey.export({ type: 'spki', format: 'der' }))
    .toString('hex')
    .slice(0, 16);

function readKey(read: () => KeyObject): KeyObject {
  try {
    const key = read();
    if (key.asymmetricKeyType === 'ed25519') return key;
  } catch {
    // What OpenSSL says about a secret stays here.
  }
  throw invalidKey();
}

const invalidKey = () =>
  new AppError('SEAL_KEY_INVALID', 'this is no Ed25519 key in PEM form; `steward key seal` makes one', {
    retryable: false,
  });
