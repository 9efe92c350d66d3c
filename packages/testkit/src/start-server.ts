import { spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Account } from './run-command.ts';
import { lastLines } from './run-command.ts';
import type { ServerFolder } from './server-folder.ts';
import { waitUntil } from './wait-until.ts';

/** A server of our own, in its own process group, so that Ctrl-C reaches it only through us. */
export type OwnServer = {
  /** Undefined when it could not be started. */
  pid: number | undefined;
  waitUntilReady: (isReady: () => Promise<boolean>, timeoutMs: number) => Promise<void>;
  stop: () => Promise<void>;
  /** SIGKILL to the whole group: what a crash looks like. Resolves when it is gone. */
  crash: () => Promise<void>;
};

/** Starts a server program with its output in a log file of the folder, and notes it in the folder's ledger. */
export function startServer(
  folder: ServerFolder,
  options: {
    name: string;
    command: string;
    args: string[];
    env?: NodeJS.ProcessEnv;
    account: Account | undefined;
    stopSignal: NodeJS.Signals;
  },
): OwnServer {
  const logFile = join(folder.path, `${options.name}.log`);
  const log = openSync(logFile, 'a', 0o600);
  const child = spawn(options.command, options.args, {
    cwd: '/',
    env: options.env,
    stdio: ['ignore', log, log],
    detached: true,
    ...options.account,
  });
  closeSync(log);
  let gone = false;
  const exited = new Promise<void>((resolve) => {
    child.once('error', () => ((gone = true), resolve()));
    child.once('exit', () => ((gone = true), resolve()));
  });
  const { pid } = child;
  if (pid !== undefined) folder.noteServer(pid);

  return {
    pid,
    waitUntilReady: async (isReady, timeoutMs) => {
      const outcome = await waitUntil(async () => (gone ? 'gone' : (await isReady()) && 'ready'), {
        timeoutMs,
        what: `${options.name} to answer`,
      }).catch(() => 'silent');
      if (outcome === 'ready') return;
      const what = outcome === 'gone' ? 'ended at once' : `did not answer within ${timeoutMs} ms`;
      throw new Error(`${options.name} ${what}; its last lines:\n${lastLines(readFileSync(logFile, 'utf8'), 15)}`);
    },
    crash: async () => {
      if (gone || pid === undefined) return;
      signalGroup(pid, 'SIGKILL');
      await exited;
    },
    stop: async () => {
      if (gone || pid === undefined) return;
      signalGroup(pid, options.stopSignal);
      const timer = setTimeout(() => signalGroup(pid, 'SIGKILL'), 5_000);
      await exited;
      clearTimeout(timer);
      // What the leader left behind in its group.
      signalGroup(pid, 'SIGKILL');
    },
  };
}

function signalGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch {
    // The group is empty: nothing left to stop.
  }
}
