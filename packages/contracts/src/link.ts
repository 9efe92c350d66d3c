import { z } from 'zod';
import { envelopeShape, environmentSchema } from './envelope.ts';

/**
 * adapter → agent-core: for so long no Stream connection of this robot was open in any process, and what people said then may
 * never have come. Settled like an inbound event, under `inboundEventId`.
 */
export const linkInterruptedSchema = z.object({
  type: z.literal('link.interrupted.v1'),
  ...envelopeShape,
  body: z.object({
    inboundEventId: z.uuid(),
    robotCode: z.string().min(1).max(200),
    environment: environmentSchema,
    from: z.iso.datetime(),
    to: z.iso.datetime(),
  }),
});
export type LinkInterrupted = z.infer<typeof linkInterruptedSchema>;
