import { z } from 'zod';
import { envelopeShape } from './envelope.ts';

const staffIdSchema = z.string().min(1).max(200);
/** Ids of the organisation's own roles or departments, as the platform numbers them. */
const platformIdsSchema = z.array(z.string().max(50)).max(500);

/** agent-core → outbound-sender: ask the platform who this person is today. Answered with `person.found.v1`. */
export const personRequestedSchema = z.object({
  type: z.literal('person.requested.v1'),
  ...envelopeShape,
  body: z.object({ lookupId: z.uuid(), robotCode: z.string().min(1).max(200), staffId: staffIdSchema }),
});
export type PersonRequested = z.infer<typeof personRequestedSchema>;

/** outbound-sender → agent-core: what the platform said. `failed` says nothing about the person: nothing may follow from it. */
export const personFoundSchema = z.object({
  type: z.literal('person.found.v1'),
  ...envelopeShape,
  body: z.object({
    lookupId: z.uuid(),
    robotCode: z.string().min(1).max(200),
    staffId: staffIdSchema,
    result: z.enum(['found', 'absent', 'failed']),
    roleIds: platformIdsSchema,
    departmentIds: platformIdsSchema,
  }),
});
export type PersonFound = z.infer<typeof personFoundSchema>;

/** adapter → agent-core: the organisation changed something about these people; what was known of them is out of date. */
export const personChangedSchema = z.object({
  type: z.literal('person.changed.v1'),
  ...envelopeShape,
  body: z.object({
    inboundEventId: z.uuid(),
    corpId: z.string().min(1).max(200),
    staffIds: z.array(staffIdSchema).min(1).max(1_000),
    /** `left`: no longer of the organisation. */
    change: z.enum(['left', 'modified']),
  }),
});
export type PersonChanged = z.infer<typeof personChangedSchema>;
