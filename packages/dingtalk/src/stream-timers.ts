/** The clock of the Stream client: wall time, and calls after a while. `after` returns how to cancel. */
export type StreamTimers = { now: () => number; after: (delayMs: number, run: () => void) => () => void };

export const systemTimers: StreamTimers = {
  now: Date.now,
  after: (delayMs, run) => {
    const timer = setTimeout(run, delayMs);
    return () => {
      clearTimeout(timer);
    };
  },
};

/** Runs again and again with the same pause, until cancelled. */
export function repeatEvery(timers: StreamTimers, pauseMs: number, run: () => void): () => void {
  let cancel = () => {};
  const again = () => {
    cancel = timers.after(pauseMs, () => {
      again();
      run();
    });
  };
  again();
  return () => {
    cancel();
  };
}

/** What a promise settles to, or `late` if it takes longer. Rejects as the promise does. */
export async function withinMs<T>(timers: StreamTimers, limitMs: number, promise: Promise<T>): Promise<T | 'late'> {
  let cancel = () => {};
  const late = new Promise<'late'>((resolve) => {
    cancel = timers.after(limitMs, () => {
      resolve('late');
    });
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    cancel();
  }
}
