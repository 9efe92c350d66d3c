import { createHash } from 'node:crypto';
import canonicalize from 'canonicalize';
import { AppError } from '@steward/service-kit';

/** The one text of a JSON value (RFC 8785). Throws AUDIT_FORM_INVALID for what JSON cannot say. Pure. */
export function canonicalJson(value: unknown): string {
  const text = canonicalize(value);
  if (text === undefined) {
    throw new AppError('AUDIT_FORM_INVALID', 'this value has no canonical JSON', { retryable: false });
  }
  return text;
}

/** SHA-256, as 32 bytes. Pure. */
export const sha256 = (...parts: readonly (Buffer | string)[]): Buffer => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest();
};
