import { z } from 'zod';
import { variantNames } from './payload-variants.ts';

const via = z.enum(['http', 'stream', 'auto']).default('auto');
const times = z.int().min(1).max(100).default(1);
const fields = z.record(z.string(), z.unknown());
const variant = z.enum(variantNames);
/** A row number, as text in a query or as a number in a program. */
const since = z.coerce.number().int().min(0).default(0);
const waitMs = z.coerce.number().int().min(0).max(60_000).default(0);

/** A person says something to a robot: in a group room (the sender defaults to its first member) or 1:1. */
export const saySchema = z
  .strictObject({
    /** robotCode or the app's name. */
    robot: z.string().min(1),
    room: z.string().min(1).optional(),
    staffId: z.string().min(1).optional(),
    text: z.string().default(''),
    /** Laid over the finished payload, for shapes no variant covers. */
    payload: fields.optional(),
    variant: z.union([variant, z.array(variant)]).optional(),
    via,
    msgId: z.string().min(1).optional(),
    times,
  })
  .refine((say) => say.room !== undefined || say.staffId !== undefined, 'needs a room or a staffId');

/**
 * A person presses a button of a card. The card must exist and the person must see it, unless the click is `forged`: made
 * up by somebody who is not the platform, or by one who was sent the card.
 */
export const clickSchema = z.strictObject({
  outTrackId: z.string().min(1),
  staffId: z.string().min(1),
  actionIds: z.array(z.string()).default([]),
  params: fields.default({}),
  /** robotCode or the app's name; needed when the world has several apps. */
  robot: z.string().optional(),
  /** The conversation the card stands in. */
  room: z.string().optional(),
  corpId: z.string().optional(),
  forged: z.boolean().default(false),
  via,
  times,
});

export const eventSchema = z.strictObject({
  /** appKey, robotCode or name. */
  app: z.string().min(1),
  /** `check_url` tests the registered URL as the console does. */
  eventType: z.string().min(1),
  eventId: z.string().min(1).optional(),
  corpId: z.string().optional(),
  payload: fields.default({}),
  via,
  times,
});

export const callsSchema = z.strictObject({
  since,
  path: z.string().optional(),
  outcome: z.string().optional(),
  /** Answer only when there are `count` matching calls, or after this long. */
  wait: waitMs,
  count: z.coerce.number().int().min(1).default(1),
});

export const chatSchema = z.strictObject({
  since,
  conversationId: z.string().optional(),
  staffId: z.string().optional(),
  from: z.enum(['person', 'robot', 'customRobot']).optional(),
  wait: waitMs,
  count: z.coerce.number().int().min(1).default(1),
});

export const sentSchema = z.strictObject({
  since,
  kind: z.enum(['robot', 'card', 'event']).optional(),
  key: z.string().optional(),
  outcome: z.enum(['pending', 'acked', 'failed', 'dropped']).optional(),
  wait: waitMs,
  count: z.coerce.number().int().min(1).default(1),
});

export const cardsSchema = z.strictObject({
  outTrackId: z.string().optional(),
  conversationId: z.string().optional(),
  /** Cards that this person sees. */
  staffId: z.string().optional(),
});

export const cardVersionsSchema = z.strictObject({
  since,
  outTrackId: z.string().optional(),
  cause: z.enum(['created', 'updated', 'answer']).optional(),
  wait: waitMs,
  count: z.coerce.number().int().min(1).default(1),
});

export const effectsSchema = z.strictObject({
  since,
  service: z.string().optional(),
  verb: z.enum(['restart', 'scale', 'delete']).optional(),
  wait: waitMs,
  count: z.coerce.number().int().min(1).default(1),
});

export const disconnectSchema = z.strictObject({
  app: z.string().optional(),
  connectionId: z.string().optional(),
  mode: z.enum(['planned', 'zombie', 'abrupt']).default('planned'),
});

export const revokeSchema = z.strictObject({ app: z.string().optional() });
