import { z } from 'zod';
import { cleanJson, truncate } from './clean-json.ts';
import { lenientBoolean, lenientMs, lenientText, listFaults, optionalId, requiredId } from './lenient.ts';
import { readContent } from './read-content.ts';
import type { RobotMessageContent } from './read-content.ts';

/** A robot message in one clean shape, the same for HTTP callbacks and for the Stream socket. */
export type RobotMessageView = {
  /** Stable across redelivery, but shared by all robots mentioned in one message: the key is (robotCode, msgId). */
  msgId: string;
  /** Absent for custom robots. */
  robotCode: string | null;
  /** The organisation the robot lives in. */
  robotCorpId: string | null;
  conversationId: string;
  conversationKind: 'single' | 'group';
  title: string | null;
  /** `staffId` is null for people outside the robot's organisation and while the app is unpublished: trust nobody then. */
  sender: { staffId: string | null; corpId: string | null; nick: string };
  /** Null when the platform sent none. */
  createdAtMs: number | null;
  content: RobotMessageContent;
  /** Where to answer without a token, until it expires. Unchecked: see `checkSessionWebhook`. */
  replyAddress: { sessionWebhook: string; expiresAtMs: number } | null;
  isInAtList: boolean;
  /** The robot hears itself: the sender's id is the robot's own (official docs: chatbotUserId). */
  isOwnEcho: boolean;
  /** NUL or lone surrogates were replaced by U+FFFD somewhere in the payload. */
  hadInvalidText: boolean;
};

export type ParsedRobotMessage = { ok: true; view: RobotMessageView } | { ok: false; faults: string };

/** The over-quota notice: inbound is dead until the plan is raised or the month ends. Official docs, "robot receives messages". */
const quotaErrorCode = '20001';

const nested = z.record(z.string(), z.unknown()).nullable().catch(null).default(null);

const robotMessageSchema = z.object({
  msgId: requiredId(300),
  msgtype: lenientText,
  createAt: lenientMs,
  conversationId: requiredId(200),
  // Documented as the text "1" or "2"; numbers were seen.
  conversationType: z.union([z.literal(['1', '2']), z.literal([1, 2]).transform(String)]),
  conversationTitle: lenientText,
  robotCode: optionalId(200),
  chatbotCorpId: optionalId(200),
  senderStaffId: optionalId(200),
  senderCorpId: optionalId(200),
  senderNick: lenientText,
  senderId: lenientText,
  chatbotUserId: lenientText,
  isInAtList: lenientBoolean,
  sessionWebhook: optionalId(2_000),
  sessionWebhookExpiredTime: lenientMs,
  text: nested,
  content: z.union([z.string(), nested]),
  errorCode: lenientText,
  errorMessage: lenientText,
});

/**
 * Turns a decoded robot payload into a view. Lenient on everything but identity: without msgId, conversationId and
 * conversationType it is refused, with paths and never with values. Never throws on any JSON value. Lengths are capped
 * (text 20,000 units, title 500, nick 200); ids are never cut.
 */
export function parseRobotMessage(raw: unknown): ParsedRobotMessage {
  const { value, hadInvalidText } = cleanJson(raw);
  const parsed = robotMessageSchema.safeParse(value);
  if (!parsed.success) return { ok: false, faults: listFaults(parsed.error) };
  return { ok: true, view: toView(parsed.data, hadInvalidText) };
}

const isPresent = (id: string | null): boolean => id !== null && id !== '';

function toView(payload: z.infer<typeof robotMessageSchema>, hadInvalidText: boolean): RobotMessageView {
  const { sessionWebhook, sessionWebhookExpiredTime: expiresAtMs } = payload;
  return {
    msgId: payload.msgId,
    robotCode: payload.robotCode,
    robotCorpId: payload.chatbotCorpId,
    conversationId: payload.conversationId,
    conversationKind: payload.conversationType === '1' ? 'single' : 'group',
    title: payload.conversationTitle === null ? null : truncate(payload.conversationTitle, 500),
    sender: {
      staffId: payload.senderStaffId,
      corpId: payload.senderCorpId,
      nick: truncate(payload.senderNick ?? '', 200),
    },
    createdAtMs: payload.createAt,
    content:
      payload.errorCode === quotaErrorCode
        ? { kind: 'quota_notice', text: truncate(payload.errorMessage ?? '', 2_000) }
        : readContent(payload),
    replyAddress: sessionWebhook === null || expiresAtMs === null ? null : { sessionWebhook, expiresAtMs },
    isInAtList: payload.isInAtList,
    isOwnEcho: isPresent(payload.senderId) && payload.senderId === payload.chatbotUserId,
    hadInvalidText,
  };
}
