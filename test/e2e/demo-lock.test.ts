import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { startProcess } from '@steward/testkit';
import { lockFolder } from '../../deploy/demo/src/lock-folder.ts';
import { root } from './service-replicas.ts';

jest.setTimeout(120_000);

describe("the lock of the demo's folder", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'steward-lock-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  /** A process that tries to lock the folder, says how that went, and stays. */
  const contend = () => {
    const lockModule = pathToFileURL(path.join(root, 'deploy/demo/src/lock-folder.ts')).href;
    const source = `
      import { lockFolder } from ${JSON.stringify(lockModule)};
      try { lockFolder(${JSON.stringify(folder)}); console.log('inside'); } catch (error) { console.log('refused ' + error.code); }
      setInterval(() => undefined, 60_000);`;
    return startProcess({
      name: 'contender',
      command: process.execPath,
      args: ['--input-type=module', '--eval', source],
      cwd: root,
    });
  };

  it('keeps others out until it is given back', () => {
    const unlock = lockFolder(folder);
    expect(() => lockFolder(folder)).toThrow(`process ${process.pid} already works on ${folder}`);
    unlock();
    lockFolder(folder)();
  });

  it('does not believe a process id that a dead process left behind, though one like it lives', () => {
    writeFileSync(path.join(folder, 'lock'), '1');
    lockFolder(folder)();
  });

  it('lets one in of all that come at once, also when the one before was killed', async () => {
    const first = contend();
    await first.waitForOutput('inside', { timeoutMs: 60_000 });
    first.kill('SIGKILL');
    await first.exited;
    const contenders = Array.from({ length: 4 }, contend);
    await Promise.all(
      contenders.map((each) => each.waitForOutput(/inside|refused DEMO_RUNNING/, { timeoutMs: 60_000 })),
    );
    expect(contenders.filter((each) => each.output().includes('inside'))).toHaveLength(1);
    await Promise.all(contenders.map((each) => each.stop()));
  });
});
