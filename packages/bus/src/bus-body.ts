import { type BusMessage, busMessageSchema } from '@steward/contracts';
import { deadCodes, maxBodyBytes } from './bus.ts';

/** The body as it travels, or null when it is larger than `maxBodyBytes`. */
export function toBusBody(message: BusMessage): Buffer | null {
  const body = Buffer.from(JSON.stringify(message), 'utf8');
  return body.length > maxBodyBytes ? null : body;
}

export type ParsedBody = { kind: 'valid'; message: BusMessage } | { kind: 'refused'; code: string };

/** Reads a body from the wire. Never throws: what cannot be read is refused with the code that tells why. */
export function parseBusBody(body: Buffer): ParsedBody {
  if (body.length > maxBodyBytes) return { kind: 'refused', code: deadCodes.bodyTooLarge };
  const parsed = busMessageSchema.safeParse(parseJson(body));
  return parsed.success ? { kind: 'valid', message: parsed.data } : { kind: 'refused', code: deadCodes.bodyInvalid };
}

function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'));
  } catch {
    return undefined;
  }
}
