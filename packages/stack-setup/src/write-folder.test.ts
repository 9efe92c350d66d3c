import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { writeFolder } from './write-folder.ts';

const uid = process.getuid?.() ?? 0;
let folder: string;

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'steward-folder-'));
});
afterEach(() => {
  chmodSync(folder, 0o700);
  rmSync(folder, { recursive: true });
});

describe('writing a secrets folder', () => {
  it('leaves exactly the given files, readable by their owner alone', () => {
    writeFileSync(path.join(folder, 'stale'), 'old');
    writeFileSync(path.join(folder, 'kept'), 'old');
    writeFolder(folder, { kept: 'new', fresh: 'x' }, uid);
    expect(readdirSync(folder).sort()).toEqual(['fresh', 'kept']);
    expect(readFileSync(path.join(folder, 'kept'), 'utf8')).toBe('new');
    for (const name of ['kept', 'fresh']) {
      const { mode, uid: owner } = statSync(path.join(folder, name));
      expect({ mode: mode & 0o777, owner }).toEqual({ mode: 0o400, owner: uid });
    }
    expect(statSync(folder).mode & 0o777).toBe(0o500);
  });
});
