import { AppError } from './errors.ts';
import type { Logger } from './logger.ts';

/** What a service opened, to be closed in reverse order. */
export type Lifecycle = {
  /** Added after `stop` began (a start that was interrupted), it is closed at once. */
  add(name: string, close: () => Promise<void>): void;
  /** Closes everything, last added first. Never rejects: a failure is logged and the next one is closed. */
  stop(): Promise<void>;
};

/** `graceMs` bounds each close on its own; what takes longer is logged as `lifecycle.close_failed` and left behind. */
export function createLifecycle({ log, graceMs }: { log: Logger; graceMs: number }): Lifecycle {
  const open: { name: string; close: () => Promise<void> }[] = [];
  let stopped: Promise<void> | undefined;

  const closeAll = async (): Promise<void> => {
    for (let next = open.pop(); next !== undefined; next = open.pop()) {
      try {
        await withinLimit(next.close(), graceMs, next.name);
      } catch (error) {
        log.warn('lifecycle.close_failed', { name: next.name, error });
      }
    }
  };

  return {
    add(name, close) {
      open.push({ name, close });
      if (stopped !== undefined) stopped = stopped.then(closeAll);
    },
    stop() {
      stopped ??= closeAll();
      return stopped;
    },
  };
}

/** Rejects with TIMED_OUT (retryable) when the promise takes longer; the work itself is not stopped by this. */
export async function withinLimit<T>(work: Promise<T>, limitMs: number, name: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      reject(new AppError('TIMED_OUT', `${name} took longer than ${limitMs} ms`, { retryable: true }));
    }, limitMs);
  });
  try {
    return await Promise.race([work, limit]);
  } finally {
    clearTimeout(timer);
  }
}
