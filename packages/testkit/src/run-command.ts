import { execFile } from 'node:child_process';

/** What a command left behind. `code` is null when it could not start or was killed. */
export type CommandResult = { code: number | null; stdout: string; stderr: string };

/** An operating system account to run as; undefined means: as we are. */
export type Account = { uid: number; gid: number };

/**
 * Runs a command to its end without a shell and never rejects: a missing program, a time-out and a non-zero exit all
 * come back as a result, because the callers try one way after the other.
 */
export function runCommand(
  command: string,
  args: readonly string[],
  options: { timeoutMs: number; env?: NodeJS.ProcessEnv; account?: Account; cwd?: string },
): Promise<CommandResult> {
  return new Promise((resolve) => {
    execFile(
      command,
      args,
      {
        timeout: options.timeoutMs,
        killSignal: 'SIGKILL',
        maxBuffer: 16 * 1024 * 1024,
        env: options.env ?? process.env,
        cwd: options.cwd,
        ...options.account,
      },
      (error, stdout, stderr) => {
        if (error === null) return resolve({ code: 0, stdout, stderr });
        const code = typeof error.code === 'number' ? error.code : null;
        resolve({ code, stdout, stderr: stderr === '' ? error.message : stderr });
      },
    );
  });
}

/** The last lines of a text: enough to see why something failed. */
export function lastLines(text: string, count: number): string {
  return text.trimEnd().split('\n').slice(-count).join('\n');
}
