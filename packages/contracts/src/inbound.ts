import { z } from 'zod';
import { conversationSchema, envelopeShape, environmentSchema, sealedSchema } from './envelope.ts';

/** Who spoke, as the platform vouches for it. `staffId` is null for people outside the robot's organisation. */
export const requesterSchema = z.object({
  staffId: z.string().min(1).max(200).nullable(),
  corpId: z.string().max(200).nullable(),
  nick: z.string().max(200),
});
export type Requester = z.infer<typeof requesterSchema>;

/** A reply address that dies: the sealed session webhook and the moment it expires. */
export const replyAddressSchema = z.object({ sealedUrl: sealedSchema, expiresAt: z.iso.datetime() });
export type ReplyAddress = z.infer<typeof replyAddressSchema>;

/** What a sealed reply address is bound to: it opens only for the same robot and conversation. */
export const replyAddressContext = (robotCode: string, conversationId: string): string =>
  `${robotCode}\n${conversationId}`;

/** What a person sent, reduced to what Steward can use. Text is at most 20,000 characters, trimmed of the @. */
export const inboundContentSchema = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('text'),
    text: z.string().max(20_000),
    /** What the person quoted, when the platform told us. */
    quotedText: z.string().max(20_000).nullable(),
    /** Pictures or files that came along and were not read. */
    attachments: z.number().int().min(0).max(100),
  }),
  z.object({ kind: z.literal('unsupported'), msgtype: z.string().max(100) }),
  z.object({ kind: z.literal('quota_notice'), text: z.string().max(2_000) }),
]);
export type InboundContent = z.infer<typeof inboundContentSchema>;

/** adapter → agent-core: a person's message was recorded in the ledger. */
export const inboundReceivedSchema = z.object({
  type: z.literal('inbound.received.v1'),
  ...envelopeShape,
  body: z.object({
    inboundEventId: z.uuid(),
    msgId: z.string().min(1).max(300),
    /** Gapless within (robotCode, conversationId), from 1, in the order of acceptance. */
    sequence: z.number().int().positive(),
    environment: environmentSchema,
    conversation: conversationSchema,
    requester: requesterSchema,
    content: inboundContentSchema,
    replyAddress: replyAddressSchema.nullable(),
    sentAt: z.iso.datetime(),
    door: z.enum(['http', 'stream']),
  }),
});
export type InboundReceived = z.infer<typeof inboundReceivedSchema>;

/** Whether a button's parameters are small enough to travel. */
export const fitsParams = (params: Record<string, unknown>): boolean => JSON.stringify(params).length <= 20_000;

/** adapter → agent-core: a person pressed a button of a card. */
export const cardClickedSchema = z.object({
  type: z.literal('card.clicked.v1'),
  ...envelopeShape,
  body: z.object({
    inboundEventId: z.uuid(),
    app: z.string().min(1).max(200),
    environment: environmentSchema,
    outTrackId: z.string().min(1).max(100),
    corpId: z.string().max(200).nullable(),
    staffId: z.string().min(1).max(200),
    spaceId: z.string().max(1_000).nullable(),
    actionIds: z.array(z.string().max(200)).max(20),
    /** What the button carries: at most 20,000 characters as JSON. */
    params: z.record(z.string().max(200), z.unknown()).refine(fitsParams, 'too large'),
    door: z.enum(['http', 'stream']),
  }),
});
export type CardClicked = z.infer<typeof cardClickedSchema>;

/** agent-core → adapter: the receipt. This inbound event is recorded there, publishing it again is pointless. */
export const inboundSettledSchema = z.object({
  type: z.literal('inbound.settled.v1'),
  ...envelopeShape,
  body: z.object({ inboundEventId: z.uuid() }),
});
export type InboundSettled = z.infer<typeof inboundSettledSchema>;

/** agent-core → adapter: these numbers of a conversation never came; please publish them again now. */
export const inboundMissingSchema = z.object({
  type: z.literal('inbound.missing.v1'),
  ...envelopeShape,
  body: z.object({
    robotCode: z.string().min(1).max(200),
    conversationId: z.string().min(1).max(200),
    fromSequence: z.number().int().positive(),
    toSequence: z.number().int().positive(),
  }),
});
export type InboundMissing = z.infer<typeof inboundMissingSchema>;
