import { chmodSync, chownSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';

/**
 * Makes `folder` hold exactly these files, readable by `uid` alone and writable by nobody. A file is replaced by a
 * rename, so a reader sees the old content or the new, never half of it; what is not in `files` is removed.
 */
export function writeFolder(folder: string, files: Record<string, string>, uid: number): void {
  mkdirSync(folder, { recursive: true });
  // Taken back from an earlier run: only its owner may change a folder's mode.
  chownSync(folder, process.getuid?.() ?? 0, process.getgid?.() ?? 0);
  for (const [name, content] of Object.entries(files))
    writeOwned(path.join(folder, name), content, { uid, gid: uid, mode: 0o400 });
  for (const name of readdirSync(folder)) if (!(name in files)) rmSync(path.join(folder, name), { recursive: true });
  chmodSync(folder, 0o500);
  chownSync(folder, uid, uid);
}

/** Writes one file for one owner, by a rename. */
export function writeOwned(file: string, content: string, o: { uid: number; gid: number; mode: number }): void {
  const fresh = `${file}.new`;
  rmSync(fresh, { force: true });
  writeFileSync(fresh, content, { mode: o.mode, flag: 'wx' });
  chmodSync(fresh, o.mode);
  chownSync(fresh, o.uid, o.gid);
  renameSync(fresh, file);
}
