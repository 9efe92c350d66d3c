import { afterEach, describe, expect, it } from '@jest/globals';
import { appendFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createServerFolder, removeLeftovers } from './server-folder.ts';
import { startProcess } from './start-process.ts';
import { waitUntil } from './wait-until.ts';

const folders: { remove: () => void }[] = [];
afterEach(() => folders.splice(0).forEach((folder) => folder.remove()));

/** A run that starts one "server" in a process group of its own, says where, and stays. */
const run = `
  const { createServerFolder } = await import(${JSON.stringify(join(import.meta.dirname, 'server-folder.ts'))});
  const { spawn } = await import('node:child_process');
  const folder = createServerFolder();
  const server = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { detached: true, stdio: 'ignore' });
  folder.noteServer(server.pid);
  console.log('folder ' + folder.path + ' server ' + server.pid);
  setInterval(() => {}, 1000);`;

function lives(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

describe('removeLeftovers', () => {
  it('leaves a living run alone, and ends what a killed one left behind', async () => {
    const owner = startProcess({ name: 'run', command: process.execPath, args: ['--input-type=module', '-e', run] });
    const [, path = '', pid = ''] = await owner.waitForOutput(/folder (\S+) server (\d+)/);
    const server = Number(pid);
    await removeLeftovers();
    expect([existsSync(path), lives(server)]).toEqual([true, true]);

    owner.kill('SIGKILL');
    await owner.exited;
    await removeLeftovers();
    expect(existsSync(path)).toBe(false);
    await waitUntil(() => !lives(server), { timeoutMs: 10_000, what: 'the left server to end' });
  });

  it('does not kill a process that only got the number of an old server', async () => {
    const bystander = startProcess({
      name: 'bystander',
      command: process.execPath,
      args: ['-e', 'setInterval(() => {}, 1000)'],
    });
    const folder = createServerFolder();
    folders.push(folder);
    const ledger = join(folder.path, 'ledger');
    writeFileSync(ledger, readFileSync(ledger, 'utf8').replace(/ \d+\n$/, ' 1\n'));
    appendFileSync(ledger, `server ${bystander.pid} 1\n`);
    await removeLeftovers();
    expect(existsSync(folder.path)).toBe(false);
    expect(lives(bystander.pid)).toBe(true);
  });
});
