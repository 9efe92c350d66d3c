import { createPrivateKey, createPublicKey } from 'node:crypto';
import { AppError } from '@steward/service-kit';

/**
 * The public half of an Ed25519 private key (PKCS #8 PEM) as SPKI PEM: what verifying the audit log needs. Pure.
 * Throws SEAL_KEY_INVALID, without a word of the key.
 */
export function toPublicKey(privateKeyPem: string): string {
  try {
    const key = createPublicKey(createPrivateKey(privateKeyPem));
    if (key.asymmetricKeyType === 'ed25519') return key.export({ type: 'spki', format: 'pem' }).toString();
  } catch {
    // What OpenSSL says about a secret stays here.
  }
  const text =
    'audit-seal.key in the secrets folder is no Ed25519 private key in PEM form; remove it and run deploy/secrets/generate';
  throw new AppError('SEAL_KEY_INVALID', text, { retryable: false });
}
