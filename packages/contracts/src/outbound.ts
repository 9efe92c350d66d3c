import { z } from 'zod';
import { conversationSchema, envelopeShape, environmentSchema, laneSchema } from './envelope.ts';
import { replyAddressSchema } from './inbound.ts';

/** Where an outbound message goes. Single chats are addressed by the person, groups by the conversation. */
export const outboundTargetSchema = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('reply'),
    conversation: conversationSchema,
    /** The person to answer: needed for a single chat once the reply address is dead. */
    staffId: z.string().min(1).max(200).nullable(),
    replyAddress: replyAddressSchema.nullable(),
  }),
  z.object({
    kind: z.literal('group'),
    robotCode: z.string().min(1).max(200),
    conversationId: z.string().min(1).max(200),
  }),
  z.object({
    kind: z.literal('person'),
    robotCode: z.string().min(1).max(200),
    staffId: z.string().min(1).max(200),
  }),
  /** A custom group robot, by its name in the configuration: its webhook is a secret of the sender. */
  z.object({ kind: z.literal('custom_robot'), robot: z.string().min(1).max(200) }),
]);
export type OutboundTarget = z.infer<typeof outboundTargetSchema>;

/** The longest text of one outbound message: in any script it fits a bus message (256 KiB). */
export const maxOutboundTextLength = 40_000;

export const outboundContentSchema = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('text'), text: z.string().min(1).max(maxOutboundTextLength) }),
  z.object({
    kind: z.literal('markdown'),
    title: z.string().min(1).max(200),
    text: z.string().min(1).max(maxOutboundTextLength),
  }),
]);
export type OutboundContent = z.infer<typeof outboundContentSchema>;

/** agent-core → outbound-sender: say this. Asked again until it is settled; the sender's ledger makes that harmless. */
export const outboundRequestedSchema = z.object({
  type: z.literal('outbound.requested.v1'),
  ...envelopeShape,
  body: z.object({
    outboundMessageId: z.uuid(),
    /** The outbound message of the same conversation and lane that must end before this one starts. */
    afterOutboundMessageId: z.uuid().nullable(),
    environment: environmentSchema,
    lane: laneSchema,
    target: outboundTargetSchema,
    content: outboundContentSchema,
  }),
});
export type OutboundRequested = z.infer<typeof outboundRequestedSchema>;

/** The id of an interactive card, ours for its whole life: at most 64 characters fit every limit the platform documents. */
export const outTrackIdSchema = z.string().regex(/^[A-Za-z0-9_-]{1,64}$/);
/** Values of a card's variables: the platform takes strings alone, a name of 100 bytes and a value of 1 KiB. */
const cardParamsSchema = z.record(z.string().min(1).max(100), z.string().max(4_000));

/** What version 2 can ask for besides words: a card, new values on a card, and taking back what was sent. */
export const outboundContentV2Schema = z.discriminatedUnion('kind', [
  ...outboundContentSchema.options,
  z.object({
    kind: z.literal('card'),
    outTrackId: outTrackIdSchema,
    templateId: z.string().min(1).max(200),
    params: cardParamsSchema,
    /** What the list of chats shows for it. */
    lastText: z.string().min(1).max(200),
  }),
  z.object({ kind: z.literal('card_update'), outTrackId: outTrackIdSchema, params: cardParamsSchema }),
  /** Takes back every part of an outbound message that the platform accepted; it keeps the handles for 24 h. */
  z.object({ kind: z.literal('recall'), outboundMessageId: z.uuid() }),
]);
export type OutboundContentV2 = z.infer<typeof outboundContentV2Schema>;

/**
 * agent-core → outbound-sender: the same as version 1, with more kinds of content. A card, its updates and a recall go to
 * a `group` or `person` target: they need the robot, and no reply address can carry them.
 */
export const outboundRequestedV2Schema = z.object({
  ...outboundRequestedSchema.shape,
  type: z.literal('outbound.requested.v2'),
  body: outboundRequestedSchema.shape.body.extend({ content: outboundContentV2Schema }),
});
export type OutboundRequestedV2 = z.infer<typeof outboundRequestedV2Schema>;

/** outbound-sender → agent-core: the receipt. The request stands in the delivery ledger. */
export const outboundRecordedSchema = z.object({
  type: z.literal('outbound.recorded.v1'),
  ...envelopeShape,
  body: z.object({ outboundMessageId: z.uuid() }),
});
export type OutboundRecorded = z.infer<typeof outboundRecordedSchema>;

/** How an outbound message can end. `accepted`: the platform said yes, which is not yet "read". */
export const outboundEndingSchema = z.enum(['accepted', 'merged', 'failed', 'discarded', 'unknown']);
export type OutboundEnding = z.infer<typeof outboundEndingSchema>;

/** outbound-sender → agent-core: this outbound message has ended. */
export const outboundSettledSchema = z.object({
  type: z.literal('outbound.settled.v1'),
  ...envelopeShape,
  body: z.object({
    outboundMessageId: z.uuid(),
    ending: outboundEndingSchema,
    /** A short reason in our words with the platform's code, never its whole answer. Null when accepted. */
    reason: z.string().max(500).nullable(),
    attempts: z.number().int().min(0),
    /** An ending was told before, a person decided about it, and this one takes its place. Absent: the first ending. */
    revised: z.literal(true).optional(),
  }),
});
export type OutboundSettled = z.infer<typeof outboundSettledSchema>;
