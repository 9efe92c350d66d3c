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
  }),
});
export type OutboundSettled = z.infer<typeof outboundSettledSchema>;
