import { z } from 'zod';
import { cardClickedSchema, inboundMissingSchema, inboundReceivedSchema, inboundSettledSchema } from './inbound.ts';
import { linkInterruptedSchema } from './link.ts';
import {
  outboundRecordedSchema,
  outboundRequestedSchema,
  outboundRequestedV2Schema,
  outboundSettledSchema,
} from './outbound.ts';
import { personChangedSchema, personFoundSchema, personRequestedSchema } from './person.ts';

/** Every bus message there is. The `type` is also its routing key. */
export const busMessageSchema = z.discriminatedUnion('type', [
  inboundReceivedSchema,
  cardClickedSchema,
  inboundSettledSchema,
  inboundMissingSchema,
  personChangedSchema,
  linkInterruptedSchema,
  outboundRequestedSchema,
  outboundRequestedV2Schema,
  outboundRecordedSchema,
  outboundSettledSchema,
  personRequestedSchema,
  personFoundSchema,
]);
export type BusMessage = z.infer<typeof busMessageSchema>;
export type BusMessageType = BusMessage['type'];
export type BusMessageOf<T extends BusMessageType> = Extract<BusMessage, { type: T }>;
