import { z } from 'zod';

/**
 * What every bus message carries around its body.
 * `id` is the key of the consumer's inbox: the same id is the same fact, however often it is delivered.
 * `correlationId` is born at the door and stays the same through every service, log line and audit entry.
 * `causationId` is the id of what made this message necessary (the inbound event, or another bus message).
 */
export const envelopeShape = {
  id: z.uuid(),
  correlationId: z.uuid(),
  causationId: z.uuid(),
  occurredAt: z.iso.datetime(),
};

/** Where a robot works. Nothing of one environment may reach the other. */
export const environmentSchema = z.enum(['test', 'production']);
export type Environment = z.infer<typeof environmentSchema>;

/** Which queue of attention a piece of work stands in. A lane never waits for another lane. */
export const laneSchema = z.enum(['control', 'approval', 'answer', 'bulk']);
export type Lane = z.infer<typeof laneSchema>;

/** The door's name for a conversation: a robot sees each conversation under its own robot code. */
export const conversationSchema = z.object({
  robotCode: z.string().min(1).max(200),
  conversationId: z.string().min(1).max(200),
  kind: z.enum(['single', 'group']),
  title: z.string().max(500).nullable(),
});
export type Conversation = z.infer<typeof conversationSchema>;

/** A credential under AEAD: only services that hold the key can read it (see `sealText` in service-kit). */
export const sealedSchema = z.string().min(1).max(8_000);
