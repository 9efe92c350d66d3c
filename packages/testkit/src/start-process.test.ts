import { describe, expect, it } from '@jest/globals';
import { startProcess, stopAllProcesses } from './start-process.ts';
import { waitUntil } from './wait-until.ts';

const startNode = (script: string, env?: Record<string, string>) =>
  startProcess({ name: 'sample', command: process.execPath, args: ['-e', script], env });
const stayUp = 'setInterval(() => {}, 1000);';

function lives(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

describe('startProcess', () => {
  it('waits for output and reports the exit code', async () => {
    const program = startNode('console.log("ready on 4711"); setTimeout(() => process.exit(3), 50)');
    const [, port] = await program.waitForOutput(/ready on (\d+)/);
    expect(port).toBe('4711');
    await expect(program.exited).resolves.toEqual({ code: 3, signal: null });
  });

  it('shows what a program wrote that ended before it was ready', async () => {
    const program = startNode('console.error("no configuration"); process.exit(1)');
    await expect(program.waitForOutput('ready')).rejects.toThrow(/ended \(exit code 1\)[^]*no configuration/);
  });

  it('gives the program its own settings and none of ours', async () => {
    process.env.STEWARD_TEST_LEAK = 'leaked';
    const program = startNode('console.log(`got ${process.env.GIVEN} ${process.env.STEWARD_TEST_LEAK}`)', {
      GIVEN: 'it',
    });
    delete process.env.STEWARD_TEST_LEAK;
    await expect(program.waitForOutput('got it undefined')).resolves.toBeDefined();
  });

  it('kills as a crash does', async () => {
    const program = startNode(`process.on("SIGTERM", () => {}); console.log("up"); ${stayUp}`);
    await program.waitForOutput('up');
    program.kill('SIGKILL');
    await expect(program.exited).resolves.toEqual({ code: null, signal: 'SIGKILL' });
  });

  it('stops politely first and by force when the grace is over', async () => {
    const polite = startNode(`process.on("SIGTERM", () => process.exit(0)); console.log("up"); ${stayUp}`);
    const stubborn = startNode(`process.on("SIGTERM", () => {}); console.log("up"); ${stayUp}`);
    await Promise.all([polite.waitForOutput('up'), stubborn.waitForOutput('up')]);
    await expect(polite.stop()).resolves.toEqual({ code: 0, signal: null });
    await expect(stubborn.stop({ graceMs: 100 })).resolves.toEqual({ code: null, signal: 'SIGKILL' });
  });

  it('leaves no program and no child of one behind', async () => {
    const script = `const { pid } = require('child_process').spawn(process.execPath, ['-e', '${stayUp}']); console.log('child ' + pid); ${stayUp}`;
    const program = startNode(script);
    const [, child] = await program.waitForOutput(/child (\d+)/);
    await stopAllProcesses();
    expect(lives(program.pid)).toBe(false);
    await waitUntil(() => !lives(Number(child)), { timeoutMs: 5_000, what: 'the grandchild to end' });
  });

  it('says so when there is no such program', () => {
    const start = () => startProcess({ name: 'ghost', command: '/nowhere/ghost', args: [] }).waitForOutput('ready');
    return expect(Promise.resolve().then(start)).rejects.toThrow(/ghost/);
  });
});
