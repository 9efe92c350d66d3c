import { z } from 'zod';
import { cardClickedSchema, inboundMissingSchema, inboundReceivedSchema, inboundSettledSchema } from './inbound.ts';
import { outboundRecordedSchema, outboundRequestedSchema, outboundSettledSchema } from './outbound.ts';

/** Every bus message there is. The `type` is also its routing key. */
export const busMessageSchema = z.discriminatedUnion('type', [
  inboundReceivedSchema,
  cardClickedSchema,
  inboundSettledSchema,
  inboundMissingSchema,
  outboundRequestedSchema,
  outboundRecordedSchema,
  outboundSettledSchema,
]);
export type BusMessage = z.infer<typeof busMessageSchema>;
export type BusMessageType = BusMessage['type'];
export type BusMessageOf<T extends BusMessageType> = Extract<BusMessage, { type: T }>;
