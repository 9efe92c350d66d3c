import { withinLimit } from '@steward/service-kit';

/** Resolves when all have ended, well or badly, or after `limitMs`, whichever is first. */
export async function allSettledWithin(promises: readonly Promise<unknown>[], limitMs: number): Promise<void> {
  await withinLimit(Promise.allSettled(promises), limitMs, 'the work in hand').catch(() => undefined);
}
