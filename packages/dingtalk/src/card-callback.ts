import { z } from 'zod';
import { cleanJson, parseCleanJson } from './clean-json.ts';
import { lenientText, listFaults, optionalId, requiredId } from './lenient.ts';

/** A click on a card. There is no click id: the effect must be unique by (outTrackId, person) in our own state. */
export type CardCallbackView = {
  outTrackId: string;
  corpId: string | null;
  /** The clicker, vouched for by the platform. */
  staffId: string;
  /** The conversation that the card stands in, where the platform says it. */
  spaceId: string | null;
  actionIds: string[];
  params: Record<string, unknown>;
  hadInvalidText: boolean;
};
export type ParsedCardCallback = { ok: true; view: CardCallbackView } | { ok: false; faults: string };

const callbackSchema = z.object({
  outTrackId: requiredId(100),
  userId: requiredId(200),
  // 1 (or absent) says that userId is a staffId; other kinds of id name nobody in our configuration.
  userIdType: z.literal([1, '1']).nullish(),
  corpId: optionalId(200),
  spaceId: optionalId(1_000),
  content: lenientText,
  value: lenientText,
});

const contentSchema = z.object({
  cardPrivateData: z
    .object({
      actionIds: z.array(requiredId(200)).max(20).nullish(),
      params: z.record(z.string().max(200), z.unknown()).nullish(),
    })
    .nullish(),
});

/**
 * Turns a decoded card callback (HTTP body, or the twice decoded Stream frame) into a view; decodes `content` once
 * more. Refused without outTrackId, userId or readable content. Never throws on any JSON value.
 */
export function parseCardCallback(raw: unknown): ParsedCardCallback {
  const outer = cleanJson(raw);
  const callback = callbackSchema.safeParse(outer.value);
  if (!callback.success) return { ok: false, faults: listFaults(callback.error) };
  const inner = parseCleanJson(callback.data.content ?? callback.data.value ?? '');
  if (inner === null) return { ok: false, faults: 'content: not_json' };
  const content = contentSchema.safeParse(inner.value);
  if (!content.success) return { ok: false, faults: listFaults(content.error) };
  const { outTrackId, corpId, userId: staffId, spaceId } = callback.data;
  return {
    ok: true,
    view: {
      outTrackId,
      corpId,
      staffId,
      spaceId: toConversationId(spaceId),
      actionIds: content.data.cardPrivateData?.actionIds ?? [],
      params: content.data.cardPrivateData?.params ?? {},
      hadInvalidText: outer.hadInvalidText || inner.hadInvalidText,
    },
  };
}

/**
 * Whether a click names its space as it was named at creation (`dtv1.card//IM_GROUP.cid…`) or by the bare id is documented
 * nowhere; the bare id of one space is what we compare.
 */
function toConversationId(spaceId: string | null): string | null {
  const open = /^dtv1\.card\/\/[A-Za-z_]+\.([^;]+)$/.exec(spaceId ?? '');
  return open?.[1] ?? spaceId;
}

export type CardResponse = {
  cardUpdateOptions: { updateCardDataByKey: true; updatePrivateDataByKey: true };
  cardData?: { cardParamMap: Record<string, string> };
  userPrivateData?: { cardParamMap: Record<string, string> };
};

/**
 * The answer to a click, due within 2 s: new values for everybody and for the clicker alone. By key, because the
 * platform's default overwrites the whole card (official docs, "update card").
 */
export function buildCardResponse(o: {
  everybody?: Record<string, string>;
  clicker?: Record<string, string>;
}): CardResponse {
  return {
    cardUpdateOptions: { updateCardDataByKey: true, updatePrivateDataByKey: true },
    ...(o.everybody && { cardData: { cardParamMap: o.everybody } }),
    ...(o.clicker && { userPrivateData: { cardParamMap: o.clicker } }),
  };
}
