import { z } from 'zod';
import { lenientText } from './lenient.ts';
import type { SendOutcome, SendRefused } from './send-outcome.ts';

/** Samples of the docs write booleans as text now and then. */
const yes = z.literal([true, 'true']);
const no = z.literal([false, 'false']);

const cardSchema = z.object({
  success: yes,
  result: z.object({
    deliverResults: z.array(z.object({ success: z.union([yes, no]), carrierId: lenientText })).min(1),
  }),
});
/** The API `deliver` alone answers a list where `createAndDeliver` answers an object. */
const deliverSchema = z.object({ success: yes, result: cardSchema.shape.result.shape.deliverResults });
const updateSchema = z.object({ success: yes, result: z.unknown().optional() });
const recallSchema = z.object({
  successResult: z.array(z.string()).nullish(),
  failedResult: z.record(z.string(), z.unknown()).nullish(),
});

/** The outcome of an answer that proves neither success nor refusal. */
export function unreadable(code: string): SendRefused {
  return { kind: 'unknown', code, text: 'the answer does not tell whether it was sent' };
}

/**
 * A card that was created and delivered, or delivered alone. `success` at the top can hold a delivery that failed, so each
 * is looked at; the carrierId works as processQueryKey (official docs, "create and deliver cards").
 */
export function readCardAnswer(body: unknown): SendOutcome {
  const deliveries =
    cardSchema.safeParse(body).data?.result.deliverResults ?? deliverSchema.safeParse(body).data?.result;
  if (deliveries === undefined) return unreadable('UNREADABLE_ANSWER');
  if (deliveries.some(({ success }) => !isTrue(success))) {
    const text = 'the card exists, and the platform could not deliver it there';
    return { kind: 'permanent', code: 'CARD_NOT_DELIVERED', text, scope: 'target' };
  }
  const processQueryKey = deliveries[0]?.carrierId ?? '';
  return {
    kind: 'accepted',
    ...(processQueryKey !== '' && { processQueryKey }),
    invalidStaffIds: [],
    flowControlledStaffIds: [],
  };
}

/** The answer to an update of a card, or to a registration: `success` and no `false` beside it. */
export function readUpdateAnswer(body: unknown): SendOutcome {
  const answer = updateSchema.safeParse(body);
  if (!answer.success || no.safeParse(answer.data.result).success) return unreadable('UNREADABLE_ANSWER');
  return { kind: 'accepted', invalidStaffIds: [], flowControlledStaffIds: [] };
}

/** What a recall took back. One key that failed makes the whole refused: part of the words still stands. */
export function readRecallAnswer(body: unknown): SendOutcome {
  const answer = recallSchema.safeParse(body).data;
  if (answer === undefined) return unreadable('UNREADABLE_ANSWER');
  if (Object.keys(answer.failedResult ?? {}).length > 0)
    return { kind: 'permanent', code: 'RECALL_REFUSED', text: 'the platform did not take it back', scope: 'target' };
  if ((answer.successResult ?? []).length === 0) return unreadable('UNREADABLE_ANSWER');
  return { kind: 'accepted', invalidStaffIds: [], flowControlledStaffIds: [] };
}

const isTrue = (value: unknown): boolean => value === true || value === 'true';
