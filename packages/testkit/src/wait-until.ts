/** How long to wait and what for; `what` ends up in the error text. */
export type WaitOptions = { timeoutMs: number; what: string; everyMs?: number };

/**
 * Resolves with the first truthy answer of `condition`, asked every 25 ms at first and every 250 ms later (or at a
 * fixed `everyMs`). A condition that throws counts as "not yet". Rejects after `timeoutMs`, naming `what` and the last
 * error, so that a failed wait explains itself.
 */
export async function waitUntil<T>(condition: () => T | Promise<T>, options: WaitOptions): Promise<NonNullable<T>> {
  const deadline = performance.now() + options.timeoutMs;
  let pauseMs = options.everyMs ?? 25;
  let lastError: unknown;
  for (;;) {
    try {
      const answer = await withDeadline(condition, deadline);
      if (answer) return answer;
      lastError = undefined;
    } catch (error) {
      lastError = error;
    }
    if (performance.now() + pauseMs > deadline) break;
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
    if (options.everyMs === undefined) pauseMs = Math.min(250, pauseMs * 1.5);
  }
  const reason = lastError instanceof Error ? `: ${lastError.message}` : '';
  throw new Error(`Waited ${options.timeoutMs} ms in vain for ${options.what}${reason}`, { cause: lastError });
}

/** Asks once, but never past the deadline: a condition that hangs must not make the wait unbounded. */
async function withDeadline<T>(condition: () => T | Promise<T>, deadline: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    const leftMs = Math.max(1, deadline - performance.now());
    timer = setTimeout(() => reject(new Error('the last check did not answer')), leftMs);
  });
  try {
    return await Promise.race([condition(), late]);
  } finally {
    clearTimeout(timer);
  }
}
