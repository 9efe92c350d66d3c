import { userInfo } from 'node:os';
import { createInterface } from 'node:readline/promises';
import { setTimeout } from 'node:timers/promises';
import type { OperatorConnection } from '@steward/postgres';

/**
 * How a command ends. 0: done, or fine. 1: the answer is no (faults, verdicts that flip, a bad log, a refusal).
 * 2: it could not be tried or not be finished. 3: nothing wrong was found, but the tail of the audit log is not witnessed.
 */
export const exitCodes = { done: 0, no: 1, failed: 2, unwitnessed: 3 } as const;
export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

/** What a command has of the world around it; tests bring their own. */
export type CliContext = {
  env: Readonly<Record<string, string | undefined>>;
  /** Writes one line for the person or program that reads the result. */
  print: (line: string) => void;
  /** Writes text of any length to the same place, and waits until it is taken. */
  write: (text: string) => Promise<void>;
  /** Writes a line about the result, which is no part of it. */
  warn: (line: string) => void;
  /** Asks the person; false when nobody can be asked. */
  confirm: (question: string) => Promise<boolean>;
  now: () => Date;
  sleep: (ms: number) => Promise<void>;
  /** The account of the operating system: a name for the record, no proof. */
  account: () => string;
  /** Connects to the operator's database. Rejects with OPERATOR_DATABASE_LOST or OPERATOR_DATABASE_MISSING. */
  connect: () => Promise<OperatorConnection>;
};

/** The context of a real terminal. */
export function createCliContext(): CliContext {
  return {
    env: process.env,
    print: (line) => void process.stdout.write(`${line}\n`),
    write: (text) =>
      new Promise((resolve) => {
        if (process.stdout.write(text)) resolve();
        else process.stdout.once('drain', resolve);
      }),
    warn: (line) => void process.stderr.write(`${line}\n`),
    confirm,
    now: () => new Date(),
    sleep: (ms) => setTimeout(ms),
    account,
    connect: async () => (await import('./connect-database.ts')).connectDatabase(process.env),
  };
}

async function confirm(question: string): Promise<boolean> {
  if (!process.stdin.isTTY) return false;
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  const closed = new Promise<string>((resolve) => terminal.once('close', () => resolve('')));
  try {
    return /^y(es)?$/i.test((await Promise.race([terminal.question(`${question} [y/N] `), closed])).trim());
  } finally {
    terminal.close();
  }
}

function account(): string {
  try {
    return userInfo().username.slice(0, 100);
  } catch {
    // A container may run as a user that has no name.
    return `uid ${process.getuid?.() ?? 'unknown'}`;
  }
}
