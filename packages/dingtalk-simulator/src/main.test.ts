import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { buildTestWorld, call } from './testing.ts';

const program = join(import.meta.dirname, 'main.ts');

describe('the simulator program', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'simulator-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));
  const start = (world: unknown): ChildProcess => {
    const file = join(folder, 'world.json');
    writeFileSync(file, JSON.stringify(world));
    return spawn(process.execPath, [program, 'serve', '--port', '0', '--world', file], { stdio: 'pipe' });
  };

  it('serves a world from a file until it is told to stop', async () => {
    const child = start(buildTestWorld());
    const [line] = (await once(child.stdout!, 'data')) as [Buffer];
    const { url } = JSON.parse(line.toString()) as { url: string };
    expect((await call(`${url}/healthz`, 'GET')).status).toBe(200);
    expect((await call(`${url}/control/world`, 'GET')).body.corpId).toBe('ding9733');
    child.kill('SIGTERM');
    expect(await once(child, 'exit')).toEqual([0, null]);
  });

  it('refuses a world that contradicts itself, naming the fault', async () => {
    const child = start({ ...buildTestWorld(), people: [] });
    const [[text], [code]] = await Promise.all([once(child.stderr!, 'data'), once(child, 'exit')]);
    expect(String(text)).toContain('nobody has staffId li');
    expect(code).toBe(2);
  });
});
