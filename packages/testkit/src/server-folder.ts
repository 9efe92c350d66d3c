import { chmodSync, chownSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync } from 'node:fs';
import { appendFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Account } from './run-command.ts';
import { runCommand } from './run-command.ts';

const prefix = 'steward-test-servers-';
/** Containers carry this label with the folder's name as value, so that a later run can find leftovers. */
export const containerLabel = 'steward.test-servers';

/**
 * The folder of one run's throw-away servers. It lists who owns it and which servers were started, so that the next
 * run can clean up after one that was killed. It lies in the temporary folder, because the accounts `postgres` and
 * `rabbitmq` often may not enter a person's home.
 */
export type ServerFolder = {
  name: string;
  path: string;
  makeFolder(name: string, account: Account | undefined): string;
  noteServer(pid: number): void;
  noteContainers(): void;
  remove(): void;
};

/** Makes a new folder that belongs to this process. */
export function createServerFolder(): ServerFolder {
  const path = mkdtempSync(join(tmpdir(), prefix));
  chmodSync(path, 0o711);
  const ledger = join(path, 'ledger');
  const note = (line: string) => appendFileSync(ledger, `${line}\n`, { mode: 0o600 });
  note(`owner ${process.pid} ${startOf(process.pid)}`);
  return {
    name: path.slice(path.lastIndexOf('/') + 1),
    path,
    makeFolder: (name, account) => {
      const folder = join(path, name);
      mkdirSync(folder, { mode: 0o700 });
      if (account) chownSync(folder, account.uid, account.gid);
      return folder;
    },
    noteServer: (pid) => note(`server ${pid} ${startOf(pid)}`),
    noteContainers: () => note('containers - -'),
    remove: () => rmSync(path, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 }),
  };
}

/** Ends servers and containers of runs that no longer live and deletes their folders; returns how many there were. */
export async function removeLeftovers(): Promise<number> {
  let removed = 0;
  for (const name of readdirSync(tmpdir()).filter((entry) => entry.startsWith(prefix))) {
    const path = join(tmpdir(), name);
    const lines = readLedger(path);
    if (lines === undefined || lines.some((line) => line.kind === 'owner' && isSame(line))) continue;
    for (const line of lines) if (line.kind === 'server' && isSame(line)) killGroup(line.pid);
    if (lines.some((line) => line.kind === 'containers')) await removeContainers(name);
    rmSync(path, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
    removed += 1;
  }
  return removed;
}

/** Removes the containers of one folder, running or not. */
export async function removeContainers(folderName: string): Promise<void> {
  const filter = `label=${containerLabel}=${folderName}`;
  const { stdout } = await runCommand('docker', ['ps', '-aq', '--filter', filter], { timeoutMs: 30_000 });
  const ids = stdout.split('\n').filter((id) => id !== '');
  if (ids.length > 0) await runCommand('docker', ['rm', '-f', '-v', ...ids], { timeoutMs: 60_000 });
}

type LedgerLine = { kind: string; pid: number; start: string };

/** Undefined when the folder is not ours to touch: another user's, or so young that its owner is still writing. */
function readLedger(path: string): LedgerLine[] | undefined {
  try {
    const { uid, mtimeMs } = statSync(path);
    if (uid !== process.getuid?.()) return undefined;
    if (!readdirSync(path).includes('ledger')) return Date.now() - mtimeMs > 60_000 ? [] : undefined;
    const lines = readFileSync(join(path, 'ledger'), 'utf8').trim().split('\n');
    return lines.map((line) => {
      const [kind = '', pid = '', start = ''] = line.split(' ');
      return { kind, pid: Number(pid), start };
    });
  } catch {
    return undefined;
  }
}

/** When a process started, so that a reused number is not taken for the old process. */
function startOf(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? 'unknown';
  } catch {
    return 'unknown';
  }
}

function isSame(line: LedgerLine): boolean {
  try {
    process.kill(line.pid, 0);
    return startOf(line.pid) === line.start;
  } catch {
    return false;
  }
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // It ended by itself between the look and the signal.
  }
}
