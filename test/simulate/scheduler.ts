import { createHash } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { pick, type Random } from '../random.ts';

/** A simulated operating system process: what it waits for never comes once it is dead, and not yet while it is paused. */
export type SimProcess = { name: string; isAlive: boolean; isPaused: boolean };

/** What may befall an operation, beside being done. */
export type Mishap = 'none' | 'dies before' | 'dies after' | 'answer lost';

type Waiting = {
  process: SimProcess;
  label: string;
  op: () => Promise<unknown>;
  isReady: () => boolean;
  mayLoseAnswer: boolean;
  resolve: (value: never) => void;
  reject: (error: unknown) => void;
};

export type Scheduler = {
  /** Does the operation when the scheduler comes to it. Never settles for a process that has died. */
  perform<T>(
    process: SimProcess,
    label: string,
    op: () => Promise<T>,
    o?: { isReady?: () => boolean; mayLoseAnswer?: boolean },
  ): Promise<T>;
  /** Does one operation, chosen by chance; false: nobody can go on without time passing. */
  step(mishapOf: (process: SimProcess, label: string) => Mishap): Promise<boolean>;
  /** Everything that was done, as one hash: the same seed must give the same. */
  hash(): string;
  trace(): readonly string[];
  note(line: string): void;
};

const maxTrace = 20_000;

/**
 * The order of everything that several processes do, by a seed: each statement, publication, delivery and call waits here until it
 * is chosen. Between two of them only computation happens.
 */
export function createScheduler(random: Random, onDeath: (process: SimProcess) => Promise<void>): Scheduler {
  let waiting: Waiting[] = [];
  const lines: string[] = [];
  const note = (line: string) => {
    if (lines.length < maxTrace) lines.push(line);
  };

  const finish = async (one: Waiting, mishap: Mishap): Promise<void> => {
    if (mishap === 'dies before') return onDeath(one.process);
    try {
      const value = await one.op();
      if (mishap === 'dies after') return await onDeath(one.process);
      if (mishap === 'answer lost')
        return one.reject(Object.assign(new Error('the connection was lost'), { code: '08006' }));
      one.resolve(value as never); // of the type that `perform` was asked for
    } catch (error) {
      one.reject(error);
    }
  };

  return {
    perform: (process, label, op, o = {}) =>
      new Promise((resolve, reject) => {
        const { isReady = () => true, mayLoseAnswer = false } = o;
        waiting.push({ process, label, op, isReady, mayLoseAnswer, resolve, reject });
      }),
    step: async (mishapOf) => {
      // Whoever was answered computes up to its next wait.
      await nextTurn();
      await nextTurn();
      waiting = waiting.filter(({ process }) => process.isAlive);
      const ready = waiting.filter(({ process, isReady }) => !process.isPaused && isReady());
      if (ready.length === 0) return false;
      const one = pick(random, ready);
      waiting = waiting.filter((other) => other !== one);
      const wished = mishapOf(one.process, one.label);
      const mishap = wished === 'answer lost' && !one.mayLoseAnswer ? 'none' : wished;
      note(`${one.process.name}: ${one.label}${mishap === 'none' ? '' : ` (${mishap})`}`);
      await finish(one, mishap);
      return true;
    },
    hash: () => createHash('sha256').update(lines.join('\n')).digest('hex').slice(0, 16),
    trace: () => lines,
    note,
  };
}
