import { z } from 'zod';
import { cleanJson, parseCleanJson } from './clean-json.ts';
import { lenientMs, optionalId } from './lenient.ts';

/** Something that happened in the organisation (somebody left, an approval moved), pushed by HTTP or Stream. */
export type PlatformEventView = {
  /** The key for deduplication within one app; null where the platform sent none. */
  eventId: string | null;
  /** For example `check_url`, `user_leave_org`, `bpms_instance_change`; empty when absent. */
  eventType: string;
  corpId: string | null;
  bornAtMs: number | null;
  /** Business fields as they came, cleaned of text that cannot be stored. HTTP has the meta fields among them, Stream has not. */
  payload: Record<string, unknown>;
  hadInvalidText: boolean;
};

const payloadSchema = z.record(z.string(), z.unknown());
const httpMetaSchema = z.object({
  EventType: optionalId(200),
  eventId: optionalId(300),
  CorpId: optionalId(200),
  EventTime: lenientMs,
});

/** Reads the decrypted text of an HTTP push (flat, PascalCase meta fields). Null when it is not a JSON object. */
export function parsePlatformEvent(decrypted: string): PlatformEventView | null {
  const parsed = parseCleanJson(decrypted);
  const payload = payloadSchema.safeParse(parsed?.value);
  if (!payload.success) return null;
  const meta = httpMetaSchema.parse(payload.data);
  return {
    eventId: meta.eventId,
    eventType: meta.EventType ?? '',
    corpId: meta.CorpId,
    bornAtMs: meta.EventTime,
    payload: payload.data,
    hadInvalidText: parsed?.hadInvalidText ?? false,
  };
}

const streamMetaSchema = z.object({
  eventType: optionalId(200),
  eventId: optionalId(300),
  eventCorpId: optionalId(200),
  eventBornTime: lenientMs,
});

/** Reads an EVENT frame: meta fields from the frame's headers, business fields from its decoded data. */
export function toPlatformEvent(headers: Record<string, unknown>, decoded: unknown): PlatformEventView {
  const meta = streamMetaSchema.parse(headers);
  const clean = cleanJson(decoded);
  const payload = payloadSchema.safeParse(clean.value);
  return {
    eventId: meta.eventId,
    eventType: meta.eventType ?? '',
    corpId: meta.eventCorpId,
    bornAtMs: meta.eventBornTime,
    payload: payload.success ? payload.data : {},
    hadInvalidText: clean.hadInvalidText,
  };
}
