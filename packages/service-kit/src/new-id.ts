import crypto from 'node:crypto';

/**
 * A new UUID version 7: it begins with the current millisecond, so rows keep roughly the order of their birth
 * and indexes stay small (RFC 9562, section 5.7).
 */
export function newId(): string {
  // Node 22 has no randomUUIDv7 yet.
  const { randomUUIDv7 } = crypto as { randomUUIDv7?: () => string };
  return randomUUIDv7?.() ?? buildUuidV7(Date.now(), crypto.randomBytes(10));
}

/** The layout alone, without clock or randomness: 48 bits of milliseconds, version 7, variant 2, ten random bytes. Pure. */
export function buildUuidV7(nowMs: number, random: Buffer): string {
  const bytes = Buffer.alloc(16);
  bytes.writeUIntBE(nowMs, 0, 6);
  random.copy(bytes, 6, 0, 10);
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x70, 6);
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8);
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
