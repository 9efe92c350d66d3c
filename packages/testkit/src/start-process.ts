import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';

/** How a program ended: its exit code, or the signal that ended it. */
export type ProcessEnd = { code: number | null; signal: NodeJS.Signals | null };

/** A program under test, in an operating system process of its own. */
export type TestProcess = {
  name: string;
  pid: number;
  /** What it wrote so far to stdout and stderr together; only the last megabyte is kept. */
  output: () => string;
  /** Resolves with the first match in the output so far or to come; rejects when it ends first or time is up. */
  waitForOutput: (pattern: RegExp | string, options?: { timeoutMs?: number }) => Promise<RegExpExecArray>;
  /** Sends one signal, to the program alone; `SIGKILL` is what a crash looks like. */
  kill: (signal: NodeJS.Signals) => void;
  exited: Promise<ProcessEnd>;
  /** SIGTERM, and SIGKILL after `graceMs` (10 s); resolves when it is gone. */
  stop: (options?: { graceMs?: number }) => Promise<ProcessEnd>;
};

const outputLimit = 1024 * 1024;
const running = new Set<{ pid: number; exited: Promise<ProcessEnd> }>();

/**
 * Starts a program without a shell. It sees PATH, HOME and `env`, nothing else of this process's environment, so that a
 * missing setting shows. Where the system can (Linux), it dies with this process even if that is killed.
 * `stopAllProcesses` ends whatever a test left running; jest calls it after each test file.
 */
export function startProcess(options: {
  name: string;
  command: string;
  args: readonly string[];
  env?: Record<string, string>;
  cwd?: string;
}): TestProcess {
  const { PATH, HOME } = process.env;
  const [command = '', ...args] = [...diesWithParent(), options.command, ...options.args];
  const child = spawn(command, args, {
    cwd: options.cwd,
    env: { PATH, HOME, ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  if (child.pid === undefined) throw new Error(`${options.name}: ${options.command} cannot be started`);
  const output = captureOutput(child);
  const exited = new Promise<ProcessEnd>((resolve) => {
    child.once('close', (code, signal) => resolve({ code, signal }));
  });
  const entry = { pid: child.pid, exited };
  running.add(entry);
  void exited.then(() => {
    running.delete(entry);
    // Its own children must not outlive it: the next test would meet them.
    signalTo(-entry.pid, 'SIGKILL');
  });
  return {
    name: options.name,
    pid: child.pid,
    output: output.text,
    waitForOutput: (pattern, o) =>
      output.waitFor({ name: options.name, pattern, exited, timeoutMs: o?.timeoutMs ?? 15_000 }),
    kill: (signal) => void child.kill(signal),
    exited,
    stop: async (o) => {
      child.kill('SIGTERM');
      const timer = setTimeout(() => signalTo(-entry.pid, 'SIGKILL'), o?.graceMs ?? 10_000);
      const end = await exited;
      clearTimeout(timer);
      return end;
    },
  };
}

/** Kills every program that is still running with all its children; resolves when they are gone. */
export async function stopAllProcesses(): Promise<void> {
  const left = [...running];
  for (const { pid } of left) signalTo(-pid, 'SIGKILL');
  await Promise.all(left.map(({ exited }) => exited));
}

/** setpriv (util-linux) asks the kernel to kill the program when its parent dies, then becomes the program: same pid. */
function diesWithParent(): string[] {
  const setpriv = '/usr/bin/setpriv';
  return process.platform === 'linux' && existsSync(setpriv) ? [setpriv, '--pdeathsig', 'KILL', '--'] : [];
}

function captureOutput(child: ChildProcess) {
  let text = '';
  const listeners = new Set<() => void>();
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (chunk: string) => {
      text = (text + chunk).slice(-outputLimit);
      for (const listener of listeners) listener();
    });
  }
  const waitFor = (o: { name: string; pattern: RegExp | string; exited: Promise<ProcessEnd>; timeoutMs: number }) => {
    const pattern =
      typeof o.pattern === 'string'
        ? new RegExp(escapeRegExp(o.pattern))
        : new RegExp(o.pattern, o.pattern.flags.replace(/[gy]/g, ''));
    return new Promise<RegExpExecArray>((resolve, reject) => {
      const settle = () => {
        clearTimeout(timer);
        listeners.delete(look);
      };
      const look = () => {
        const match = pattern.exec(text);
        if (match === null) return;
        settle();
        resolve(match);
      };
      const giveUp = (why: string) => {
        settle();
        reject(new Error(`${o.name} ${why} without writing ${String(o.pattern)}; it wrote:\n${text.slice(-4_000)}`));
      };
      const timer = setTimeout(() => giveUp(`ran ${o.timeoutMs} ms`), o.timeoutMs);
      listeners.add(look);
      look();
      void o.exited.then(({ code, signal }) => giveUp(`ended (${signal ?? `exit code ${code ?? '?'}`})`));
    });
  };
  return { text: () => text, waitFor };
}

const escapeRegExp = (text: string) => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');

function signalTo(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // Nobody is left there.
  }
}
