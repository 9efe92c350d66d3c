import { z } from 'zod';

/** The last moment a four-digit year can name: what is later cannot be written as an ISO date. */
const lastMs = 253_402_300_799_999;

/** A text where documents and samples disagree between string and number; anything else counts as absent. */
export const lenientText = z
  .union([z.string(), z.number().transform(String)])
  .nullable()
  .catch(null)
  .default(null);

/** A moment in ms since the epoch, as number or decimal text; anything else counts as absent. */
export const lenientMs = z
  .union([z.number(), z.string().trim().min(1).transform(Number)])
  .pipe(z.number().int().min(0).max(lastMs))
  .nullable()
  .catch(null)
  .default(null);

export const lenientBoolean = z
  .union([z.boolean(), z.literal(['true', 'false']).transform((text) => text === 'true')])
  .catch(false)
  .default(false);

/**
 * An id that must be there. Too long is refused, never cut: half an id may be somebody else's.
 */
export function requiredId(maxLength: number) {
  return z.union([z.string(), z.number().transform(String)]).pipe(z.string().min(1).max(maxLength));
}

/** An id that may be absent; empty or too long counts as absent. */
export function optionalId(maxLength: number) {
  return requiredId(maxLength).nullable().catch(null).default(null);
}

/** Short words on what was wrong, with paths and without the values. */
export function listFaults(error: z.ZodError): string {
  return error.issues
    .slice(0, 5)
    .map((issue) => `${issue.path.join('.') || 'body'}: ${issue.code}`)
    .join('; ');
}
