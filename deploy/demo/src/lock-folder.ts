import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { AppError } from '@steward/service-kit';

/**
 * Keeps every other process out of a folder until the returned function is called. Throws AppError DEMO_RUNNING when
 * one is inside. PGlite opens a folder that another process works on, and corrupts it.
 *
 * The kernel holds the lock (SQLite asks it to, over an empty file), so it ends with its process however that dies, and
 * of any number that come at once one gets in. A process id in a file says neither: in a container 1 always lives.
 */
export function lockFolder(folder: string): () => void {
  const file = path.join(folder, 'lock');
  const lock = new DatabaseSync(`${file}.sqlite`);
  try {
    lock.exec('begin exclusive');
  } catch (cause) {
    lock.close();
    const { errcode } = Object(cause) as { errcode?: unknown }; // SQLite's errors carry its number
    if (errcode !== sqliteBusy) throw cause;
    const text = `process ${readOwner(file)} already works on ${folder}; stop it first`;
    throw new AppError('DEMO_RUNNING', text, { retryable: false, cause });
  }
  writeFileSync(file, String(process.pid), { mode: 0o600 });
  return () => {
    rmSync(file, { force: true });
    lock.close();
  };
}

const sqliteBusy = 5;

/** For the reader of the refusal only; the owner may not have written it yet. */
function readOwner(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '(id not known yet)';
  }
}
