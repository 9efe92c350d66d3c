export type Timers = {
  /** Resolves true after `ms`, or false at once when the wait is cancelled. */
  wait(ms: number): Promise<boolean>;
  cancelAll(): void;
  /** Cancels all, and every later wait at once. */
  close(): void;
};

/** Every schedule of the simulator in one place, so that reset and close can end them all. */
export function createTimers(): Timers {
  const cancels = new Set<() => void>();
  let isClosed = false;
  const cancelAll = (): void => {
    for (const cancel of [...cancels]) cancel();
  };
  return {
    wait: (ms) =>
      new Promise((resolve) => {
        if (isClosed) return resolve(false);
        const end = (elapsed: boolean): void => {
          clearTimeout(timer);
          cancels.delete(cancel);
          resolve(elapsed);
        };
        const cancel = (): void => end(false);
        const timer = setTimeout(() => end(true), ms);
        cancels.add(cancel);
      }),
    cancelAll,
    close: () => {
      isClosed = true;
      cancelAll();
    },
  };
}
